//! The field codec: what comes back, what is learned, what is refused.

use super::{FieldCodec, FieldCodecConfig, OutputActivation};
use candle_core::{DType, Device, Tensor};
use panchroma_core::ops::Gradients;
use panchroma_core::{Parameters, Result};

fn config() -> FieldCodecConfig {
    FieldCodecConfig {
        crop: 16,
        low: 0.0,
        high: 1.0,
        hidden: 8,
        decoder_hidden: 12,
        residual_hidden: 6,
        residual_units: 1,
        halvings: 2,
        levels: vec![5, 3, 3],
        output: OutputActivation::Sigmoid,
        extension: 0.05,
    }
}

/// Discs of other sizes.
fn maps(count: usize, side: usize) -> Result<Tensor> {
    let value = |at: usize| {
        let (map, y, x) = (at / (side * side), at / side % side, at % side);
        let r = (x as f64 - 0.5 * side as f64).hypot(y as f64 - 0.4 * side as f64);
        f32::from(u8::from(r < 2.0 + map as f64))
    };
    Ok(Tensor::from_vec((0..count * side * side).map(value).collect(), (count, side, side), &Device::Cpu)?)
}

#[test]
fn codes_are_those_of_the_square_around_the_centre() -> Result<()> {
    let codec = FieldCodec::new(&config(), &Parameters::new(1, &Device::Cpu))?;
    let field = maps(3, 19)?;
    let codes = codec.encode(&field)?;
    assert_eq!(codes.dims(), [3, 16]);
    let cut = field.narrow(1, 1, 16)?.narrow(2, 1, 16)?;
    assert_eq!(codec.encode(&cut)?.to_vec2::<u32>()?, codes.to_vec2::<u32>()?);
    let decoded = codec.decode(&codes)?;
    assert_eq!(decoded.dims(), [3, 16, 16]);
    assert!(decoded.flatten_all()?.to_vec1::<f32>()?.iter().all(|value| (0.0..=1.0).contains(value)));
    Ok(())
}

#[test]
fn every_parameter_learns_and_the_loss_falls() -> Result<()> {
    let parameters = Parameters::new(1, &Device::Cpu);
    let codec = FieldCodec::new(&config(), &parameters)?;
    let field = maps(6, 16)?;
    let valid = Tensor::ones(field.shape(), DType::U8, &Device::Cpu)?;
    let all = parameters.all();
    let mut gradients = Gradients::new(&all)?;
    let mut losses = Vec::new();
    for step in 0..80 {
        let learned = codec.loss(&field, None, Some(&valid))?;
        losses.push(learned.loss.to_scalar::<f32>()?);
        gradients.clear();
        gradients.backward(&learned.loss)?;
        for (number, (name, parameter)) in all.iter().enumerate() {
            let gradient = gradients.get(number).unwrap_or_default().to_vec();
            let largest = gradient.iter().fold(0f32, |most, g| most.max(g.abs()));
            assert!(step > 0 || largest > 0.0, "`{name}` does not learn");
            let change = (Tensor::from_vec(gradient, parameter.var.shape(), &Device::Cpu)?
                * (0.02 / f64::from(largest.max(1e-12))))?;
            parameter.var.set(&(parameter.var.as_tensor() - change)?)?;
        }
    }
    let last = losses[70..].iter().sum::<f32>() / 10.0;
    assert!(last < 0.5 * losses[0], "{losses:?}");
    Ok(())
}

#[test]
fn other_ranges_are_brought_to_that_of_the_network() -> Result<()> {
    let own = FieldCodecConfig { low: -2.0, high: 8.0, ..config() };
    let codec = |config| FieldCodec::new(config, &Parameters::new(1, &Device::Cpu));
    let (unit, wide) = (codec(&config())?, codec(&own)?);
    let field = maps(3, 16)?;
    let stretched = field.affine(10.0, -2.0)?;
    let codes = unit.encode(&field)?;
    assert_eq!(wide.encode(&stretched)?.to_vec2::<u32>()?, codes.to_vec2::<u32>()?);
    let off =
        (unit.decode(&codes)?.affine(10.0, -2.0)? - wide.decode(&codes)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
    assert!(off < 1e-5, "{off}");
    let ivar = Tensor::full(400f32, field.shape(), &Device::Cpu)?;
    let losses = [unit.loss(&field, Some(&ivar), None)?, wide.loss(&stretched, Some(&(ivar / 100.0)?), None)?];
    let [a, b] = losses.map(|learned| learned.loss.to_scalar::<f32>());
    let (a, b) = (a?, b?);
    assert!((a / b - 1.0).abs() < 1e-4, "{a} {b}");
    Ok(())
}

#[test]
fn weights_are_bounded_inverse_variances() -> Result<()> {
    let codec = FieldCodec::new(&config(), &Parameters::new(1, &Device::Cpu))?;
    let field = maps(2, 16)?;
    let of = |ivar: f32| -> Result<f32> {
        // The second map counts by `ivar`, the first as much as can be.
        let ivar = Tensor::cat(
            &[Tensor::zeros((1, 16, 16), DType::F32, &Device::Cpu)?, Tensor::full(ivar, (1, 16, 16), &Device::Cpu)?],
            0,
        )?;
        Ok(codec.loss(&field, Some(&ivar), None)?.loss.to_scalar::<f32>()?)
    };
    let alone = |n| -> Result<f32> { Ok(codec.loss(&field.narrow(0, n, 1)?, None, None)?.loss.to_scalar::<f32>()?) };
    let (first, second) = (alone(0)?, alone(1)?);
    // An error of the floor, 0.02, halves the weight: (1, 1/2) / 1.5.
    let expected = (first + 0.5 * second) / 1.5;
    assert!((of(2500.0)? / expected - 1.0).abs() < 1e-4);
    assert!((of(0.0)? / (0.5 * (first + second)) - 1.0).abs() < 1e-4);
    assert!((of(1e-9)? / first - 1.0).abs() < 1e-4);
    Ok(())
}

#[test]
fn what_a_codec_was_not_made_for_is_refused() -> Result<()> {
    let codec = FieldCodec::new(&config(), &Parameters::new(1, &Device::Cpu))?;
    assert!(codec.decode(&Tensor::new(&[[45_u32; 16]], &Device::Cpu)?).is_err());
    let error = codec.encode(&maps(1, 15)?).expect_err("refused").to_string();
    assert!(error.contains("16 x 16") && error.contains("15 x 15"), "{error}");
    let error = codec.encode(&maps(1, 16)?.unsqueeze(0)?).expect_err("refused").to_string();
    assert!(error.contains("[B, H, W]"), "{error}");
    let wrong = |change: &dyn Fn(&mut FieldCodecConfig)| {
        let mut config = FieldCodecConfig::default();
        assert_eq!(config.wrong(), None);
        change(&mut config);
        config.wrong().expect("wrong").0
    };
    assert_eq!(wrong(&|c| c.crop = 5000), "crop");
    assert_eq!(wrong(&|c| c.low = 1.0), "low");
    assert_eq!(wrong(&|c| c.halvings = 0), "halvings");
    assert_eq!(wrong(&|c| c.halvings = 7), "halvings");
    assert_eq!(wrong(&|c| c.hidden = 3), "hidden");
    assert_eq!(wrong(&|c| c.levels = vec![]), "levels");
    assert_eq!(wrong(&|c| c.extension = -1.0), "extension");
    Ok(())
}
