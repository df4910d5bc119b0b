//! Gradients against finite differences, and the parameters that they are taken at.

use super::arrays::{Buffer, View};
use super::batch::mixed;
use super::held::{get, there};
use crate::border::memory::text;
use crate::{Error, Result};
use panchroma_abi::{self as abi, Status};
use std::ffi::c_void;

/// Step of the differences: a power of two, so that arguments are exact.
const STEP: f32 = 1.0 / 64.0;
/// How many numbers of a tensor are looked at.
const LOOKS: usize = 32;

/// A number from -1 to 1 that looks random.
pub(crate) fn draw(key: u64) -> f32 {
    ((mixed(key) >> 40) as f32 / (1_u64 << 23) as f32) - 1.0
}

/// A parameter of a component, with values.
#[derive(Clone, Debug)]
pub(crate) struct Tuned {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    init: u32,
    value: f64,
    pub(crate) values: Buffer,
}

type Getter = unsafe extern "C" fn(*const c_void, u32, *mut abi::Parameter) -> Status;

impl Tuned {
    /// All parameters of an instance, with their initial values.
    pub(crate) fn all(instance: *const c_void, count: u32, getter: Option<Getter>) -> Result<Vec<Self>> {
        let getter = there(getter, "parameter")?;
        let mut all = Vec::new();
        for index in 0..count {
            // SAFETY: the instance lives, and the getter writes our struct.
            let raw = get(|p| unsafe { getter(instance, index, p) })?;
            // SAFETY: texts live as long as the instance.
            let name = unsafe { text(raw.name, "the parameter") }?.to_owned();
            let shape: Vec<usize> = raw.shape.iter().take(raw.axis_count as usize).map(|n| *n as usize).collect();
            let start = |place: usize| match raw.init {
                abi::ZEROS => 0.0,
                abi::CONSTANT => raw.value as f32,
                abi::NORMAL => raw.value as f32 * 1.7 * draw(key(index as usize, place)),
                _ => raw.value as f32 * draw(key(index as usize, place)),
            };
            let values = Buffer::F32((0..shape.iter().product()).map(start).collect());
            all.push(Self { name, shape, init: raw.init, value: raw.value, values });
        }
        Ok(all)
    }

    pub(crate) fn set(list: &mut [Self], name: &str, values: &[f32]) -> Result<()> {
        let found = list.iter_mut().find(|p| p.name == name);
        let found = found.ok_or_else(|| Error::invalid(format!("no parameter is called `{name}`")))?;
        if found.shape.iter().product::<usize>() != values.len() {
            return Err(Error::invalid(format!("`{name}` is {:?}; {} values were given", found.shape, values.len())));
        }
        found.values = Buffer::F32(values.to_vec());
        Ok(())
    }

    /// Values near the initial ones, none of them special: at 0, wrong gradients may look right.
    pub(crate) fn shaken(list: &[Self]) -> Vec<Self> {
        let shake = |(number, parameter): (usize, &Self)| {
            let mut shaken = parameter.clone();
            let spread = if parameter.init == abi::ZEROS { 0.3 } else { parameter.value as f32 * 0.3 };
            if let Buffer::F32(values) = &mut shaken.values {
                for (place, value) in values.iter_mut().enumerate() {
                    *value += spread * draw(key(number + 100, place));
                }
            }
            shaken
        };
        list.iter().enumerate().map(shake).collect()
    }

    pub(crate) fn views(list: &[Self]) -> Vec<View> {
        list.iter().map(|p| View::of(&p.values, &p.shape)).collect()
    }
}

fn key(number: usize, place: usize) -> u64 {
    mixed(number as u64).wrapping_add(place as u64)
}

/// Pointers to views, as the tables take them.
pub(crate) fn pointers(views: &[View]) -> Vec<*mut abi::Tensor> {
    views.iter().map(View::raw).collect()
}

/// What the derivatives of a function are claimed to be, and the function: of values by tensor and place.
pub(crate) struct Claim<'a> {
    /// Names of the tensors, for messages.
    pub(crate) names: Vec<String>,
    /// Values of the tensors.
    pub(crate) at: Vec<Vec<f32>>,
    /// Their claimed gradients.
    pub(crate) gradients: Vec<Vec<f32>>,
    /// The function.
    pub(crate) function: &'a dyn Fn(&[Vec<f32>]) -> Result<f64>,
}

/// Compares claimed gradients with central differences, extrapolated to fourth order.
pub(crate) fn compare(claim: &Claim) -> Result<()> {
    let height = (claim.function)(&claim.at)?;
    // The function is computed in single precision, and a difference of two values is divided by the step.
    let noise = 1e-4 * height.abs().max(1.0);
    for (number, (name, gradient)) in claim.names.iter().zip(&claim.gradients).enumerate() {
        for place in (0..gradient.len()).step_by(gradient.len().div_ceil(LOOKS).max(1)) {
            let moved = |by: f32| -> Result<f64> {
                let mut at = claim.at.clone();
                if let Some(x) = at.get_mut(number).and_then(|t| t.get_mut(place)) {
                    *x += by;
                }
                (claim.function)(&at)
            };
            let slope = |h: f32| -> Result<f64> { Ok((moved(h)? - moved(-h)?) / (2.0 * f64::from(h))) };
            let numeric = (4.0 * slope(STEP)? - slope(2.0 * STEP)?) / 3.0;
            let claimed = gradient.get(place).copied().map_or(f64::NAN, f64::from);
            let allowed = noise + 2e-3 * claimed.abs().max(numeric.abs());
            if claimed.is_nan() || (claimed - numeric).abs() > allowed {
                return Err(Error::failed(format!(
                    "gradient of `{name}` at {place}: {claimed} by `backward`, {numeric} by differences of `forward`"
                )));
            }
        }
    }
    Ok(())
}

/// Whether a second call adds to what stands there: twice the gradients of one call.
pub(crate) fn added(names: &[String], once: &[Vec<f32>], twice: &[Vec<f32>]) -> Result<()> {
    for ((name, once), twice) in names.iter().zip(once).zip(twice) {
        for (place, (a, b)) in once.iter().zip(twice).enumerate() {
            if (2.0 * a - b).abs() > 1e-5 + 1e-4 * a.abs() {
                return Err(Error::failed(format!("gradient of `{name}` at {place} isn't added to what stands there")));
            }
        }
    }
    Ok(())
}
