//! Where to compute: what a user may ask for, and opening it.
//!
//! A build without the feature `cuda` knows the CPU alone. One with it starts on any machine: NVIDIA's libraries are
//! opened when a CUDA device is asked for, so that their absence is a message and not a program that doesn't start.

use crate::Result;
use candle_core::Device;
use std::fmt;
use std::str::FromStr;

/// What a user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// The CUDA device of this number, from 0.
    Cuda(usize),
    /// The first CUDA device if there is one, else the processor.
    Auto,
}

/// A CUDA device that can't be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device `cuda:{number}` was asked for, but {cause}")]
pub struct DeviceError {
    /// Of the device.
    pub number: usize,
    /// What is in the way.
    pub cause: Obstacle,
}

/// What is between a user and a CUDA device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Obstacle {
    /// This program was built without CUDA.
    #[error("this panchroma was built without CUDA")]
    NotBuilt,
    /// A library of NVIDIA's can't be opened.
    #[error("{library} can't be used: {reason}")]
    NoLibrary {
        /// Which, for example ``the NVIDIA driver's library `libcuda.so.1` ``.
        library: String,
        /// What the system said.
        reason: String,
        /// How to get it.
        remedy: &'static str,
    },
    /// There are fewer devices.
    #[error("the NVIDIA driver shows {}", devices(*found))]
    NoDevice {
        /// How many there are.
        found: usize,
    },
    /// The driver refuses.
    #[error("the NVIDIA driver refuses: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
}

fn devices(found: usize) -> String {
    match found {
        0 => "no device".into(),
        1 => "one device, `cuda:0`".into(),
        _ => format!("{found} devices, `cuda:0` to `cuda:{}`", found - 1),
    }
}

impl DeviceError {
    /// Whether the command line asks for what can't be, and not the machine lacks something.
    #[must_use]
    pub fn is_wrong_command(&self) -> bool {
        matches!(self.cause, Obstacle::NotBuilt | Obstacle::NoDevice { found: 1.. })
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match &self.cause {
            Obstacle::NotBuilt => {
                "build it with `cargo build --release --features cuda` (docs/cuda.md says what that needs), or use `--device cpu`".into()
            }
            Obstacle::NoLibrary { remedy, .. } => format!("{remedy}, or use `--device cpu`"),
            Obstacle::NoDevice { found: 0 } => {
                "`nvidia-smi` shows what the driver sees, and the variable CUDA_VISIBLE_DEVICES hides devices; or use `--device cpu`".into()
            }
            Obstacle::NoDevice { found } => {
                format!("use a number below {found}; the variable CUDA_VISIBLE_DEVICES hides devices")
            }
            Obstacle::Refused { .. } => {
                "`nvidia-smi` shows whether the device works and which CUDA the driver is for; or use `--device cpu`".into()
            }
        }
    }
}

/// A word that is no device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `cpu`, `cuda:N` with a number N from 0, or `auto`")]
pub struct NotADevice;

impl FromStr for DeviceChoice {
    type Err = NotADevice;

    fn from_str(text: &str) -> std::result::Result<Self, NotADevice> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "auto" => Ok(Self::Auto),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let number = text.strip_prefix("cuda:").filter(|n| n.bytes().all(|byte| byte.is_ascii_digit()));
                number.and_then(|number| number.parse().ok()).map(Self::Cuda).ok_or(NotADevice)
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

/// An open device.
#[derive(Clone, Debug)]
pub struct OpenDevice {
    /// For tensors.
    pub device: Device,
    /// For people, for example `cuda:0 (NVIDIA H100 80GB HBM3)`.
    pub name: String,
    /// Why [`DeviceChoice::Auto`] didn't take a CUDA device.
    pub passed_over: Option<Obstacle>,
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`crate::Error::Device`] that says what is missing; never for [`Self::Cpu`] and [`Self::Auto`].
    pub fn open(self) -> Result<OpenDevice> {
        let cpu = |passed_over| OpenDevice { device: Device::Cpu, name: "cpu".into(), passed_over };
        match self {
            Self::Cpu => Ok(cpu(None)),
            Self::Cuda(number) => Ok(cuda(number)?),
            Self::Auto => Ok(cuda(0).unwrap_or_else(|error| cpu(Some(error.cause)))),
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(number: usize) -> std::result::Result<OpenDevice, DeviceError> {
    Err(DeviceError { number, cause: Obstacle::NotBuilt })
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> std::result::Result<OpenDevice, DeviceError> {
    let (device, name) = crate::ops::gpu::cuda::open(number).map_err(|cause| DeviceError { number, cause })?;
    Ok(OpenDevice { device, name: format!("cuda:{number} ({name})"), passed_over: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written() {
        for (text, choice) in [
            ("cpu", DeviceChoice::Cpu),
            ("auto", DeviceChoice::Auto),
            ("cuda:0", DeviceChoice::Cuda(0)),
            ("cuda:12", DeviceChoice::Cuda(12)),
        ] {
            assert_eq!(text.parse(), Ok(choice));
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda:x", "CPU"] {
            assert_eq!(text.parse::<DeviceChoice>(), Err(NotADevice), "{text}");
        }
    }

    #[test]
    fn auto_never_fails_and_says_why_it_took_the_processor() -> Result<()> {
        let open = DeviceChoice::Auto.open()?;
        assert_eq!(open.device.is_cpu(), open.passed_over.is_some());
        Ok(())
    }

    #[test]
    fn too_large_a_number_says_how_many_there_are() {
        let message = |number, found| DeviceError { number, cause: Obstacle::NoDevice { found } }.to_string();
        assert!(message(0, 0).ends_with("the NVIDIA driver shows no device"));
        assert!(message(1, 1).ends_with("shows one device, `cuda:0`"));
        assert!(message(9, 4).ends_with("shows 4 devices, `cuda:0` to `cuda:3`"));
    }
}
