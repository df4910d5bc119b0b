//! Reads numbers back as they were: JSON has no NaN and no infinity, and serde_json writes both as `null`.

use serde::{Deserialize, Deserializer};

pub(super) fn one<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

pub(super) fn many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    Ok(numbers(Vec::deserialize(from)?))
}

pub(super) fn named<'de, D: Deserializer<'de>>(from: D) -> Result<Option<(String, Vec<f64>)>, D::Error> {
    let named: Option<(String, Vec<Option<f64>>)> = Option::deserialize(from)?;
    Ok(named.map(|(name, values)| (name, numbers(values))))
}

pub(super) fn pairs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<[f32; 2]>, D::Error> {
    let pairs: Vec<[Option<f32>; 2]> = Vec::deserialize(from)?;
    Ok(pairs.into_iter().map(|pair| pair.map(|value| value.unwrap_or(f32::NAN))).collect())
}

fn numbers(values: Vec<Option<f64>>) -> Vec<f64> {
    values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect()
}
