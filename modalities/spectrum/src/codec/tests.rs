//! The codec of spectra: shapes, what it refuses, and that it learns. Its numbers are held against the Python package in `plugins/aion`.

use super::*;
use panchroma_core::Mode;
use panchroma_core::ops::Gradients;

fn small() -> SpectrumCodecConfig {
    SpectrumCodecConfig {
        wavelength_min: 4000.0,
        wavelength_step: 10.0,
        samples: 64,
        encoder_depths: vec![1, 1],
        encoder_widths: vec![8, 16],
        decoder_depths: vec![1, 1],
        decoder_widths: vec![8, 1],
        code_bits: 6,
        normalisation_codes: 32,
        sharpness: 1.0,
        ..SpectrumCodecConfig::default()
    }
}

/// Spectra of one line each, wherever: flux, inverse variance, flags, wavelength.
struct Made {
    flux: Vec<f32>,
    ivar: Vec<f32>,
    bad: Vec<u8>,
    wavelength: Vec<f32>,
}

fn made(number: usize) -> Made {
    let wavelength: Vec<f32> = (0..120).map(|i| 3900.0 + 7.0 * i as f32).collect();
    let centre = 4100.0 + (number * 97 % 400) as f32;
    let flux = wavelength.iter().map(|w| 2.0 + 3.0 * (-((w - centre) / 40.0).powi(2)).exp()).collect();
    let mut bad = vec![0; 120];
    bad[number % 120] = 1;
    Made { flux, ivar: vec![25.0; 120], bad, wavelength }
}

impl Made {
    fn observed(&self) -> Observed<'_> {
        Observed { flux: &self.flux, ivar: &self.ivar, bad: &self.bad, wavelength: &self.wavelength }
    }
}

#[test]
fn codes_and_spectra_have_the_shapes_of_the_config() {
    for channels in [1, 2] {
        let config = SpectrumCodecConfig { decoder_widths: vec![8, channels], code_width: Some(4), ..small() };
        let codec = SpectrumCodec::new(&config, &Parameters::new(1, &Device::Cpu)).unwrap();
        let spectra = [made(0), made(1), made(2)];
        let observed: Vec<Observed<'_>> = spectra.iter().map(Made::observed).collect();
        let codes = codec.encode_each(&observed).unwrap();
        assert_eq!(codes.dims(), [3, 1 + 64 / 8]);
        assert!(codes.flatten_all().unwrap().to_vec1::<u32>().unwrap().iter().all(|code| *code < 64));
        let decoded = codec.decode(&codes, None, MaskRule::Sensible).unwrap();
        assert_eq!((decoded.flux.dims(), decoded.mask.dims()), ([3, 64].as_slice(), [3, 64].as_slice()));
        assert_eq!(decoded.wavelength.to_vec2::<f32>().unwrap()[2][63], 4630.0);
        // Alone in the batch, the same codes.
        let alone = codec.encode_each(&observed[1..2]).unwrap();
        assert_eq!(alone.to_vec2::<u32>().unwrap()[0], codes.to_vec2::<u32>().unwrap()[1]);
    }
    let codec = SpectrumCodec::new(&small(), &Parameters::new(1, &Device::Cpu)).unwrap();
    assert_eq!(codec.encode_each(&[]).unwrap().dims(), [0, 9]);
    assert!(codec.loss(&[], Mode::Train).unwrap().is_none());
}

#[test]
fn every_parameter_has_a_gradient_and_the_loss_falls() {
    let config = SpectrumCodecConfig { decoder_widths: vec![8, 2], code_width: Some(4), ..small() };
    let parameters = Parameters::new(3, &Device::Cpu);
    let codec = SpectrumCodec::new(&config, &parameters).unwrap();
    let spectra: Vec<Made> = (0..8).map(made).collect();
    let observed: Vec<Observed<'_>> = spectra.iter().map(Made::observed).collect();
    let all = parameters.all();
    let mut gradients = Gradients::new(&all).unwrap();
    let (mut before, mut last) = (f32::NAN, f32::NAN);
    for step in 0..150 {
        let found = codec.loss(&observed, Mode::Train).unwrap().unwrap();
        last = found.metrics["reconstruction"].to_scalar::<f32>().unwrap();
        if step == 0 {
            before = last;
        }
        gradients.clear();
        gradients.backward(&found.loss).unwrap();
        for (number, (name, parameter)) in all.iter().enumerate() {
            let own = gradients.get(number).unwrap_or_else(|| panic!("`{name}` has no gradient"));
            assert!(own.iter().all(|g| g.is_finite()), "{name}");
            assert!(step > 0 || own.iter().any(|g| *g != 0.0), "`{name}` has a gradient of 0");
            // By signs, so that no step has to be tuned.
            let step: Vec<f32> = own.iter().map(|g| -0.003 * g.signum() * f32::from(*g != 0.0)).collect();
            let step = Tensor::from_vec(step, parameter.var.shape(), &Device::Cpu).unwrap();
            parameter.var.set(&(parameter.var.as_tensor() + step).unwrap()).unwrap();
        }
    }
    assert!(last < 0.3 * before, "{before} -> {last}");
}

#[test]
fn bad_samples_and_those_outside_have_no_weight() {
    let codec = SpectrumCodec::new(&small(), &Parameters::new(1, &Device::Cpu)).unwrap();
    let clean = made(60);
    let mut dirty = made(60);
    // The flag is at sample 60; its flux is another's business.
    dirty.flux[60] = f32::NAN;
    dirty.ivar[60] = 0.0;
    let of = |made: &Made| {
        let prepared = codec.prepare(&[made.observed()]).unwrap().remove(0);
        (prepared.targets().collect::<Vec<f32>>(), prepared.weights(0.02))
    };
    let ((target, weights), (other, other_weights)) = (of(&clean), of(&dirty));
    assert_eq!((&target, &weights), (&other, &other_weights));
    // Two lines meet at the sample, 4320 Angstrom: grid points 4320 and, on either side within 7 Angstrom, none.
    assert_eq!((weights[32], target[32]), (0.0, 0.0));
    assert!(weights[31] > 0.0 && weights[33] > 0.0);
    let mean = weights.iter().sum::<f32>() / weights.iter().filter(|w| **w > 0.0).count() as f32;
    assert!((mean - 1.0).abs() < 1e-5);
}

#[test]
fn configs_that_make_no_sense_name_the_key() {
    let refused = |key: &str, change: fn(&mut SpectrumCodecConfig)| {
        let mut config = small();
        change(&mut config);
        let error = SpectrumCodec::new(&config, &Parameters::new(1, &Device::Cpu)).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}`")), "{key}: {error}");
    };
    refused("samples", |c| c.samples = 60);
    refused("encoder_widths", |c| c.encoder_widths = vec![8]);
    refused("decoder_depths", |c| c.decoder_depths = vec![1]);
    refused("decoder_widths", |c| c.decoder_widths = vec![8, 3]);
    refused("code_bits", |c| c.code_bits = 0);
    refused("code_width", |c| c.code_width = Some(0));
    refused("normalisation_range", |c| c.normalisation_range = [1.0, 1.0]);
    refused("wavelength_step", |c| c.wavelength_step = 0.0);
    refused("clip_ivar", |c| c.clip_ivar = f64::NAN);
    refused("entropy_weight", |c| c.entropy_weight = -1.0);
}

#[test]
fn columns_of_other_lengths_are_refused() {
    let codec = SpectrumCodec::new(&small(), &Parameters::new(1, &Device::Cpu)).unwrap();
    let made = made(1);
    let short = Observed { ivar: &made.ivar[1..], ..made.observed() };
    let error = codec.encode_each(&[short]).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("120, 119, 120, 120"), "{error}");
    let far: Vec<f32> = made.wavelength.iter().map(|w| w + 2000.0).collect();
    let error = codec.encode_each(&[Observed { wavelength: &far, ..made.observed() }]).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("4000 to 4630"), "{error}");
}

#[test]
fn what_is_measured_is_told_beside_the_best_constant() {
    let codec = SpectrumCodec::new(&small(), &Parameters::new(1, &Device::Cpu)).unwrap();
    let spectra = [made(0), made(1)];
    let observed: Vec<Observed<'_>> = spectra.iter().map(Made::observed).collect();
    let found = codec.loss(&observed, Mode::Evaluate).unwrap().unwrap();
    let ratio = |name: &str| {
        found.sums[name].iter().map(|s| s[0]).sum::<f32>() / found.sums[name].iter().map(|s| s[1]).sum::<f32>()
    };
    let reconstruction = found.metrics["reconstruction"].to_scalar::<f32>().unwrap();
    assert!((ratio("error") / reconstruction - 1.0).abs() < 1e-3, "{} {reconstruction}", ratio("error"));
    assert!((ratio("chi2") / found.metrics["chi2"].to_scalar::<f32>().unwrap() - 1.0).abs() < 1e-3);
    // A flat line misses the one line by less than a network that was not trained.
    assert!(ratio("error.constant") < ratio("error") && ratio("chi2.constant") < ratio("chi2"));
    assert!(codec.loss(&observed, Mode::Train).unwrap().unwrap().sums.is_empty());
}
