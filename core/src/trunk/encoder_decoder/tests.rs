//! Predictions of the encoder-decoder: what hidden tokens may and may not change.

use super::*;
use crate::ops::Gradients;
use crate::{Parameters, TokenSpec};

const WIDTH: usize = 8;

fn trunk(toml: &str) -> Result<(EncoderDecoder, Parameters)> {
    let parameters = Parameters::new(5, &Device::Cpu);
    let modalities: Vec<(String, TokenSpec)> =
        ["a", "b"].iter().map(|m| ((*m).to_owned(), TokenSpec::codes(7, 4))).collect();
    let context = TrunkContext { modalities: &modalities, parameters: &parameters };
    let head =
        format!("kind = \"encoder_decoder\"\nwidth = {WIDTH}\nheads = 2\nencoder_depth = 2\ndecoder_depth = 2\n{toml}");
    Ok((EncoderDecoder::new(&Section::from_toml("trunk", &head)?, &context)?, parameters))
}

fn values(rows: usize, tokens: usize, phase: f32) -> Result<Tensor> {
    let values: Vec<f32> = (0..rows * tokens * WIDTH).map(|i| (phase + i as f32 * 0.7).sin()).collect();
    Ok(Tensor::from_vec(values, (rows, tokens, WIDTH), &Device::Cpu)?)
}

fn segment(modality: &str, rows: &[u32], valid: &[&[u8]], phase: f32) -> Result<Segment> {
    let (n, t) = (rows.len(), valid[0].len());
    Ok(Segment {
        modality: modality.into(),
        rows: rows.to_vec(),
        embedded: values(n, t, phase)?,
        place: Some(values(n, t, phase + 3.0)?),
        valid: Tensor::from_vec(valid.concat(), (n, t), &Device::Cpu)?,
    })
}

/// Three objects: 0 has both, 1 has `a`, 2 has `b`.
fn tokens() -> Result<TokenSet> {
    let a = segment("a", &[0, 1], &[&[1, 1, 1, 0], &[1, 1, 1, 1]], 0.0)?;
    let b = segment("b", &[0, 2], &[&[1, 1], &[1, 1]], 40.0)?;
    Ok(TokenSet { batch: 3, segments: vec![a, b] })
}

/// `i` is given, `t` asked for.
fn masks(a: &[&str; 3], b: &[&str; 3]) -> Masks {
    let of = |rows: &[&str; 3]| {
        let text = rows.concat();
        let is = |letter: char| text.chars().map(|c| c == letter).collect();
        TokenMask { tokens: rows[0].len(), input: is('i'), target: is('t') }
    };
    Masks { modality: BTreeMap::from([("a".into(), of(a)), ("b".into(), of(b))]), uniform: false }
}

fn some() -> Masks {
    masks(&["iti.", "itti", "...."], &["ti", "..", "it"])
}

fn vectors(features: &Features) -> BTreeMap<(String, (u32, u32)), Vec<f32>> {
    let mut all = BTreeMap::new();
    for targets in &features.targets {
        let rows = targets.vectors.to_vec2::<f32>().expect("rows");
        all.extend(targets.places.iter().map(|place| (targets.modality.clone(), *place)).zip(rows));
    }
    all
}

const SWITCHES: [&str; 6] = [
    "",
    "registers = 3\nqk_norm = true",
    "gated = false\nactivation = \"gelu\"\nqkv_bias = true\nprojection_bias = true\nmlp_bias = true\nnorm_bias = true",
    "decoder_separate = true",
    "decoder_causal = true",
    "share_modality_embeddings = false\npool = \"attentive\"",
];

fn close(a: &[f32], b: &[f32], what: &str) {
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 1e-5, "{what}: {a} {b}");
    }
}

#[test]
fn an_object_alone_gives_what_it_gives_in_a_batch() -> Result<()> {
    for switches in SWITCHES {
        let (trunk, _) = trunk(switches)?;
        let all = vectors(&trunk.predict(&tokens()?, &some(), &Forward::evaluate())?);
        assert_eq!(all.len(), 5);
        // Object 0 alone: the same segments with one row.
        let first = |s: &Segment| -> Result<Segment> {
            let own = |x: &Tensor| x.narrow(0, 0, 1);
            Ok(Segment {
                rows: vec![0],
                embedded: own(&s.embedded)?,
                place: s.place.as_ref().map(own).transpose()?,
                valid: own(&s.valid)?,
                ..s.clone()
            })
        };
        let alone = TokenSet { batch: 1, segments: tokens()?.segments.iter().map(first).collect::<Result<_>>()? };
        let mut own = some();
        for mask in own.modality.values_mut() {
            mask.input.truncate(mask.tokens);
            mask.target.truncate(mask.tokens);
        }
        let alone = vectors(&trunk.predict(&alone, &own, &Forward::evaluate())?);
        assert_eq!(alone.len(), 2);
        for (place, vector) in &alone {
            close(vector, &all[place], switches);
        }
    }
    Ok(())
}

#[test]
fn hidden_tokens_influence_nothing_but_their_places_do() -> Result<()> {
    for switches in SWITCHES {
        let (trunk, _) = trunk(switches)?;
        let before = vectors(&trunk.predict(&tokens()?, &some(), &Forward::evaluate())?);
        // What token 1 of object 0 says; it is asked for.
        let mut other = tokens()?;
        let mut says = other.segments[0].embedded.to_vec3::<f32>()?;
        says[0][1] = vec![9.0; WIDTH];
        other.segments[0].embedded = Tensor::new(says, &Device::Cpu)?;
        assert_eq!(before, vectors(&trunk.predict(&other, &some(), &Forward::evaluate())?), "{switches}");
        // Where it stands.
        let mut other = tokens()?;
        let mut stands = other.segments[0].place.clone().expect("places").to_vec3::<f32>()?;
        stands[0][1] = vec![0.3; WIDTH];
        other.segments[0].place = Some(Tensor::new(stands, &Device::Cpu)?);
        let after = vectors(&trunk.predict(&other, &some(), &Forward::evaluate())?);
        assert_ne!(before[&("a".into(), (0, 1))], after[&("a".into(), (0, 1))], "{switches}");
        assert_eq!(before[&("b".into(), (2, 1))], after[&("b".into(), (2, 1))], "{switches}");
    }
    Ok(())
}

#[test]
fn separate_targets_do_not_see_those_of_others_and_causal_ones_not_those_behind() -> Result<()> {
    // Object 0: token 1 of `a` and token 0 of `b` are asked for.
    for (switch, sees) in [("", true), ("decoder_separate = true", false)] {
        let (trunk, _) = trunk(switch)?;
        let both = vectors(&trunk.predict(&tokens()?, &some(), &Forward::evaluate())?);
        let one = masks(&["iti.", "itti", "...."], &[".i", "..", "it"]);
        let alone = vectors(&trunk.predict(&tokens()?, &one, &Forward::evaluate())?);
        let place = ("a".to_owned(), (0, 1));
        assert_eq!(both[&place] != alone[&place], sees, "{switch}");
    }
    let (trunk, _) = trunk("decoder_causal = true")?;
    let both = vectors(&trunk.predict(&tokens()?, &some(), &Forward::evaluate())?);
    let first = masks(&["iti.", "it.i", "...."], &[".i", "..", "it"]);
    let alone = vectors(&trunk.predict(&tokens()?, &first, &Forward::evaluate())?);
    close(&both[&("a".into(), (1, 1))], &alone[&("a".into(), (1, 1))], "the first of a causal sequence");
    Ok(())
}

#[test]
fn padding_changes_no_token() -> Result<()> {
    let (trunk, _) = trunk("registers = 2")?;
    let plain = trunk.encode(&tokens()?, Some(&some()), None, &Forward::evaluate())?.context.to_vec2::<f32>()?;
    let padded = trunk.encode(&tokens()?, Some(&some()), Some(5), &Forward::evaluate())?.context.to_vec2::<f32>()?;
    assert_eq!((plain.len(), padded.len()), (6 + 3 + 2 + 1, 21));
    let mut row = 0;
    for (object, length) in [3, 2, 1].into_iter().enumerate() {
        for i in 0..length + 2 {
            close(&plain[row], &padded[object * 7 + i], "padding");
            row += 1;
        }
    }
    assert!(trunk.encode(&tokens()?, Some(&some()), Some(2), &Forward::evaluate()).is_err());
    Ok(())
}

#[test]
fn every_parameter_of_a_prediction_gets_a_gradient() -> Result<()> {
    for switches in SWITCHES {
        let (trunk, parameters) = trunk(switches)?;
        let all = parameters.all();
        let mut gradients = Gradients::new(&all)?;
        let context = Forward { mode: Mode::Train, seed: 1, step: 0 };
        let features = trunk.predict(&tokens()?, &some(), &context)?;
        let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu)?;
        for targets in &features.targets {
            loss = (loss + targets.vectors.powf(3.0)?.sum_all()?)?;
        }
        gradients.backward(&loss)?;
        for (number, (name, _)) in all.iter().enumerate() {
            let got = gradients.to_host(number)?.is_some_and(|g| g.iter().any(|v| v.abs() > 0.0));
            // Attentive pooling has no part in predictions.
            assert_eq!(got, !name.starts_with("pool"), "{switches}: {name}");
        }
    }
    Ok(())
}

#[test]
fn views_and_pools() -> Result<()> {
    for pool in ["mean", "registers", "attentive"] {
        let (trunk, _) = trunk(&format!("registers = 2\npool = \"{pool}\""))?;
        let joint = trunk.forward(&tokens()?, View::Joint, &Forward::evaluate())?;
        assert_eq!(joint.joint.present, [true; 3]);
        assert_eq!(joint.tokens.segments[0].embedded.dims(), [2, 4, WIDTH]);
        let alone = trunk.forward(&tokens()?, View::Isolated, &Forward::evaluate())?;
        assert_eq!(alone.modality["a"].present, [true, true, false]);
        // Object 1 has one modality: alone or joint is the same.
        let row = |x: &Tensor| x.get(1).and_then(|x| x.to_vec1::<f32>());
        close(&row(&joint.joint.vectors)?, &row(&alone.modality["a"].vectors)?, pool);
        close(&row(&joint.joint.vectors)?, &row(&alone.joint.vectors)?, pool);
    }
    Ok(())
}
