//! NVIDIA's libraries, opened when a device is asked for.
//!
//! cudarc as candle builds it links them, and a program that is linked to a library doesn't start without it. So the
//! functions that it calls are defined here: each jumps to an address that lies in a table, which [`open`] and [`open_toolkit`] fill. Before,
//! each gives its library's word for "not initialised", and nobody calls one. A function that is missing in the lists below
//! is an undefined symbol when the program is linked, with its name in the message: add it.

use crate::device::Obstacle;
use std::ffi::{CStr, CString, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

/// One function: its name, and where the address lies that it jumps to.
struct Function {
    name: &'static CStr,
    address: &'static AtomicPtr<c_void>,
}

/// CUDA_ERROR_NOT_INITIALIZED.
extern "C" fn no_driver() -> c_int {
    3
}

/// CUBLAS_STATUS_NOT_INITIALIZED.
extern "C" fn no_cublas() -> c_int {
    1
}

/// CURAND_STATUS_NOT_INITIALIZED.
extern "C" fn no_curand() -> c_int {
    101
}

/// Defines functions of a library that jump to the addresses in `$list`, at first `$missing`.
macro_rules! functions {
    ($list:ident, $missing:ident: $($name:ident)*) => {
        #[expect(non_upper_case_globals, reason = "named as the functions are")]
        mod $list {
            use super::*;
            $(
                pub(super) static $name: AtomicPtr<c_void> = AtomicPtr::new($missing as *mut c_void);
                #[cfg(target_arch = "x86_64")]
                std::arch::global_asm!(
                    concat!(".pushsection .text.", stringify!($name), ",\"ax\",@progbits"),
                    concat!(".globl ", stringify!($name)),
                    concat!(".type ", stringify!($name), ",@function"),
                    concat!(stringify!($name), ":"),
                    "jmp *{address}(%rip)",
                    concat!(".size ", stringify!($name), ",.-", stringify!($name)),
                    ".popsection",
                    address = sym $name,
                    options(att_syntax)
                );
                #[cfg(target_arch = "aarch64")]
                std::arch::global_asm!(
                    concat!(".pushsection .text.", stringify!($name), ",\"ax\",@progbits"),
                    ".p2align 2",
                    concat!(".globl ", stringify!($name)),
                    concat!(".type ", stringify!($name), ",@function"),
                    concat!(stringify!($name), ":"),
                    "adrp x16, {address}",
                    "ldr x16, [x16, :lo12:{address}]",
                    "br x16",
                    concat!(".size ", stringify!($name), ",.-", stringify!($name)),
                    ".popsection",
                    address = sym $name
                );
            )*
            pub(super) const ALL: &[Function] = &[$(Function {
                name: match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => c"",
                },
                address: &$name,
            }),*];
        }
    };
}

functions! { driver, no_driver:
    cuInit
    cuCtxDestroy_v2 cuCtxGetCurrent cuCtxSetCurrent cuCtxSynchronize
    cuDeviceGet cuDeviceGetAttribute cuDeviceGetCount cuDeviceGetDefaultMemPool cuDeviceGetName
    cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxRetain
    cuEventCreate cuEventDestroy_v2 cuEventRecord
    cuFuncSetAttribute cuGetErrorString cuLaunchKernel
    cuMemAllocAsync cuMemAlloc_v2 cuMemFreeAsync cuMemFree_v2
    cuMemPoolSetAttribute
    cuMemcpyDtoDAsync_v2 cuMemcpyDtoHAsync_v2 cuMemcpyHtoDAsync_v2 cuMemcpyPeerAsync cuMemsetD8Async
    cuModuleGetFunction cuModuleLoad cuModuleLoadData cuModuleUnload
    cuStreamCreate cuStreamDestroy_v2 cuStreamIsCapturing cuStreamSynchronize cuStreamWaitEvent
}
functions! { cublas, no_cublas:
    cublasCreate_v2 cublasDestroy_v2 cublasDgemmStridedBatched cublasGemmStridedBatchedEx cublasSetStream_v2
}
functions! { curand, no_curand:
    curandCreateGenerator curandDestroyGenerator curandSetPseudoRandomGeneratorSeed curandSetStream
    curandGenerateNormal curandGenerateNormalDouble curandGenerateUniform curandGenerateUniformDouble
}

/// A library with what a user has to know about it.
struct Library {
    about: &'static str,
    /// As the loader knows it.
    name: &'static str,
    functions: &'static [Function],
    remedy: &'static str,
}

const TOOLKIT: &str =
    concat!("install the CUDA ", env!("PANCHROMA_CUDA_MAJOR"), " libraries and put their folder into LD_LIBRARY_PATH");

const DRIVER: Library = Library {
    about: "the NVIDIA driver's library",
    name: "libcuda.so.1",
    functions: driver::ALL,
    remedy: "install the NVIDIA driver (in a container, start it with access to GPUs)",
};

const PRODUCTS: Library = Library {
    about: "NVIDIA's library of matrix products",
    name: concat!("libcublas.so.", env!("PANCHROMA_CUDA_MAJOR")),
    functions: cublas::ALL,
    remedy: TOOLKIT,
};

const RANDOM: Library = Library {
    about: "NVIDIA's library of random numbers",
    name: "libcurand.so.10",
    functions: curand::ALL,
    remedy: TOOLKIT,
};

/// Where a toolkit usually is, after the places that the loader knows.
const USUAL: &str = "/usr/local/cuda/lib64";

/// Opens the driver, once.
pub(super) fn open() -> Result<(), Obstacle> {
    static OPEN: Mutex<bool> = Mutex::new(false);
    once(&OPEN, &[DRIVER])
}

/// Opens what a device needs besides the driver, once.
pub(super) fn open_toolkit() -> Result<(), Obstacle> {
    static OPEN: Mutex<bool> = Mutex::new(false);
    once(&OPEN, &[PRODUCTS, RANDOM])
}

fn once(done: &Mutex<bool>, libraries: &[Library]) -> Result<(), Obstacle> {
    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
    if !*done {
        libraries.iter().try_for_each(Library::open)?;
        *done = true;
    }
    Ok(())
}

impl Library {
    fn open(&self) -> Result<(), Obstacle> {
        let fails = |reason: String| Obstacle::NoLibrary {
            library: format!("{} `{}`", self.about, self.name),
            reason,
            remedy: self.remedy,
        };
        let handle = load(self.name).or_else(|reason| load(&format!("{USUAL}/{}", self.name)).map_err(|_| reason));
        let handle = handle.map_err(fails)?;
        for function in self.functions {
            // SAFETY: `handle` is a library that is never closed, and the name ends in 0.
            let address = unsafe { libc::dlsym(handle, function.name.as_ptr()) };
            if address.is_null() {
                let name = function.name.to_string_lossy();
                return Err(fails(format!("it has no function `{name}`, so it is older than this panchroma needs")));
            }
            function.address.store(address, Ordering::Release);
        }
        Ok(())
    }
}

/// Opens a library for the life of the process.
fn load(name: &str) -> Result<*mut c_void, String> {
    let name = CString::new(name).map_err(|error| error.to_string())?;
    // SAFETY: the name ends in 0. What the library does when it is opened is NVIDIA's; it is opened once, under a lock.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if !handle.is_null() {
        return Ok(handle);
    }
    // SAFETY: after a failure the message is a string that ends in 0, or null, until the next call on this thread.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return Err("the system doesn't say why".into());
    }
    // SAFETY: as above.
    Err(unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned())
}
