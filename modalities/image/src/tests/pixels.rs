//! What is done to pixels: flags, softening, noise, blur, other widths, weights.

use super::*;

/// One object called `a` with this image.
fn image(image: Value) -> Objects {
    Objects::new(&json!([{ "object_id": "a", "image": image }]), fields())
}

fn one(text: &str, image: Value) -> panchroma_core::Result<Arrays> {
    prepare(build_modality(text).as_ref(), &self::image(image), Mode::Evaluate, 0)
}

const ONE: &str = "kind = \"image\"\nchannels = [\"r\"]\nsize = 2\nclip = 1000\n";

#[test]
fn flags_mark_what_the_config_says_and_one_plane_serves_all() {
    let text = format!("kind = \"image\"\nchannels = [\"r\", \"g\"]\nsize = 2\n{RAW}");
    let flags = json!([[[true, false], [true, true]]]);
    let planes = json!({ "band": ["r", "g"], "flux": [plane(1.0, 2, 2), plane(5.0, 2, 2)], "mask": flags });
    let bad = one(&text, planes.clone()).expect("fits");
    assert_eq!(bad.valid().expect("u8").1, [0, 1, 0, 0, 0, 1, 0, 0]);
    let good = one(&format!("{text}mask_marks = \"good\"\n"), planes.clone()).expect("fits");
    assert_eq!(good.valid().expect("u8").1, [1, 0, 1, 1, 1, 0, 1, 1]);
    let none = one(&format!("{text}mask = \"\"\n"), planes).expect("fits");
    assert_eq!(none.valid().expect("u8").1, [1; 8]);
}

#[test]
fn flags_that_mark_nearly_all_pixels_are_asked_about() {
    let flags: Vec<Vec<bool>> = (0..4).map(|y| (0..4).map(|x| (y, x) != (0, 0)).collect()).collect();
    let rows = image(json!({ "band": ["r"], "flux": [plane(1.0, 4, 4)], "mask": [flags] })).rows();
    let fit = |more: &str| {
        build_modality(&format!("{}{more}", ONE.replace("size = 2", "size = 4")))
            .fit(&mut std::iter::once(Ok(rows.clone())))
    };
    let error = fit("").expect_err("suspicious").to_string();
    assert_eq!(
        error,
        "modality `test`: `image.mask` marks 94 % of the pixels that are good without it: does it mark the good ones? say so by \
         `mask_marks = \"good\"`, or `mask_marks = \"bad\"` if it is right"
    );
    fit("mask_marks = \"bad\"\n").expect("believed");
    fit("mask_marks = \"good\"\n").expect("believed");
}

#[test]
fn pixels_that_are_bad_anyway_do_not_hide_what_flags_mark() {
    // As JWST has them: marked is what has an inverse variance, 8 of 10 pixels.
    let informed: Vec<f64> = (0..10).map(|i| if i < 8 { 1.0 } else { 0.0 }).collect();
    let flags: Vec<bool> = informed.iter().map(|v| *v > 0.0).collect();
    let flux: Vec<i32> = (0..10).collect();
    let rows = image(json!({ "band": ["r"], "flux": [[flux]], "ivar": [[informed]], "mask": [[flags]] })).rows();
    let text = ONE.replace("size = 2", "size = 10");
    let fit = |more: &str| build_modality(&format!("{text}{more}")).fit(&mut std::iter::once(Ok(rows.clone())));
    let error = fit("").expect_err("suspicious").to_string();
    assert!(error.contains("marks 100 % of the pixels"), "{error}");
    fit("mask_marks = \"good\"\n").expect("believed");
    fit("ivar = \"\"\n").expect("8 of 10 may well be bad");
}

#[test]
fn what_a_config_asks_for_must_be_there() {
    let error = |more: &str, image: Value| one(&format!("{ONE}{more}"), image).expect_err("refused").to_string();
    let plain = json!({ "band": ["r"], "flux": [plane(1.0, 2, 2)] });
    assert_eq!(
        error("pixel_scale = 0.2\n", plain.clone()),
        "object `a`, column `image.scale`: expected the width of a pixel of `r`, which `pixel_scale` needs"
    );
    let text = "kind = \"image\"\nchannels = [\"q\"]\nsize = 2\nstrict_bands = true\n";
    let unknown = json!({ "band": ["q"], "flux": [plane(1.0, 2, 2)] });
    let said = one(text, unknown.clone()).expect_err("refused").to_string();
    assert_eq!(
        said,
        "object `a`, column `image.band`: the wavelength of band `q` is not known; say it with `bands = { \"q\" = 5000.0 }` \
         (Angstrom), or allow it with `strict_bands = false`"
    );
    one(&text.replace("true", "false"), unknown).expect("allowed");
    // No pixel has information: the object has no image.
    let empty = json!({ "band": ["r"], "flux": [plane(1.0, 2, 2)], "ivar": [[[0.0, 0.0], [0.0, 0.0]]] });
    assert_eq!(one(ONE, empty).expect("fits").present, [false]);
    // One plane of flags may stand for all, one of inverse variances not.
    let two = json!({ "band": ["r", "g"], "flux": [plane(1.0, 2, 2), plane(1.0, 2, 2)], "ivar": [plane(1.0, 2, 2)] });
    assert_eq!(error("", two), "object `a`, column `image.ivar`: expected 2 planes, as `flux` has, got 1");
    let reason = |bad: &str| {
        let section = Section::from_toml("modality.test", &format!("{ONE}{bad}")).expect("TOML");
        crate::ImageConfig::read(&section).expect_err(bad).to_string()
    };
    assert_eq!(
        reason("softening = \"faint\"\n"),
        "invalid `modality.test.softening`: expected a flux, or a list with a flux for each of `channels`"
    );
    for bad in [
        "softening = [1.0, 2.0]\n",
        "softening = [-1.0]\n",
        "pixel_scale = 1.0\nscale = \"\"\n",
        "flux = \"\"\n",
        "channels_from = \"\"\n",
    ] {
        reason(bad);
    }
}

#[test]
fn arcsinh_is_linear_below_the_softening_of_the_channel_and_logarithmic_above() {
    let text = "kind = \"image\"\nchannels = [\"r\", \"g\"]\nsize = 1\nbackground = \"none\"\nsoftening = [2.0, 0.5]\nclip = 1000\n";
    let arrays = one(text, json!({ "band": ["r", "g"], "flux": [[[0.02]], [[500.0]]] })).expect("fits");
    let (_, flux) = arrays.f32("flux").expect("flux");
    // asinh(0.01) and asinh(1000).
    assert!((flux[0] - 0.009_999_833).abs() < 1e-7 && (flux[1] - 7.600_902_7).abs() < 1e-5, "{flux:?}");
}

#[test]
fn default_softening_is_the_noise_of_the_pixels_as_they_are_given() {
    // White noise of deviation 3 on 40 x 40 pixels, brought to 10 x 10: sums of 16 pixels of deviation 12.
    let mut random = panchroma_core::random::stream(3, "test", &[]);
    let mut noise = || 3.0 * rand::Rng::sample::<f64, _>(&mut random, rand_distr::StandardNormal);
    let flux: Vec<Vec<f64>> = (0..40).map(|_| (0..40).map(|_| noise()).collect()).collect();
    let image = json!({ "band": ["r"], "flux": [flux] });
    for (size, resize) in [(40, "crop"), (10, "stretch")] {
        let text = format!(
            "kind = \"image\"\nchannels = [\"r\"]\nsize = {size}\nresize = \"{resize}\"\nscaling = \"linear\"\n"
        );
        let arrays = one(&text, image.clone()).expect("fits");
        let (_, flux) = arrays.f32("flux").expect("flux");
        let deviation = (flux.iter().map(|v| v * v).sum::<f32>() / flux.len() as f32).sqrt();
        assert!((deviation - 1.0).abs() < 0.2, "{resize}: {deviation}");
        let (_, noise) = arrays.f32("noise").expect("noise");
        // Triangles of the old pixels reach beyond the new one, which smooths a little more than sums do.
        let expected = if size == 40 { 3.0 } else { 12.0 };
        assert!((noise[0] / expected - 1.0).abs() < 0.15, "{resize}: {noise:?}");
    }
}

#[test]
fn what_training_adds_is_in_what_tokens_are_told() {
    let flat: Vec<Vec<f64>> =
        (0..60).map(|y| (0..60).map(|x| if (x + y) % 2 == 0 { 1.0 } else { -1.0 }).collect()).collect();
    let ivar: Vec<Vec<f64>> = vec![vec![1.0; 60]; 60];
    let image = image(json!({ "band": ["r"], "flux": [flat], "ivar": [ivar], "psf_fwhm": [3.0], "scale": [0.5] }));
    let text = format!("kind = \"image\"\nchannels = [\"r\"]\nsize = 60\n{RAW}clip = 1000\n");
    let mut noises = Vec::new();
    let modality = build_modality(&format!("{text}noise = 4\n"));
    for epoch in 0..20 {
        let arrays = prepare(modality.as_ref(), &image, Mode::Train, epoch).expect("fits");
        let (_, flux) = arrays.f32("flux").expect("flux");
        // The pattern of ones is no noise to this sum, the rest is.
        let mean_square = flux.iter().map(|v| v * v).sum::<f32>() / 3600.0;
        let told = arrays.f32("noise").expect("noise").1[0];
        // The upper median of the pattern is 1, half of it lies 2 below, which counts as noise of 2 x 1.4826.
        noises.push((mean_square - 1.0, told.powi(2) - 2.9652f32.powi(2)));
    }
    for (found, told) in &noises {
        assert!((found - told).abs() < 0.1 * found.max(1.0), "{found} {told}");
    }
    assert!(noises.iter().any(|(found, _)| *found > 4.0));
}

#[test]
fn a_blur_has_the_width_that_tokens_are_told() {
    let mut flux = vec![vec![0.0; 61]; 61];
    flux[30][30] = 1e4;
    let image = image(json!({ "band": ["r"], "flux": [flux], "psf_fwhm": [3.0], "scale": [0.5] }));
    let text = format!("kind = \"image\"\nchannels = [\"r\"]\nsize = 61\n{RAW}clip = 1e6\nblur = 8\n");
    let modality = build_modality(&text);
    let mut wide = 0;
    for epoch in 0..20 {
        let arrays = prepare(modality.as_ref(), &image, Mode::Train, epoch).expect("fits");
        let told = f64::from(arrays.f32("psf_fwhm").expect("seeing").1[0]);
        let (_, flux) = arrays.f32("flux").expect("flux");
        let moment = |power: i32| -> f64 {
            flux.iter().enumerate().map(|(i, v)| f64::from(*v) * ((i % 61) as f64 - 30.0).powi(power)).sum()
        };
        // A Gaussian is 2 sqrt(2 ln 2) = 2.3548 standard deviations wide; half an arcsecond a pixel; widths add in squares.
        let fwhm = 2.3548 * (moment(2) / moment(0)).sqrt() * 0.5;
        // A narrower one falls between the pixels.
        if fwhm > 1.0 {
            assert!((told / fwhm.hypot(3.0) - 1.0).abs() < 0.005, "{told} {fwhm}");
            wide += 1;
        }
        assert!((3.0..=5.0).contains(&told), "{told}");
    }
    assert!(wide > 10);
}

#[test]
fn images_are_stretched_to_means_over_new_pixels() {
    let text = format!("kind = \"image\"\nchannels = [\"r\"]\nsize = 2\nresize = \"stretch\"\n{RAW}clip = 1000\n");
    let arrays = one(&text, json!({ "band": ["r"], "flux": [plane(0.0, 4, 4)], "scale": [0.3] })).expect("fits");
    // Old pixels at 0, 1 and 2 have 7, 7 and 1 of 15 parts of a new one at the border, whose mean place is 0.6, the other's 2.4. It
    // holds four times the mean flux, 10 y + x.
    let expected = [26.4, 33.6, 98.4, 105.6];
    let (_, flux) = arrays.f32("flux").expect("flux");
    assert!(flux.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-4), "{flux:?}");
    assert!((arrays.f32("scale").expect("scale").1[0] - 0.6).abs() < 1e-6);
}

#[test]
fn planes_of_one_object_may_differ_in_size() {
    let text = format!("kind = \"image\"\nchannels = [\"r\", \"g\"]\nsize = 2\n{RAW}clip = 1000\n");
    let flags = json!([vec![vec![false; 4]; 4], vec![vec![false, true]; 6]]);
    let planes = json!({ "band": ["g", "r"], "flux": [plane(0.0, 4, 4), plane(100.0, 6, 2)], "mask": flags });
    let arrays = one(&text, planes).expect("fits");
    // The middle of 6 x 2 pixels, whose right half is flagged, and that of 4 x 4.
    assert_eq!(arrays.f32("flux").expect("flux").1, [120., 0., 130., 0., 11., 12., 21., 22.]);
    assert_eq!(arrays.valid().expect("u8").1, [1, 0, 1, 0, 1, 1, 1, 1]);
}

#[test]
fn inverse_variances_are_of_the_values_as_standardised() {
    let rows =
        image(json!({ "band": ["r"], "flux": [plane(1.0, 2, 2)], "ivar": [[[0.25, 0.25], [0.25, 0.25]]] })).rows();
    let modality = fitted(&format!("{ONE}{RAW}"), &rows);
    let context = PrepareContext { mode: Mode::Evaluate, seed: 1, epoch: 0, modality: "test" };
    let arrays = modality.prepare(&rows, &context).expect("fits");
    // The values 1, 2, 11 and 12 have the variance (5.5^2 + 4.5^2) / 2 = 25.25.
    assert!(arrays.f32("ivar").expect("ivar").1.iter().all(|v| (v - 0.25 * 25.25).abs() < 1e-5));
}

#[test]
fn weights_are_relative_inverse_variances() {
    let text = format!("kind = \"image\"\nchannels = [\"r\", \"g\"]\nsize = 2\n{RAW}");
    let modality = build_modality(&text);
    let weights = |image: Value| {
        let arrays = prepare(modality.as_ref(), &self::image(image), Mode::Evaluate, 0).expect("fits");
        let tokenizer = build_tokenizer("kind = \"patches\"\npatch = 2\n", &modality.spec());
        let tokens = tokenizer.tokenize(&arrays, &Forward::evaluate()).expect("fits");
        tokens.weights.expect("always").flatten_all().expect("flat").to_vec1::<f32>().expect("f32")
    };
    let ivar = json!([[[1.0, 3.0], [0.0, 1000.0]], [[2.0, 2.0], [2.0, 2.0]]]);
    let planes = json!({ "band": ["r", "g"], "flux": [plane(1.0, 2, 2), plane(1.0, 2, 2)], "ivar": ivar });
    // The median is 3: 1/3, 1 and 10, which 1000 is cut off at; their mean is 34/9.
    let expected = [3.0 / 34.0, 9.0 / 34.0, 0.0, 90.0 / 34.0, 1.0, 1.0, 1.0, 1.0];
    let found = weights(planes);
    assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{found:?}");
    let unknown = json!({ "band": ["r"], "flux": [plane(1.0, 2, 2)], "mask": [[[false, true], [false, false]]] });
    assert_eq!(weights(unknown), [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn reddening_dims_blue_bands_more() {
    let text = format!("kind = \"image\"\nchannels = [\"r\", \"g\"]\nsize = 1\n{RAW}clip = 1000\nredden = 0.5\n");
    let image = image(json!({ "band": ["r", "g"], "flux": [[[10.0]], [[10.0]]] }));
    let mut seen = 0;
    for epoch in 0..20 {
        let arrays = prepare(build_modality(&text).as_ref(), &image, Mode::Train, epoch).expect("fits");
        let (_, flux) = arrays.f32("flux").expect("flux");
        let magnitudes = |v: f32| -2.5 * f64::from(v / 10.0).log10();
        let (r, g) = (magnitudes(flux[0]), magnitudes(flux[1]));
        // A_g / A_r of the law that corrects dust; E(B-V) within 0.5.
        assert!((g / r - 3.303 / 2.276).abs() < 0.02 && g.abs() <= 0.5 * 3.31, "{r} {g}");
        seen += usize::from(g.abs() > 0.5);
    }
    assert!(seen > 5);
}

#[test]
fn a_flagged_pixel_reaches_no_other_by_blur_or_by_other_pixels() {
    let image = |spoilt: f64| {
        let mut flux: Vec<Vec<f64>> = vec![vec![1.0; 12]; 12];
        flux[5][6] = spoilt;
        let flags: Vec<Vec<bool>> = (0..12).map(|y| (0..12).map(|x| (y, x) == (5, 6)).collect()).collect();
        image(json!({ "band": ["r"], "flux": [flux], "mask": [flags], "scale": [1.0] }))
    };
    for more in ["blur = 3\n", "pixel_scale = 0.7\n", "pixel_scale = 1.6\nblur = 2\n", "resize = \"stretch\"\n"] {
        let modality = build_modality(&format!("kind = \"image\"\nchannels = [\"r\"]\nsize = 8\n{RAW}{more}"));
        let [clean, wild] = [1.0, 1e9].map(|v| prepare(modality.as_ref(), &image(v), Mode::Train, 0).expect("fits"));
        assert_eq!(clean.f32("flux").expect("flux"), wild.f32("flux").expect("flux"), "{more}");
        assert_eq!(clean.valid().expect("u8"), wild.valid().expect("u8"), "{more}");
    }
}
