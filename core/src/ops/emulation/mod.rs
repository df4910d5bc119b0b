//! Kernels on the CPU, for tests: the emulation of a GPU that the C++ files beside this one are.
//!
//! Memory is NaN at first and ends at an unmapped page. What a kernel does wrong becomes the error
//! of its launch: an access outside of memory, threads that wait for each other in vain, and so on.

#[cfg(test)]
mod tests;

use super::gpu::{Arguments, Geometry, Gpu, Memory, Pointer};
use candle_core::{Result, bail};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};

unsafe extern "C" {
    fn emul_configure(order: c_int, seed: u64, host_threads: c_int);
    fn emul_last_error() -> *const c_char;
    fn emul_allocate(bytes: usize, name: *const c_char) -> *mut c_void;
    fn emul_free(memory: *mut c_void);
    fn emul_launch(
        name: *const c_char,
        grid: *const c_uint,
        block: *const c_uint,
        dynamic_bytes: usize,
        arguments: *mut *mut c_void,
        argument_bytes: usize,
    ) -> c_int;
}

/// The order in which lanes, warps and blocks run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Schedule {
    /// The first that can run.
    Ascending,
    /// The last that can run.
    Descending,
    /// Any, by a seed.
    Random(u64),
}

/// What a kernel is tested on: ascending alone hides what a higher lane reads too early.
pub(crate) const SCHEDULES: [Schedule; 4] =
    [Schedule::Ascending, Schedule::Descending, Schedule::Random(1), Schedule::Random(2)];

/// A GPU that isn't there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Emulation {
    /// Of all launches.
    pub(crate) schedule: Schedule,
}

impl Gpu for Emulation {
    fn launch(&self, name: &str, geometry: Geometry, arguments: Arguments) -> Result<()> {
        let (order, seed) = match self.schedule {
            Schedule::Ascending => (0, 1),
            Schedule::Descending => (1, 1),
            Schedule::Random(seed) => (2, seed),
        };
        let (mut words, bytes) = arguments.packed()?;
        let text = CString::new(name).map_err(candle_core::Error::wrap)?;
        let mut grid = [0; 3];
        for (to, from) in grid.iter_mut().zip(geometry.grid) {
            *to = c_uint::try_from(from).map_err(candle_core::Error::wrap)?;
        }
        let block = [geometry.threads, 1, 1];
        let mut arguments: [*mut c_void; 1] = [words.as_mut_ptr().cast()];
        // SAFETY: all pointers are to live values of the lengths that emulation_api.h asks for, `words` holds `bytes`
        // bytes aligned to 8. A kernel reads and writes through addresses in its arguments, which the emulation checks.
        let status = unsafe {
            emul_configure(order, seed, 1);
            emul_launch(text.as_ptr(), grid.as_ptr(), block.as_ptr(), geometry.shared, arguments.as_mut_ptr(), bytes)
        };
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the text ends with 0 and lives until the next launch on this thread.
        let error = unsafe { CStr::from_ptr(emul_last_error()) }.to_string_lossy().into_owned();
        bail!("{name}: {error} (status {status})")
    }

    fn allocate(&self, what: &str, bytes: usize) -> Result<Box<dyn Memory>> {
        let name = CString::new(what).map_err(candle_core::Error::wrap)?;
        // SAFETY: the name ends with 0 and is copied; any size is allowed.
        let data = unsafe { emul_allocate(bytes, name.as_ptr()) };
        Ok(Box::new(Guarded { data, bytes }))
    }
}

/// Memory that ends at an unmapped page.
struct Guarded {
    data: *mut c_void,
    bytes: usize,
}

// SAFETY: nothing but launches and the methods below looks at the memory. Launches that share some are for the caller to
// order, as on a GPU.
unsafe impl Send for Guarded {}
// SAFETY: as above; of the methods, those that change the memory take `&mut self`.
unsafe impl Sync for Guarded {}

impl Memory for Guarded {
    fn pointer(&self) -> Pointer {
        Pointer(self.data as u64)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() > self.bytes {
            bail!("{} bytes for memory of {}", bytes.len(), self.bytes);
        }
        // SAFETY: `data` holds `self.bytes` bytes, which are at least as many; the two can't overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.data.cast(), bytes.len()) };
        Ok(())
    }

    fn read(&self) -> Result<Vec<u8>> {
        // SAFETY: `data` holds `self.bytes` initialised bytes, and no launch is under way: launches end before they return.
        Ok(unsafe { std::slice::from_raw_parts(self.data.cast::<u8>(), self.bytes) }.to_vec())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: `data` came from `emul_allocate` and is freed once.
        unsafe { emul_free(self.data) };
    }
}
