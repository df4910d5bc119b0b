//! The image codec: what codes depend on, what comes back, what is learned, what is refused.

use super::{Band, ImageCodec, ImageCodecConfig, Images};
use candle_core::{DType, Device, Tensor};
use panchroma_core::ops::Gradients;
use panchroma_core::{Parameters, Result};

fn config() -> ImageCodecConfig {
    let band = |name: &str, zero_point| Band { name: name.into(), limit: Some(5.0), zero_point };
    ImageCodecConfig {
        bands: vec![band("A-g", 22.5), band("A-r", 22.5), band("B-g", 25.0)],
        channels: Vec::new(),
        crop: 16,
        projection: 5,
        hidden: 8,
        compressions: 1,
        consecutive: 1,
        levels: vec![5, 3],
        range: 0.1,
        factor: 2.0,
        as_reference: false,
    }
}

fn codec(config: &ImageCodecConfig) -> Result<(ImageCodec, Parameters)> {
    let parameters = Parameters::new(3, &Device::Cpu);
    Ok((ImageCodec::new(config, &parameters.pp("codec"))?, parameters))
}

/// A source of another place and brightness in each plane, on noise.
fn images(count: usize, bands: usize, side: usize) -> Result<Tensor> {
    let value = |at: usize| {
        let (plane, y, x) = (at / (side * side), at / side % side, at % side);
        let middle = |n: usize| 0.5 * side as f64 + n as f64 - 2.0;
        let r2 = (x as f64 - middle(plane % 5)).powi(2) + (y as f64 - middle(plane % 3)).powi(2);
        let noise = ((at * 7919 + plane * 31) % 1009) as f64 / 1009.0 - 0.5;
        ((1.0 + plane as f64) * (-r2 / 8.0).exp() + 0.05 * noise) as f32
    };
    let values: Vec<f32> = (0..count * bands * side * side).map(value).collect();
    Ok(Tensor::from_vec(values, (count, bands, side, side), &Device::Cpu)?)
}

fn codes(tensor: &Tensor) -> Result<Vec<Vec<u32>>> {
    Ok(tensor.to_vec2::<u32>()?)
}

#[test]
fn codes_depend_on_the_own_square_and_bands_alone() -> Result<()> {
    let (codec, _) = codec(&config())?;
    let flux = images(3, 2, 21)?;
    let bands = ["A-r", "B-g"];
    let all = codes(&codec.encode(&flux, &bands)?)?;
    assert_eq!((all.len(), all[0].len()), (3, 64));
    assert!(all.iter().flatten().all(|code| *code < 15));
    assert!(all[0] != all[1]);
    let alone = flux.narrow(0, 1, 1)?;
    assert_eq!(codes(&codec.encode(&alone, &bands)?)?[0], all[1]);
    // (21 - 16) / 2, rounded down.
    let cut = flux.narrow(2, 2, 16)?.narrow(3, 2, 16)?;
    assert_eq!(codes(&codec.encode(&cut, &bands)?)?, all);
    let turned = flux.index_select(&Tensor::new(&[1_u32, 0], &Device::Cpu)?, 1)?;
    assert_eq!(codes(&codec.encode(&turned, &["B-g", "A-r"])?)?, all);
    Ok(())
}

#[test]
fn a_band_without_a_measurement_is_one_that_an_image_lacks() -> Result<()> {
    let (codec, _) = codec(&config())?;
    let flux = images(2, 2, 16)?;
    let mut valid = vec![1_u8; 2 * 2 * 256];
    valid[..256].fill(0);
    let valid = Tensor::from_vec(valid, (2, 2, 16, 16), &Device::Cpu)?;
    let images = Images { valid: Some(&valid), ..Images::new(&flux, &["A-g", "A-r"]) };
    let got = codes(&codec.encode_images(images)?)?;
    let lacking = codec.encode(&flux.narrow(0, 0, 1)?.narrow(1, 1, 1)?, &["A-r"])?;
    assert_eq!(got[0], codes(&lacking)?[0]);
    assert_eq!(got[1], codes(&codec.encode(&flux, &["A-g", "A-r"])?)?[1]);
    // What isn't measured may be anything.
    let nan = (flux.narrow(0, 0, 1)? * f64::NAN)?;
    let broken = Tensor::cat(&[&nan.narrow(1, 0, 1)?, &flux.narrow(0, 0, 1)?.narrow(1, 1, 1)?], 1)?;
    let valid = valid.narrow(0, 0, 1)?;
    let images = Images { valid: Some(&valid), ..Images::new(&broken, &["A-g", "A-r"]) };
    assert_eq!(codes(&codec.encode_images(images)?)?[0], got[0]);
    Ok(())
}

#[test]
fn fluxes_come_and_go_at_the_zero_point_of_their_band() -> Result<()> {
    let mut equal = config();
    equal.bands[2].zero_point = 22.5;
    equal.bands[2].limit = None;
    let mut brighter = equal.clone();
    brighter.bands[2].zero_point = 25.0;
    let (flux, bands) = (images(2, 1, 16)?, ["B-g"]);
    let (a, b) = (codec(&equal)?.0, codec(&brighter)?.0);
    let expected = a.encode(&flux, &bands)?;
    assert_eq!(codes(&b.encode(&(&flux * 10.0)?, &bands)?)?, codes(&expected)?);
    let ratio = (b.decode(&expected, &bands)? / a.decode(&expected, &bands)?)?.flatten_all()?.to_vec1::<f32>()?;
    assert!(ratio.iter().all(|ratio| (ratio - 10.0).abs() < 1e-4), "{ratio:?}");
    // The published program decodes to the network's zero point, whatever the band's.
    brighter.as_reference = true;
    let reference = codec(&brighter)?.0;
    let plain = |t: Tensor| t.flatten_all()?.to_vec1::<f32>();
    assert_eq!(plain(reference.decode(&expected, &bands)?)?, plain(a.decode(&expected, &bands)?)?);
    // And takes the survey of the first band for that of all.
    let two = images(1, 2, 16)?;
    let mixed = codes(&reference.encode(&two, &["A-g", "B-g"])?)?;
    assert_eq!(mixed, codes(&a.encode(&two, &["A-g", "B-g"])?)?);
    Ok(())
}

#[test]
fn fluxes_beyond_the_limit_are_cut_off() -> Result<()> {
    let (codec, _) = codec(&config())?;
    let flux = (images(1, 1, 16)? * 100.0)?;
    let cut = flux.clamp(-5f32, 5f32)?;
    assert_eq!(codes(&codec.encode(&flux, &["A-g"])?)?, codes(&codec.encode(&cut, &["A-g"])?)?);
    Ok(())
}

#[test]
fn bands_are_decoded_as_they_are_asked_for() -> Result<()> {
    let (codec, _) = codec(&config())?;
    let tokens = codec.encode(&images(2, 1, 16)?, &["A-r"])?;
    let all = codec.decode(&tokens, &["A-g", "A-r", "B-g"])?;
    assert_eq!(all.dims(), [2, 3, 16, 16]);
    let some = codec.decode(&tokens, &["B-g", "A-g"])?;
    let picked = all.index_select(&Tensor::new(&[2_u32, 0], &Device::Cpu)?, 1)?;
    assert_eq!(some.flatten_all()?.to_vec1::<f32>()?, picked.flatten_all()?.to_vec1::<f32>()?);
    Ok(())
}

#[test]
fn every_parameter_learns_and_the_loss_falls() -> Result<()> {
    let (codec, parameters) = codec(&config())?;
    let (flux, bands) = (images(4, 3, 16)?, ["A-g", "A-r", "B-g"]);
    let ivar = Tensor::full(400f32, (4, 3, 16, 16), &Device::Cpu)?;
    let images = Images { ivar: Some(&ivar), ..Images::new(&flux, &bands) };
    let all = parameters.all();
    let mut gradients = Gradients::new(&all)?;
    let mut losses = Vec::new();
    for step in 0..60 {
        let learned = codec.loss(images)?;
        losses.push(learned.loss.to_scalar::<f32>()?);
        gradients.clear();
        gradients.backward(&learned.loss)?;
        for (number, (name, parameter)) in all.iter().enumerate() {
            let gradient = gradients.get(number).unwrap_or_default().to_vec();
            let largest = gradient.iter().fold(0f32, |most, g| most.max(g.abs()));
            assert!(step > 0 || largest > 0.0, "`{name}` does not learn");
            let gradient = Tensor::from_vec(gradient, parameter.var.shape(), &Device::Cpu)?;
            // Steps of a fixed size: what matters here is the direction.
            let change = (gradient * (0.01 / f64::from(largest.max(1e-12))))?;
            parameter.var.set(&(parameter.var.as_tensor() - change)?)?;
        }
        for (name, metric) in &learned.metrics {
            assert!(metric.to_scalar::<f32>()?.is_finite(), "{name}");
        }
    }
    let (first, last) = (losses[0], losses[50..].iter().sum::<f32>() / 10.0);
    assert!(last < 0.5 * first, "{losses:?}");
    // What is used after training is what was trained.
    let decoded = codec.decode(&codec.encode(&flux, &bands)?, &bands)?;
    let off = ((decoded - &flux)?.sqr()?.mean_all()?.to_scalar::<f32>()?
        / flux.sqr()?.mean_all()?.to_scalar::<f32>()?)
    .sqrt();
    assert!(off < 0.9, "{off}");
    Ok(())
}

#[test]
fn pixels_that_were_not_measured_are_no_loss() -> Result<()> {
    let (codec, _) = codec(&config())?;
    let flux = images(1, 1, 16)?;
    let half = Tensor::cat(
        &[
            Tensor::ones((1, 1, 8, 16), DType::U8, &Device::Cpu)?,
            Tensor::zeros((1, 1, 8, 16), DType::U8, &Device::Cpu)?,
        ],
        2,
    )?;
    let of = |flux: &Tensor| -> Result<f32> {
        let images = Images { valid: Some(&half), ..Images::new(flux, &["A-g"]) };
        Ok(codec.loss(images)?.loss.to_scalar::<f32>()?)
    };
    let other = Tensor::cat(&[flux.narrow(2, 0, 8)?, (flux.narrow(2, 8, 8)? + 3.0)?], 2)?;
    assert_eq!(of(&flux)?, of(&other)?);
    let none = Tensor::zeros((1, 1, 16, 16), DType::U8, &Device::Cpu)?;
    let images = Images { valid: Some(&none), ..Images::new(&flux, &["A-g"]) };
    assert_eq!(codec.loss(images)?.loss.to_scalar::<f32>()?, 0.0);
    Ok(())
}

#[test]
fn what_a_codec_was_not_made_for_is_refused() -> Result<()> {
    let (codec, _) = codec(&config())?;
    let flux = images(1, 2, 16)?;
    let refused = |flux: &Tensor, bands: &[&str], parts: &[&str]| {
        let error = codec.encode(flux, bands).expect_err("refused").to_string();
        for part in parts {
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
    };
    refused(&flux, &["A-g", "C-g"], &["`C-g`", "`A-g`, `A-r`, `B-g`"]);
    refused(&flux, &["A-g", "A-g"], &["`A-g` twice"]);
    refused(&flux, &["A-g"], &["2 planes for 1 bands"]);
    refused(&flux, &[], &["`A-g`, `A-r`, `B-g`"]);
    refused(&images(1, 2, 15)?, &["A-g", "A-r"], &["16 x 16", "15 x 15"]);
    refused(&flux.squeeze(0)?, &["A-g", "A-r"], &["[B, C, H, W]", "[2, 16, 16]"]);
    let nan = (&flux * f64::NAN)?;
    refused(&nan, &["A-g", "A-r"], &["not finite", "`A-g`", "line 0"]);
    let decode = |codes: Vec<u32>| {
        let tokens = Tensor::new(codes, &Device::Cpu)?.unsqueeze(0)?;
        Ok::<_, panchroma_core::Error>(codec.decode(&tokens, &["A-g"]).expect_err("refused").to_string())
    };
    assert!(decode(vec![0; 63])?.contains("expected 64 codes per object, got 63"));
    assert!(decode([vec![0; 63], vec![15]].concat())?.contains("expected codes below 15, got 15"));
    Ok(())
}

#[test]
fn configs_that_make_no_sense_name_the_key() {
    let wrong = |change: &dyn Fn(&mut ImageCodecConfig)| {
        let mut config = ImageCodecConfig::default();
        assert_eq!(config.wrong(), None);
        change(&mut config);
        config.wrong().expect("wrong").0
    };
    assert_eq!(wrong(&|c| c.bands.clear()), "bands");
    assert_eq!(wrong(&|c| c.bands[1].name = "HSC-G".into()), "bands");
    assert_eq!(wrong(&|c| c.bands[1].limit = Some(0.0)), "bands");
    assert_eq!(wrong(&|c| c.crop = 0), "crop");
    assert_eq!(wrong(&|c| c.hidden = 510), "hidden");
    assert_eq!(wrong(&|c| c.compressions = 13), "compressions");
    assert_eq!(wrong(&|c| c.levels = vec![5, 1]), "levels");
    assert_eq!(wrong(&|c| c.levels = vec![5; 20]), "levels");
    assert_eq!(wrong(&|c| c.range = -1.0), "range");
    assert_eq!(wrong(&|c| c.factor = 0.0), "factor");
}

#[test]
fn bands_are_names_or_tables() -> std::result::Result<(), serde_json::Error> {
    let json = r#"{"bands": ["g", {"name": "r", "limit": 3.0}, {"name": "z", "zero_point": 27.0}]}"#;
    let config: ImageCodecConfig = serde_json::from_str(json)?;
    let band = |name: &str, limit, zero_point| Band { name: name.into(), limit, zero_point };
    assert_eq!(config.bands, [band("g", None, 22.5), band("r", Some(3.0), 22.5), band("z", None, 27.0)]);
    assert_eq!(serde_json::from_str::<ImageCodecConfig>(&serde_json::to_string(&config)?)?, config);
    Ok(())
}
