//! Codes of scalars: bins, functions before them, bad input.

use super::*;
use candle_core::Device;

fn book(steps: &[f32]) -> Codebook {
    Codebook::new(steps.to_vec()).unwrap()
}

fn plain(steps: &[f32]) -> ScalarCodec {
    ScalarCodec::new(Compression::None, book(steps)).unwrap()
}

fn arcsinh() -> Compression {
    Compression::Functions { compress: vec![Function::Arcsinh], decompress: vec![Function::Sinh] }
}

#[test]
fn codes_keep_the_shape_and_stand_for_their_steps() {
    let codec = plain(&[0.0, 1.0, 2.0]);
    let values = Tensor::new(&[[-1.0_f32, 0.0, 0.1], [1.0, 1.5, 9.0]], &Device::Cpu).unwrap();
    let codes = codec.encode(&values).unwrap();
    assert_eq!(codes.to_vec2::<u32>().unwrap(), [[0, 0, 1], [1, 2, 2]]);
    assert_eq!(codec.decode(&codes).unwrap().to_vec2::<f32>().unwrap(), [[0.0, 0.0, 1.0], [1.0, 2.0, 2.0]]);
    let wide = codes.to_dtype(DType::I64).unwrap();
    assert_eq!(codec.decode(&wide).unwrap().to_vec2::<f32>().unwrap()[1], [1.0, 2.0, 2.0]);
}

#[test]
fn a_code_out_of_the_vocabulary_is_an_error_that_says_what_there_is() {
    let codec = plain(&[0.0, 1.0]);
    for code in [2_i64, -1, 1 << 40] {
        let codes = Tensor::new(&[0_i64, code], &Device::Cpu).unwrap();
        let error = codec.decode(&codes).unwrap_err().to_string();
        assert!(error.contains("0 to 1") && error.contains(&code.to_string()), "{error}");
    }
    assert!(codec.decode(&Tensor::new(&[0.5_f32], &Device::Cpu).unwrap()).is_err());
    assert!(codec.encode(&Tensor::new(&[0_u32], &Device::Cpu).unwrap()).is_err());
}

#[test]
fn everything_below_the_least_has_the_code_of_the_least() {
    // The logarithm of exp(-3) as another implementation may have rounded it.
    for floor in [-3.0_f32, (-3.0_f32).next_up(), (-3.0_f32).next_down()] {
        let codec = ScalarCodec::new(Compression::log(-3.0), book(&[floor, floor, 0.0, 1.0])).unwrap();
        assert_eq!([-5.0, 0.0, 0.01, 0.5, 1.0, 1.1, 100.0].map(|x| codec.code(x)), [0, 0, 0, 2, 2, 3, 3]);
        assert!((codec.value(3).unwrap() - std::f32::consts::E).abs() < 1e-6);
    }
}

#[test]
fn functions_are_applied_in_order_and_undone_backwards() {
    // compress: log(1 + x²); decompress: sqrt(exp(y) - 1), written from the value on.
    let compression = Compression::Functions {
        compress: vec![Function::Square, Function::Log1p],
        decompress: vec![Function::Sqrt, Function::Expm1],
    };
    let codec = ScalarCodec::new(compression, Codebook::linear(0.0, 5.0, 1001).unwrap()).unwrap();
    let code = codec.code(3.0);
    assert_eq!(code, (10_f32.ln() / 0.005).ceil() as u32);
    assert!((codec.value(code).unwrap() - 3.0).abs() < 0.01);
    let odd = Compression::Functions { compress: vec![Function::Square], decompress: vec![Function::Exp] };
    let error = ScalarCodec::new(odd, book(&[0.0])).unwrap_err().to_string();
    assert!(error.contains("Square") && error.contains("Exp"), "{error}");
}

#[test]
fn fitted_codes_share_out_the_sample_and_stand_for_the_median_of_their_bins() {
    let sample: Vec<f32> = (0..1000).map(|i| (i * 7919 % 1000) as f32).collect();
    let codec = ScalarCodec::fitted(arcsinh(), &sample, 11).unwrap();
    let mut counts = [0; 11];
    sample.iter().for_each(|x| counts[codec.code(*x) as usize] += 1);
    assert_eq!(counts[0], 1);
    assert!(counts[1..].iter().all(|n| (98..=101).contains(n)), "{counts:?}");
    for code in 1..11 {
        let own: Vec<f32> = sample.iter().copied().filter(|x| codec.code(*x) == code).collect();
        let mean = own.iter().sum::<f32>() / own.len() as f32;
        assert!((codec.value(code).unwrap() - mean).abs() < 1.0, "{code}");
    }
    let edges = codec.edges();
    assert_eq!((edges.len(), codec.values().len()), (12, 11));
    assert!(edges.is_sorted() && (edges[11] - 999.0).abs() < 1e-2);
}

#[test]
fn a_grid_has_equal_steps_of_what_its_function_gives() {
    let codec = ScalarCodec::grid(Compression::log(-10.0), (0.01, 100.0), 5).unwrap();
    let edges = codec.edges();
    for (edge, expected) in edges.iter().zip([0.01, 0.01, 0.1, 1.0, 10.0, 100.0]) {
        assert!((edge / expected - 1.0).abs() < 1e-5, "{edges:?}");
    }
    assert!((codec.value(3).unwrap() / 10_f32.sqrt() - 1.0).abs() < 1e-5);
    assert_eq!(codec.value(0), Some(edges[0]));
}

#[test]
fn columns_have_codebooks_of_their_own() {
    let codec = MultiScalarCodec::new(vec![plain(&[0.0, 1.0]), plain(&[10.0, 20.0])]).unwrap();
    let values = Tensor::new(&[[0.5_f32, 0.5], [-1.0, 15.0]], &Device::Cpu).unwrap();
    let codes = codec.encode(&values).unwrap();
    assert_eq!(codes.to_vec2::<u32>().unwrap(), [[1, 0], [0, 1]]);
    assert_eq!(codec.decode(&codes).unwrap().to_vec2::<f32>().unwrap(), [[1.0, 10.0], [0.0, 20.0]]);
    let error = codec.encode(&Tensor::new(&[[0.5_f32]], &Device::Cpu).unwrap()).unwrap_err().to_string();
    assert!(error.contains("[B, 2]") && error.contains("[1, 1]"), "{error}");
    assert!(MultiScalarCodec::new(Vec::new()).is_err());
    assert!(MultiScalarCodec::new(vec![plain(&[0.0]), plain(&[0.0, 1.0])]).is_err());
}

#[test]
fn functions_have_the_names_of_pytorch() {
    let of = |name: &str| serde_json::from_value::<Function>(serde_json::Value::from(name));
    for (name, at, expected) in [
        ("arcsinh", 2.0, 1.443_635_5),
        ("asinh", 2.0, 1.443_635_5),
        ("sinh", 1.0, 1.175_201_2),
        ("log1p", 2.0, 1.098_612_3),
        ("deg2rad", 180.0, std::f32::consts::PI),
        ("logit", 0.5, 0.0),
        ("erf", 1.0, 0.842_700_8),
        ("erfinv", 0.842_700_8, 1.0),
        ("reciprocal", 4.0, 0.25),
        ("exp2", 3.0, 8.0),
        ("arctanh", 0.5, 0.549_306_1),
    ] {
        let got = of(name).unwrap().apply(at);
        assert!((got - expected).abs() <= 2e-6 * (1.0 + expected.abs()), "{name}: {got}");
    }
    assert!(of("softplus").is_err());
}

fn sources() -> SourcesCodec {
    let fields = [("X", SourceField::Whole { size: 4 }), ("R", SourceField::Scalar(plain(&[0.0, 1.0, 2.0])))];
    SourcesCodec::new(fields.map(|(name, field)| (name.to_owned(), field)).into(), 99).unwrap()
}

#[test]
fn sources_are_one_sequence_of_codes_that_say_their_field() {
    let codec = sources();
    assert_eq!((codec.vocabulary(), codec.offsets()), (7, vec![0, 4]));
    let x = Tensor::new(&[[3_i64, 0, 99], [99, 99, 99]], &Device::Cpu).unwrap();
    let r = Tensor::new(&[[0.5_f32, 7.0, 99.0], [99.0, 99.0, 99.0]], &Device::Cpu).unwrap();
    let codes = codec.encode(&[x, r]).unwrap();
    assert_eq!(codes.to_vec2::<u32>().unwrap(), [[3, 5, 0, 6, 99, 99], [99; 6]]);
    let back = codec.decode(&codes).unwrap();
    assert_eq!(back[0].to_vec2::<i64>().unwrap(), [[3, 0, -1], [-1; 3]]);
    assert_eq!(back[1].to_vec2::<f32>().unwrap(), [[1.0, 2.0, -1.0], [-1.0; 3]]);
    // A code of another field is none of this.
    let swapped = Tensor::new(&[[5_u32, 3]], &Device::Cpu).unwrap();
    let back = codec.decode(&swapped).unwrap();
    assert_eq!(
        (back[0].to_vec2::<i64>().unwrap(), back[1].to_vec2::<f32>().unwrap()),
        (vec![vec![-1]], vec![vec![-1.0]])
    );
}

#[test]
fn sources_that_make_no_sense_are_named() {
    let codec = sources();
    let said = |x: &[f32], r: &[f32]| {
        let row = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        codec.encode(&[row(x), row(r)]).map(|_| ()).unwrap_err().to_string()
    };
    let error = said(&[0.0, 4.0], &[0.0, 0.0]);
    assert!(
        error.contains("`X` of source 1 of object 0") && error.contains("0 to 3") && error.contains('4'),
        "{error}"
    );
    assert!(said(&[0.5], &[0.0]).contains("0.5"));
    assert!(said(&[99.0], &[0.0]).contains("`R` of source 0"));
    assert!(said(&[1.0, 2.0], &[0.0]).contains("[1, 2]"));
    assert!(SourcesCodec::new(vec![("X".into(), SourceField::Whole { size: 4 })], 3).is_err());
    assert!(codec.decode(&Tensor::new(&[[1_u32, 2, 3]], &Device::Cpu).unwrap()).is_err());
}
