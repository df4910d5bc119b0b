//! What a codec of series does beyond what the conformance suite checks.

use crate::axes::UNKNOWN;
use panchroma_core::ops::Gradients;
use panchroma_core::train::{AdamW, Group};
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Forward, Mode, Parameters, Registry, Section, TokenValues, Tokenizer,
    TokenizerContext, ValueType, Values,
};
use rand::Rng;
use std::collections::BTreeMap;

const F: usize = 7;

fn spec() -> ArraysSpec {
    let field = |name, axes| ArrayField { name, axes, unit: String::new(), values: ValueType::F32 };
    let fields = vec![
        field("time", &["L"][..]),
        field("values", &["L", "F"]),
        field("weight", &["L", "F"]),
        field("error", &["L"]),
        field("wavelength", &["L"]),
    ];
    ArraysSpec { fields, valid_axes: &["L"], sizes: vec![("L", 32), ("F", F)], labels: Vec::new() }
}

/// Sines of any phase in two bands, which differ by an offset, at irregular times.
fn sines(objects: usize, seed: u64) -> Arrays {
    let mut random = panchroma_core::random::stream(seed, "test", &[]);
    let l = 24;
    let (mut time, mut values, mut wavelength) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..objects {
        let phase: f32 = random.random::<f32>() * std::f32::consts::TAU;
        let mut own: Vec<f32> = (0..l).map(|_| 100.0 * random.random::<f32>()).collect();
        own.sort_by(f32::total_cmp);
        for t in own {
            let red = random.random::<bool>();
            let value = (std::f32::consts::TAU * t / 80.0 + phase).sin() + if red { 0.5 } else { -0.5 };
            time.push(t);
            wavelength.push(if red { 8.9 } else { 8.5 });
            values.extend([value, value, 0.0, 0.0, 0.0, 1.0, 1.0]);
        }
    }
    let places = objects * l;
    let fields = BTreeMap::from([
        ("time".to_owned(), Array::f32(&[objects, l], time).unwrap()),
        ("values".to_owned(), Array::f32(&[objects, l, F], values).unwrap()),
        ("weight".to_owned(), Array::f32(&[objects, l, F], vec![1.0; places * F]).unwrap()),
        ("error".to_owned(), Array::f32(&[objects, l], vec![0.05; places]).unwrap()),
        ("wavelength".to_owned(), Array::f32(&[objects, l], wavelength).unwrap()),
    ]);
    let valid = Array::new(&[objects, l], Values::U8(vec![1; places])).unwrap();
    Arrays { present: vec![true; objects], valid, fields }
}

fn build(toml: &str, parameters: &Parameters) -> panchroma_core::Result<Box<dyn Tokenizer>> {
    let section = Section::from_toml("modality.lc.tokenizer", &format!("kind = \"curve_codec\"\n{toml}")).unwrap();
    let spec = spec();
    let context = TokenizerContext { modality: "lc", arrays: &spec, parameters };
    Registry::linked().unwrap().tokenizers.build(&section, &context)
}

fn ratio(output: &panchroma_core::HeadOutput, name: &str) -> f64 {
    let sums = output.predictions[&format!("sums.{name}")].to_vec2::<f32>().unwrap();
    let total = |which: usize| sums.iter().map(|own| f64::from(own[which])).sum::<f64>();
    total(0) / total(1)
}

#[test]
fn it_learns_what_lies_between_observations_of_series_that_it_never_saw() {
    let parameters = Parameters::new(3, &candle_core::Device::Cpu);
    let small = "codes = 6\nwidth = 32\nheads = 2\ndepth = 2\ndecoder_depth = 1\nlongest_days = 400.0\nshortest_days = 20.0\n\
                 frequencies = 8\nwavelength_frequencies = 2";
    let mut codec = build(small, &parameters).unwrap();
    codec.fit(&mut std::iter::once(Ok(sines(64, 1)))).unwrap();
    let all = parameters.all();
    let groups = vec![Group { prefix: String::new(), learning_rate: 1.0, weight_decay: 0.0 }];
    let mut optimizer = AdamW::new(all.clone(), groups, [0.9, 0.99], 1e-8);
    let mut gradients = Gradients::new(&all).unwrap();
    for step in 0..400 {
        let context = Forward { mode: Mode::Train, seed: 1, step };
        let loss = codec.learn(&sines(64, 100 + step), &context).unwrap().loss.unwrap();
        gradients.clear();
        gradients.backward(&loss).unwrap();
        let rate = 3e-3 * (1.0 - step as f64 / 400.0);
        optimizer.step(&gradients, rate, Some(1.0)).unwrap();
    }
    let unseen = sines(64, 2);
    let output = codec.learn(&unseen, &Forward::evaluate()).unwrap();
    let of = |name: &str| ratio(&output, name);
    let found = [of("error"), of("error.constant"), of("held_back.error"), of("held_back.error.linear")];
    assert!(found[0] < 0.1 * found[1], "reconstruction {found:?}");
    assert!(found[2] < 0.5 * found[3], "between observations {found:?}");
    // Asked at one time of one band, an answer is the one that it is among many.
    let tokens = codec.tokenize(&unseen, &Forward::evaluate()).unwrap();
    let many = codec.reconstruct(&tokens, Some(&unseen), &Forward::evaluate()).unwrap().unwrap();
    let first = |name: &str, width: usize| {
        let (shape, values) = unseen.f32(name).unwrap();
        let row = shape[1..].iter().product::<usize>();
        let own = values.chunks(row).flat_map(|row| row[..width].to_vec()).collect();
        let shape = if width == 1 { vec![64, 1] } else { vec![64, 1, width] };
        (name.to_owned(), Array::f32(&shape, own).unwrap())
    };
    let fields = BTreeMap::from([
        first("time", 1),
        first("wavelength", 1),
        first("error", 1),
        first("values", F),
        first("weight", F),
    ]);
    let valid = Array::new(&[64, 1], Values::U8(vec![1; 64])).unwrap();
    let few = Arrays { present: vec![true; 64], valid, fields };
    let few = codec.reconstruct(&tokens, Some(&few), &Forward::evaluate()).unwrap().unwrap();
    let (many, few) = (many.f32("values").unwrap().1, few.f32("values").unwrap().1);
    assert!((0..64).all(|object| (many[object * 24 * F] - few[object * F]).abs() < 1e-4));
}

#[test]
fn a_grid_is_told_in_all_bands() {
    let mut codec = build("", &Parameters::new(3, &candle_core::Device::Cpu)).unwrap();
    let arrays = sines(4, 1);
    let tokens = codec.tokenize(&arrays, &Forward::evaluate()).unwrap();
    let error = codec.reconstruct(&tokens, None, &Forward::evaluate()).unwrap_err().to_string();
    assert!(error.contains("before its grid was fitted"), "{error}");
    codec.fit(&mut std::iter::once(Ok(arrays))).unwrap();
    let back = codec.reconstruct(&tokens, None, &Forward::evaluate()).unwrap().unwrap();
    back.check("lc", &spec()).unwrap();
    // 32 places are 16 times in two bands.
    let (shape, wavelength) = back.f32("wavelength").unwrap();
    assert_eq!((shape, &wavelength[..3]), (&[4, 32][..], &[8.5f32, 8.9, 8.5][..]));
    assert!(wavelength.iter().all(|w| *w > UNKNOWN));
}

#[test]
fn codes_are_those_of_the_levels_and_wrong_ones_are_refused() {
    let mut codec = build("codes = 3\nlevels = [3, 2]", &Parameters::new(3, &candle_core::Device::Cpu)).unwrap();
    let arrays = sines(4, 1);
    codec.fit(&mut std::iter::once(Ok(arrays.clone()))).unwrap();
    let tokens = codec.tokenize(&arrays, &Forward::evaluate()).unwrap();
    let TokenValues::Codes(codes) = &tokens.values else { panic!("codes") };
    assert!(codes.to_vec2::<u32>().unwrap().concat().iter().all(|code| *code < 6));
    let wrong = candle_core::Tensor::full(6u32, codes.shape(), codes.device()).unwrap();
    let wrong = panchroma_core::Tokens { values: TokenValues::Codes(wrong), ..tokens.clone() };
    let error = codec.reconstruct(&wrong, Some(&arrays), &Forward::evaluate()).unwrap_err().to_string();
    assert!(error.contains("below 6"), "{error}");
    let error = codec.reconstruct(&tokens, Some(&sines(3, 1)), &Forward::evaluate()).unwrap_err().to_string();
    assert!(error.contains("`like`") && error.contains('4'), "{error}");
}

#[test]
fn values_out_of_range_are_rejected_at_their_key() {
    for (toml, part) in [
        ("codes = 0", "1 to 1024"),
        ("levels = []", "at least 2"),
        ("levels = [8, 1]", "at least 2"),
        ("levels = [4096, 4096, 4096]", "at most"),
        ("width = 30", "multiple of `heads`"),
        ("hold_back = 1.0", "0 to 0.9"),
        ("floor = 0.0", "above 0"),
        ("shortest_days = 0.0", "above 0"),
    ] {
        let error = build(toml, &Parameters::new(0, &candle_core::Device::Cpu)).err().unwrap();
        assert!(error.to_string().contains(part), "{toml}: {error}");
        assert_eq!(error.place().map(panchroma_core::config::Place::line), Some(2), "{toml}");
    }
}
