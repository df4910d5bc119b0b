//! The numbers of a step that its line of the log shows.

use crate::Result;
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;

/// Numbers on the device of the model, which are read all at once: the host waits for a GPU once a step.
#[derive(Default)]
pub(super) struct Scalars {
    names: Vec<String>,
    shares: Vec<f64>,
    numbers: Vec<Tensor>,
}

impl Scalars {
    /// Adds `share` of a number to what is called `name`.
    pub(super) fn add(&mut self, name: String, number: &Tensor, share: f64) -> Result<()> {
        self.names.push(name);
        self.shares.push(share);
        self.numbers.push(number.detach().to_dtype(DType::F32)?.reshape(1)?);
        Ok(())
    }

    /// The sums by name. Waits for the device.
    pub(super) fn read(self) -> Result<BTreeMap<String, f64>> {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        if self.numbers.is_empty() {
            return Ok(sums);
        }
        // A head may give a number from the CPU beside a loss on a GPU.
        let device = self.numbers.iter().map(Tensor::device).find(|device| !device.is_cpu()).unwrap_or(&Device::Cpu);
        let numbers = self.numbers.iter().map(|number| number.to_device(device));
        let values = Tensor::cat(&numbers.collect::<candle_core::Result<Vec<_>>>()?, 0)?.to_vec1::<f32>()?;
        for ((name, share), value) in self.names.into_iter().zip(self.shares).zip(values) {
            *sums.entry(name).or_default() += f64::from(value) * share;
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_one_name_add_up() -> Result<()> {
        let mut scalars = Scalars::default();
        for value in [1f32, 3.0] {
            scalars.add("loss".into(), &Tensor::new(value, &Device::Cpu)?, 0.5)?;
        }
        scalars.add("accuracy".into(), &Tensor::new(&[7f32], &Device::Cpu)?, 1.0)?;
        assert_eq!(scalars.read()?, BTreeMap::from([("loss".to_owned(), 2.0), ("accuracy".to_owned(), 7.0)]));
        assert!(Scalars::default().read()?.is_empty());
        Ok(())
    }
}
