//! Launches on a CUDA device, on candle's stream: in order with candle's own kernels.
//!
//! The kernels are compiled when this crate is built (`build.rs`) and loaded once per device.

use super::{Arguments, Geometry, Gpu, Memory, Pointer, driver};
use crate::device::Obstacle;
use candle_core::cuda_backend::{CudaDevice, WrapErr, cudarc};
use candle_core::{Device, Result, bail};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, result, sys};
use std::collections::HashMap;
use std::ffi::{CString, c_uint, c_void};
use std::sync::{Arc, Mutex, PoisonError};

/// What `build.rs` made of each kernel file.
const IMAGES: &[&[u8]] = &include!(concat!(env!("OUT_DIR"), "/kernel_images.rs"));

/// Shared memory of a block for which a kernel needs no permission.
const PLAIN_SHARED: usize = 48 * 1024;

/// Opens NVIDIA's libraries and the device of this number; gives its name too.
pub(crate) fn open(number: usize) -> std::result::Result<(Device, String), Obstacle> {
    // candle adds where in its code an error came up, line after line.
    let refused = |error: &dyn std::fmt::Debug| {
        let text = format!("{error:?}");
        Obstacle::Refused { reason: text.lines().next().unwrap_or_default().trim().to_owned() }
    };
    driver::open()?;
    result::init().map_err(|error| refused(&error))?;
    let found = match result::device::get_count() {
        Ok(count) => usize::try_from(count).unwrap_or(0),
        Err(result::DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => 0,
        Err(error) => return Err(refused(&error)),
    };
    if number >= found {
        return Err(Obstacle::NoDevice { found });
    }
    driver::open_toolkit()?;
    // A stream of its own, and not that of each thread: tensors may be dropped on any.
    let device = Device::new_cuda_with_stream(number).map_err(|error| refused(&format_args!("{error}")))?;
    let name = match &device {
        Device::Cuda(device) => {
            // SAFETY: all that computes or copies on this device is queued on the one stream that was just made, so events
            // between streams order nothing.
            unsafe { device.disable_event_tracking() };
            keep_memory(device).map_err(|error| refused(&error))?;
            device.cuda_stream().context().name().unwrap_or_else(|_| "no name".into())
        }
        _ => String::new(),
    };
    Ok((device, name))
}

/// Lets the driver keep what is freed for the next allocation. By default it gives all of it back whenever the host waits, and each step
/// would ask the system for its memory again, which takes longer than most kernels.
fn keep_memory(device: &CudaDevice) -> std::result::Result<(), result::DriverError> {
    let all = u64::MAX;
    let threshold = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the device's context is there, its default pool lives as long, and the attribute is an unsigned number of 64 bits,
    // which the driver copies.
    unsafe {
        let pool = result::device::get_default_mem_pool(device.cuda_stream().context().cu_device())?;
        result::mem_pool::set_attribute(pool, threshold, std::ptr::from_ref(&all).cast_mut().cast())
    }
}

/// Kernels of the devices used so far, by the address of their context, which they belong to. They live as long as
/// the process, as candle's own do.
static LOADED: Mutex<Vec<(usize, Arc<Mutex<Kernels>>)>> = Mutex::new(Vec::new());

/// The kernels of one device.
struct Kernels {
    modules: Vec<sys::CUmodule>,
    functions: HashMap<String, Function>,
}

#[derive(Clone, Copy)]
struct Function {
    function: sys::CUfunction,
    /// Dynamic shared memory that it may have.
    shared: usize,
}

// SAFETY: modules and functions of the driver may be used from any thread; the mutex keeps the maps consistent.
unsafe impl Send for Kernels {}

impl Kernels {
    fn load() -> Result<Self> {
        let mut modules = Vec::with_capacity(IMAGES.len());
        for image in IMAGES {
            // SAFETY: the image is a fatbin as nvcc wrote it, complete with the length in its header.
            modules.push(unsafe { result::module::load_data(image.as_ptr().cast()) }.w()?);
        }
        Ok(Self { modules, functions: HashMap::new() })
    }

    /// The kernel `name`, with permission for `shared` bytes.
    fn find(&mut self, name: &str, shared: usize) -> Result<sys::CUfunction> {
        let mut found = match self.functions.get(name) {
            Some(found) => *found,
            None => {
                let text = CString::new(name).map_err(candle_core::Error::wrap)?;
                // SAFETY: the modules are loaded and never unloaded.
                let in_module =
                    |&module: &sys::CUmodule| unsafe { result::module::get_function(module, text.clone()) }.ok();
                let Some(function) = self.modules.iter().find_map(in_module) else {
                    bail!("{name}: no kernel has this name");
                };
                Function { function, shared: PLAIN_SHARED }
            }
        };
        if shared > found.shared {
            let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = i32::try_from(shared).map_err(candle_core::Error::wrap)?;
            // SAFETY: the function was just found in a module that is never unloaded.
            unsafe { result::function::set_function_attribute(found.function, attribute, bytes) }.w()?;
            found.shared = shared;
        }
        self.functions.insert(name.to_owned(), found);
        Ok(found.function)
    }
}

/// A CUDA device of candle.
pub struct Cuda {
    stream: Arc<CudaStream>,
    kernels: Arc<Mutex<Kernels>>,
}

impl Cuda {
    /// The device, with its kernels, which the first call loads.
    ///
    /// # Errors
    /// If the kernels can't be loaded.
    pub fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        let context = stream.context();
        context.bind_to_thread().w()?;
        let key = Arc::as_ptr(context) as usize;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let known = loaded.iter().find(|(of, _)| *of == key).map(|(_, kernels)| kernels.clone());
        let kernels = match known {
            Some(kernels) => kernels,
            None => {
                // The context must not go, or its address could come back as another's.
                std::mem::forget(context.clone());
                let kernels = Arc::new(Mutex::new(Kernels::load()?));
                loaded.push((key, kernels.clone()));
                kernels
            }
        };
        drop(loaded);
        Ok(Self { stream, kernels })
    }
}

impl Gpu for Cuda {
    fn launch(&self, name: &str, geometry: Geometry, arguments: Arguments) -> Result<()> {
        let (mut words, _) = arguments.packed()?;
        let mut grid: [c_uint; 3] = [0; 3];
        for (to, from) in grid.iter_mut().zip(geometry.grid) {
            *to = c_uint::try_from(from).map_err(candle_core::Error::wrap)?;
        }
        let shared = c_uint::try_from(geometry.shared).map_err(candle_core::Error::wrap)?;
        self.stream.context().bind_to_thread().w()?;
        let function = self.kernels.lock().unwrap_or_else(PoisonError::into_inner).find(name, geometry.shared)?;
        let mut arguments: [*mut c_void; 1] = [words.as_mut_ptr().cast()];
        // SAFETY: the kernel takes one struct by value, which `words` holds as C lays it out: the emulated tests launch
        // the same kernel with the same arguments and check their length. The driver copies it before it returns.
        let launched = unsafe {
            result::launch_kernel(
                function,
                (grid[0], grid[1], grid[2]),
                (geometry.threads, 1, 1),
                shared,
                self.stream.cu_stream(),
                &mut arguments,
            )
        };
        match launched {
            Ok(()) => Ok(()),
            Err(error) => bail!("{name}: {error:?} for {geometry:?}"),
        }
    }

    fn allocate(&self, _what: &str, bytes: usize) -> Result<Box<dyn Memory>> {
        // SAFETY: the memory is arbitrary, as `Gpu::allocate` says; it is freed in the order of the stream, so after
        // the launches that use it. The driver refuses to give 0 bytes.
        let slice = unsafe { self.stream.alloc::<u8>(bytes.max(1)) }.w()?;
        Ok(Box::new(Slice { slice, bytes, stream: self.stream.clone() }))
    }
}

/// Memory that is allocated and freed in the order of the stream.
struct Slice {
    slice: CudaSlice<u8>,
    bytes: usize,
    stream: Arc<CudaStream>,
}

impl Memory for Slice {
    fn pointer(&self) -> Pointer {
        Pointer(self.slice.device_ptr(&self.stream).0)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() > self.bytes {
            bail!("{} bytes for memory of {}", bytes.len(), self.bytes);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.stream.memcpy_htod(bytes, &mut self.slice).w()
    }

    fn read(&self) -> Result<Vec<u8>> {
        let mut bytes = self.stream.clone_dtoh(&self.slice).w()?;
        self.stream.synchronize().w()?;
        bytes.truncate(self.bytes);
        Ok(bytes)
    }
}
