//! Encoders, unknown values, dropping, and what a checkpoint keeps.

use super::*;
use crate::{TokenKind, TokenValues};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use candle_core::DType;
use std::sync::Arc;

fn rows(surveys: &[Option<&str>], seeing: &[Option<f64>]) -> Rows {
    let ids = (0..surveys.len()).map(|i| format!("object {i}")).collect();
    let place = vec![Some(90.0); surveys.len()];
    let columns = RecordBatch::try_from_iter([
        ("survey", Arc::new(StringArray::from(surveys.to_vec())) as ArrayRef),
        ("seeing", Arc::new(Float64Array::from(seeing.to_vec()))),
        ("ra", Arc::new(Float64Array::from(place))),
        ("dec", Arc::new(Float64Array::from(vec![Some(0.0); surveys.len()]))),
    ])
    .expect("columns of one length");
    Rows::new(ids, columns).expect("as many names as rows")
}

const TABLE: &str = "metadata_dropout = 0.5
[metadata.survey]
encoder = \"categorical\"
categories = 2
[metadata.seeing]
encoder = \"log\"
smallest = 0.5
largest = 5.0
[metadata.place]
encoder = \"sphere\"
";

fn metadata(text: &str) -> Result<Metadata> {
    Metadata::read("image", &Section::from_toml("modality.image", text)?)
}

fn spec() -> TokenSpec {
    let encoding = Encoding::Fourier { shortest: 1.0, longest: 10.0, frequencies: 2 };
    let own = Coordinate { name: "x".into(), unit: "pixel".into(), encoding, metadata: false };
    TokenSpec { kind: TokenKind::Patches { width: 1 }, max_tokens: 2, coordinates: vec![own] }
}

/// `[B][T][C]`.
fn added(metadata: &Metadata, rows: &Rows, mode: Mode, epoch: u64) -> Vec<Vec<Vec<f32>>> {
    let b = rows.len();
    let tokens = Tokens {
        values: TokenValues::Patches(Tensor::zeros((b, 2, 1), DType::F32, &Device::Cpu).expect("zeros")),
        valid: Tensor::ones((b, 2), DType::U8, &Device::Cpu).expect("ones"),
        coordinates: Tensor::full(7f32, (b, 2, 1), &Device::Cpu).expect("full"),
        weights: None,
        present: vec![true; b],
    };
    let context = PrepareContext { mode, seed: 1, epoch, modality: "image" };
    let spec = metadata.extend(&spec());
    let tokens = metadata.add(tokens, rows, &spec, &context).expect("adds");
    tokens.check("image", &spec).expect("fits its spec");
    tokens.coordinates.to_vec3().expect("f32")
}

#[test]
fn every_token_of_an_object_gets_what_is_known_of_it() {
    let mut metadata = metadata(TABLE).expect("a table");
    let rows =
        rows(&[Some("des"), Some("sdss"), Some("des"), Some("ztf")], &[Some(1.0), None, Some(f64::NAN), Some(2.0)]);
    metadata.fit(&mut std::iter::once(Ok(rows.clone()))).expect("fits");
    let found = added(&metadata, &rows, Mode::Evaluate, 0);
    for object in &found {
        assert_eq!(format!("{:?}", object[0]), format!("{:?}", object[1]), "both tokens alike");
    }
    // The most frequent first, then by name; the third of two categories is unknown.
    let survey: Vec<f32> = found.iter().map(|o| o[0][1]).collect();
    assert_eq!(survey[..3], [0.0, 1.0, 0.0]);
    assert!(survey[3].is_nan());
    let seeing: Vec<f32> = found.iter().map(|o| o[0][2]).collect();
    assert!(seeing[0] == 1.0 && seeing[1].is_nan() && seeing[2].is_nan() && seeing[3] == 2.0);
    assert!(found[0][0][3].abs() < 1e-6 && (found[0][0][4] - 1.0).abs() < 1e-6 && found[0][0][5].abs() < 1e-6);
    assert_eq!(found[0][0][0], 7.0, "the tokenizer's own stays");
    // A survey that training never saw, and none.
    let others = self::rows(&[Some("euclid"), None], &[None, None]);
    assert!(added(&metadata, &others, Mode::Evaluate, 0).iter().all(|o| o[0][1].is_nan()));
}

#[test]
fn training_drops_some_of_it_the_same_way_every_time_and_use_drops_none() {
    let mut metadata = metadata(TABLE).expect("a table");
    let rows = rows(&[Some("des"); 200], &[Some(1.0); 200]);
    metadata.fit(&mut std::iter::once(Ok(rows.clone()))).expect("fits");
    let found = added(&metadata, &rows, Mode::Train, 3);
    let dropped = |c: usize| found.iter().filter(|o| o[0][c].is_nan()).count();
    for c in [1, 2, 3] {
        assert!((60..140).contains(&dropped(c)), "{} of 200", dropped(c));
    }
    assert_eq!(dropped(0), 0, "where a token stands is never dropped");
    assert!(found.iter().all(|o| o[0][3].is_nan() == o[0][5].is_nan()), "a place is known as a whole");
    assert!(found.iter().any(|o| o[0][1].is_nan() != o[0][2].is_nan()), "each for itself");
    assert_eq!(format!("{found:?}"), format!("{:?}", added(&metadata, &rows, Mode::Train, 3)));
    assert_ne!(format!("{found:?}"), format!("{:?}", added(&metadata, &rows, Mode::Train, 4)));
    assert!(added(&metadata, &rows, Mode::Evaluate, 3).iter().flatten().flatten().all(|v| !v.is_nan()));
}

#[test]
fn categories_are_kept_in_the_checkpoint() {
    let mut fitted = metadata(TABLE).expect("a table");
    let rows = rows(&[Some("des"), Some("sdss")], &[None, None]);
    fitted.fit(&mut std::iter::once(Ok(rows.clone()))).expect("fits");
    let mut restored = metadata(TABLE).expect("a table");
    restored.restore(&fitted.fitted()).expect("restores");
    let same = |m: &Metadata| format!("{:?}", added(m, &rows, Mode::Evaluate, 0));
    assert_eq!(same(&fitted), same(&restored));
    assert!(restored.restore(&Value::Null).is_err());
    let none = self::rows(&[None, None], &[None, None]);
    let error = fitted.fit(&mut std::iter::once(Ok(none))).expect_err("nothing to learn from");
    assert!(error.to_string().contains("column `survey` of [modality.image] has no value"), "{error}");
}

#[test]
fn a_table_that_makes_no_sense_is_refused_at_its_key() {
    for (text, said) in [
        ("[metadata.seeing]\nencoder = \"log\"\nsmallest = 0.5\n", "positive number for the encoder of `seeing`"),
        ("[metadata.seeing]\nencoder = \"fourier\"\nshortest = 5.0\nlongest = 1.0\n", "must be above `shortest`"),
        ("[metadata.survey]\nencoder = \"categorical\"\ncategories = 0\n", "expected 1 to 4096"),
        ("[metadata.survey]\nencoder = \"one_hot\"\n", "one_hot"),
        ("metadata_dropout = 1.0\n", "expected 0 up to below 1"),
    ] {
        let error = metadata(text).expect_err(text).to_string();
        assert!(error.contains(said), "{error}");
    }
}

fn numbers(column: &str, values: &[Option<f64>]) -> Rows {
    let ids = (0..values.len()).map(|i| format!("object {i}")).collect();
    let array = Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
    Rows::new(ids, RecordBatch::try_from_iter([(column, array)]).expect("a column")).expect("as many names as rows")
}

#[test]
fn times_far_from_zero_keep_their_differences() {
    let text = "[metadata.jd]\nencoder = \"fourier\"\nshortest = 1\nlongest = 1000\n";
    let mut metadata = metadata(text).expect("a table");
    let rows = numbers("jd", &[Some(2_459_000.3), Some(2_459_000.4), Some(2_459_500.0), None]);
    metadata.fit(&mut std::iter::once(Ok(rows.clone()))).expect("fits");
    let found: Vec<f32> = added(&metadata, &rows, Mode::Evaluate, 0).iter().map(|o| o[0][1]).collect();
    assert!((found[1] - found[0] - 0.1).abs() < 1e-4, "{found:?}");
    assert!((found[2] - found[0] - 499.7).abs() < 1e-3 && found[3].is_nan(), "{found:?}");
    // The median, which a checkpoint keeps.
    let kept = metadata.fitted();
    assert_eq!(kept, json!({ "jd": 2_459_000.4 }));
    let mut other = self::metadata(text).expect("a table");
    other.restore(&kept).expect("restores");
    assert_eq!(
        format!("{:?}", added(&other, &rows, Mode::Evaluate, 0)),
        format!("{:?}", added(&metadata, &rows, Mode::Evaluate, 0))
    );
    // Of before: nothing was taken off.
    other.restore(&Value::Null).expect("restores");
    assert_eq!(added(&other, &rows, Mode::Evaluate, 0)[2][0][1], 2_459_500.0);
}

#[test]
fn a_date_of_nonsense_does_not_make_the_others_coarse() {
    let text = "[metadata.jd]\nencoder = \"fourier\"\nshortest = 1\nlongest = 1000\n";
    // A step of single precision at 2,459,000 is 0.25, and at half of it 0.125; 1e300 has no room for any date beside it.
    for nonsense in [-999.0, 0.0, 1e300] {
        let mut metadata = metadata(text).expect("a table");
        let rows = numbers("jd", &[Some(2_459_000.3), Some(nonsense), Some(2_459_000.4), Some(2_459_500.0)]);
        metadata.fit(&mut std::iter::once(Ok(rows.clone()))).expect("fits");
        let found: Vec<f32> = added(&metadata, &rows, Mode::Evaluate, 0).iter().map(|o| o[0][1]).collect();
        assert!((found[2] - found[0] - 0.1).abs() < 1e-4, "{nonsense}: {found:?}");
    }
}

#[test]
fn a_few_thousand_numbers_say_where_they_lie() {
    let text = "[metadata.jd]\nencoder = \"fourier\"\nshortest = 1\nlongest = 1000\n";
    let mut metadata = metadata(text).expect("a table");
    let chunk = numbers("jd", &[Some(2_459_000.3); 1024]);
    let mut read = 0;
    metadata.fit(&mut std::iter::repeat_with(|| Ok(chunk.clone())).take(100).inspect(|_| read += 1)).expect("fits");
    // Four times 1024 are 4096.
    assert_eq!((read, metadata.fitted()), (4, json!({ "jd": 2_459_000.3 })));
}

#[test]
fn classes_may_be_whole_numbers_and_blanks_are_none() {
    let mut metadata = metadata("[metadata.survey]\nencoder = \"categorical\"\n").expect("a table");
    let codes =
        RecordBatch::try_from_iter([("survey", Arc::new(arrow_array::Int64Array::from(vec![7, 3, 7])) as ArrayRef)]);
    let codes = Rows::new(vec!["a".into(), "b".into(), "c".into()], codes.expect("a column")).expect("rows");
    metadata.fit(&mut std::iter::once(Ok(codes.clone()))).expect("fits");
    assert_eq!(metadata.fitted(), json!({ "survey": ["7", "3"] }));
    assert_eq!(added(&metadata, &codes, Mode::Evaluate, 0)[1][0][1], 1.0);
    let texts = rows(&[Some(" des "), Some(""), Some("  "), Some("des")], &[None; 4]);
    metadata.fit(&mut std::iter::once(Ok(texts.clone()))).expect("fits");
    assert_eq!(metadata.fitted(), json!({ "survey": ["des"] }));
    let found: Vec<f32> = added(&metadata, &texts, Mode::Evaluate, 0).iter().map(|o| o[0][1]).collect();
    assert!(found[0] == 0.0 && found[1].is_nan() && found[2].is_nan() && found[3] == 0.0, "{found:?}");
}

#[test]
fn what_is_no_place_is_unknown() {
    let metadata = metadata("[metadata.place]\nencoder = \"sphere\"\n").expect("a table");
    let column = |values: [f64; 5]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
    let columns =
        [("ra", column([10.0, -999.0, 10.0, f64::NAN, 360.0])), ("dec", column([5.0, -999.0, -999.0, 5.0, 90.0]))];
    let ids = (0..5).map(|i| i.to_string()).collect();
    let rows = Rows::new(ids, RecordBatch::try_from_iter(columns).expect("columns")).expect("rows");
    let known: Vec<bool> =
        added(&metadata, &rows, Mode::Evaluate, 0).iter().map(|o| o[0][1..].iter().all(|v| v.is_finite())).collect();
    assert_eq!(known, [true, false, false, false, true]);
}

#[test]
fn what_the_tokenizer_tells_of_the_measurement_is_hidden_too() {
    let metadata = metadata("metadata_dropout = 0.5\n").expect("a table");
    let rows = rows(&[Some("des"); 200], &[None; 200]);
    // As the error of a table's column.
    let encoding = Encoding::Log { smallest: 1e-3, largest: 1e2, frequencies: 6 };
    let mut spec = spec();
    spec.coordinates.push(Coordinate { name: "error".into(), unit: "".into(), encoding, metadata: true });
    let tokens = || Tokens {
        values: TokenValues::Patches(Tensor::zeros((200, 2, 1), DType::F32, &Device::Cpu).expect("zeros")),
        valid: Tensor::ones((200, 2), DType::U8, &Device::Cpu).expect("ones"),
        coordinates: Tensor::full(7f32, (200, 2, 2), &Device::Cpu).expect("full"),
        weights: None,
        present: vec![true; 200],
    };
    for (mode, hidden) in [(Mode::Train, 60..140), (Mode::Evaluate, 0..1)] {
        let context = PrepareContext { mode, seed: 1, epoch: 0, modality: "table" };
        let found = metadata.add(tokens(), &rows, &spec, &context).expect("adds");
        let found = found.coordinates.to_vec3::<f32>().expect("f32");
        assert!(found.iter().all(|object| object.iter().all(|token| token[0] == 7.0)), "where a token stands");
        assert!(hidden.contains(&found.iter().filter(|object| object[0][1].is_nan()).count()), "{mode:?}");
    }
}

#[test]
fn a_restored_model_reads_unknown_surveys_and_missing_values_as_nothing() {
    let text = "[metadata.survey]\nencoder = \"categorical\"\n[metadata.jd]\ncolumn = \"seeing\"\nencoder = \"fourier\"\n\
                shortest = 1\nlongest = 1000\n[metadata.place]\nencoder = \"sphere\"\n";
    let mut trained = metadata(text).expect("a table");
    let seen = rows(&[Some("des"), Some("sdss")], &[Some(2_459_000.0), Some(2_459_100.0)]);
    trained.fit(&mut std::iter::once(Ok(seen.clone()))).expect("fits");
    let kept = serde_json::from_str(&trained.fitted().to_string()).expect("JSON");
    let mut restored = metadata(text).expect("a table");
    restored.restore(&kept).expect("restores");

    let plain = metadata("").expect("no metadata");
    // One embedding for both: the parameters of a name and seed are the same.
    let embedded = |metadata: &Metadata, rows: &Rows| {
        let spec = metadata.extend(&spec());
        let parameters = crate::Parameters::new(1, &Device::Cpu);
        let embed = crate::embed::Embed::new("image", &spec, 8, &parameters).expect("parameters");
        let tokens = Tokens {
            values: TokenValues::Patches(Tensor::ones((rows.len(), 1, 1), DType::F32, &Device::Cpu).expect("ones")),
            valid: Tensor::ones((rows.len(), 1), DType::U8, &Device::Cpu).expect("ones"),
            coordinates: Tensor::zeros((rows.len(), 1, 1), DType::F32, &Device::Cpu).expect("zeros"),
            weights: None,
            present: vec![true; rows.len()],
        };
        let context = PrepareContext { mode: Mode::Evaluate, seed: 1, epoch: 0, modality: "image" };
        let tokens = metadata.add(tokens, rows, &spec, &context).expect("adds");
        let segment = embed.forward(&tokens, &Device::Cpu).expect("embeds").expect("present");
        segment.embedded.squeeze(1).expect("one token").to_vec2::<f32>().expect("f32")
    };
    assert_eq!(embedded(&restored, &seen), embedded(&trained, &seen));
    assert_ne!(embedded(&restored, &seen)[0], embedded(&plain, &seen)[0]);
    let place = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
    let new = RecordBatch::try_from_iter([
        ("survey", Arc::new(StringArray::from(vec![Some("euclid"), None])) as ArrayRef),
        ("seeing", place(vec![None, Some(f64::NAN)])),
        ("ra", place(vec![Some(f64::NAN), None])),
        ("dec", place(vec![Some(5.0), Some(5.0)])),
    ]);
    let new = Rows::new(vec!["a".into(), "b".into()], new.expect("columns")).expect("as many names as rows");
    assert_eq!(embedded(&restored, &new), embedded(&plain, &new));
}

#[test]
fn tokens_told_apart_by_number_have_no_other_coordinates_of_their_own() -> Result<()> {
    let metadata = metadata(&format!("positions = \"index\"\n{TABLE}"))?;
    let names: Vec<String> = metadata.extend(&spec()).coordinates.iter().map(|c| c.name.to_string()).collect();
    assert_eq!(names[0], "index");
    assert_eq!(names.len(), 6);
    let found = added(&metadata, &rows(&[Some("a"), None], &[Some(1.0); 2]), Mode::Evaluate, 0);
    for object in found {
        assert_eq!([object[0][0], object[1][0]], [0.0, 1.0]);
        assert_eq!(object[0][2], 1.0);
    }
    Ok(())
}
