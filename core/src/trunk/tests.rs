//! What both trunks promise, with every pool.

use super::*;
use crate::ops::Gradients;
use crate::{Registry, Section, Segment};
use candle_core::{DType, Device, Tensor};

const WIDTH: usize = 8;
const BATCH: usize = 4;
const TRUNKS: [&str; 2] = ["towers", "fused"];
const POOLS: [&str; 3] = ["attentive", "class", "mean"];
const VIEWS: [View; 2] = [View::Isolated, View::Joint];

/// A trunk over the modalities `a` and `b`, and its parameters.
fn trunk(kind: &str, pool: &str) -> Result<(Box<dyn Trunk>, Parameters)> {
    let toml = format!("kind = {kind:?}\nwidth = {WIDTH}\ndepth = 2\nheads = 2\npool = {pool:?}\n");
    let spec = TokenSpec { kind: crate::TokenKind::Patches { width: 1 }, max_tokens: 5, coordinates: Vec::new() };
    let modalities = ["a", "b"].map(|name| (name.to_owned(), spec.clone()));
    let parameters = Parameters::new(7, &Device::Cpu);
    let context = TrunkContext { modalities: &modalities, parameters: &parameters };
    let trunk = Registry::linked()?.trunks.build(&Section::from_toml("trunk", &toml)?, &context)?;
    Ok((trunk, parameters))
}

/// `[rows, tokens, D]` values that differ from place to place.
fn embedded(rows: usize, tokens: usize, seed: f32) -> Result<Tensor> {
    let count = rows * tokens * WIDTH;
    let values: Vec<f32> = (0..count).map(|i| (seed + i as f32 * 0.7).sin()).collect();
    Ok(Tensor::from_vec(values, (rows, tokens, WIDTH), &Device::Cpu)?)
}

fn segment(modality: &str, rows: &[u32], valid: &[&[u8]], seed: f32) -> Result<Segment> {
    let tokens = valid[0].len();
    Ok(Segment {
        modality: modality.into(),
        rows: rows.to_vec(),
        embedded: embedded(rows.len(), tokens, seed)?,
        place: None,
        valid: Tensor::from_vec(valid.concat(), (rows.len(), tokens), &Device::Cpu)?,
    })
}

/// Four objects: 0 and 3 have both modalities, 1 has `a` alone, 2 has none. Some tokens are padding or holes.
fn tokens() -> Result<TokenSet> {
    let a = segment("a", &[0, 1, 3], &[&[1, 1, 1], &[1, 0, 0], &[1, 0, 1]], 0.0)?;
    let b = segment("b", &[0, 3], &[&[1, 1, 1, 1, 0], &[0, 1, 0, 1, 1]], 50.0)?;
    Ok(TokenSet { batch: BATCH, segments: vec![a, b] })
}

fn bits(x: &Tensor) -> Result<Vec<u32>> {
    Ok(x.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
}

fn each(check: impl Fn(&str, &str, View) -> Result<()>) -> Result<()> {
    for kind in TRUNKS {
        for pool in POOLS {
            for view in VIEWS {
                check(kind, pool, view)?;
            }
        }
    }
    Ok(())
}

#[test]
fn only_the_joint_view_of_fused_lets_modalities_see_each_other() -> Result<()> {
    each(|kind, pool, view| {
        let (trunk, _) = trunk(kind, pool)?;
        let before = tokens()?;
        let mut after = before.clone();
        after.segments[1].embedded = (&after.segments[1].embedded * -2.0)?;
        let mut alone = before.clone();
        alone.segments.truncate(1);
        let forward = |tokens: &TokenSet| trunk.forward(tokens, view, &Forward::evaluate());
        let (before, after, alone) = (forward(&before)?, forward(&after)?, forward(&alone)?);
        let pooled = |features: &Features| bits(&features.modality["a"].vectors);
        let encoded = |features: &Features| bits(&features.tokens.segments[0].embedded);
        let sees = kind == "fused" && view == View::Joint;
        for other in [&after, &alone] {
            assert_eq!(pooled(&before)? != pooled(other)?, sees, "{kind}, {pool}, {view:?}");
            assert_eq!(encoded(&before)? != encoded(other)?, sees, "{kind}, {pool}, {view:?}");
        }
        assert_ne!(bits(&before.joint.vectors)?, bits(&after.joint.vectors)?, "{kind}, {pool}, {view:?}");
        assert_eq!(before.view, view);
        Ok(())
    })
}

#[test]
fn in_a_joint_view_an_object_without_the_other_modality_is_not_changed_by_it() -> Result<()> {
    for pool in POOLS {
        let (trunk, _) = trunk("fused", pool)?;
        let mut changed = tokens()?;
        changed.segments[1].embedded = (&changed.segments[1].embedded * -2.0)?;
        let row = |tokens: &TokenSet| -> Result<Vec<u32>> {
            bits(&trunk.forward(tokens, View::Joint, &Forward::evaluate())?.modality["a"].vectors.get(1)?)
        };
        assert_eq!(row(&tokens()?)?, row(&changed)?, "{pool}");
    }
    Ok(())
}

#[test]
fn what_invalid_tokens_hold_changes_nothing() -> Result<()> {
    each(|kind, pool, view| {
        let (trunk, _) = trunk(kind, pool)?;
        let clean = tokens()?;
        let mut dirty = clean.clone();
        for segment in &mut dirty.segments {
            let invalid = segment.valid.to_dtype(DType::F32)?.affine(-1.0, 1.0)?.unsqueeze(2)?;
            segment.embedded = segment.embedded.broadcast_add(&(invalid * 1e9)?)?;
        }
        let forward = |tokens: &TokenSet| trunk.forward(tokens, view, &Forward::evaluate());
        let (clean, dirty) = (forward(&clean)?, forward(&dirty)?);
        for (name, pooled) in &clean.modality {
            assert_eq!(
                bits(&pooled.vectors)?,
                bits(&dirty.modality[name].vectors)?,
                "{kind}, {pool}, {view:?}, {name}"
            );
        }
        assert_eq!(bits(&clean.joint.vectors)?, bits(&dirty.joint.vectors)?, "{kind}, {pool}, {view:?}");
        Ok(())
    })
}

#[test]
fn absent_objects_get_zeros() -> Result<()> {
    each(|kind, pool, view| {
        let (trunk, _) = trunk(kind, pool)?;
        let features = trunk.forward(&tokens()?, view, &Forward::evaluate())?;
        let all = [
            (&features.modality["a"], [true, true, false, true]),
            (&features.modality["b"], [true, false, false, true]),
            (&features.joint, [true, true, false, true]),
        ];
        for (pooled, present) in all {
            assert_eq!(pooled.present, present, "{kind}, {pool}, {view:?}");
            assert_eq!(pooled.vectors.dims(), [BATCH, WIDTH]);
            for (row, present) in pooled.vectors.to_vec2::<f32>()?.iter().zip(present) {
                assert!(row.iter().all(|v| v.is_finite()));
                assert_eq!(row.iter().any(|v| *v != 0.0), present, "{kind}, {pool}, {view:?}: {row:?}");
            }
        }
        for (before, after) in tokens()?.segments.iter().zip(&features.tokens.segments) {
            assert_eq!(before.embedded.dims(), after.embedded.dims(), "{kind}, {pool}, {view:?}");
        }
        Ok(())
    })
}

#[test]
fn every_parameter_gets_a_gradient() -> Result<()> {
    each(|kind, pool, view| {
        let (trunk, parameters) = trunk(kind, pool)?;
        let features = trunk.forward(&tokens()?, view, &Forward::evaluate())?;
        let weights = embedded(1, BATCH, 9.0)?.squeeze(0)?;
        // Of a fused trunk's joint view, the class token and its norm show in the joint vector alone.
        let mut loss = (&features.joint.vectors * &weights)?.sum_all()?;
        for pooled in features.modality.values() {
            loss = (loss + (&pooled.vectors * &weights)?.sum_all()?)?;
        }
        let mut gradients = Gradients::new(&parameters.all())?;
        gradients.backward(&loss)?;
        for (number, (name, _)) in parameters.all().iter().enumerate() {
            let alive = gradients.get(number).is_some_and(|gradient| gradient.iter().any(|value| value.abs() > 0.0));
            assert!(alive, "{kind}, {pool}, {view:?}: `{name}`");
        }
        Ok(())
    })
}

#[test]
fn towers_share_nothing_and_fused_shares_all() -> Result<()> {
    let names = |kind: &str| -> Result<Vec<String>> {
        Ok(trunk(kind, "attentive")?.1.all().into_iter().map(|(name, _)| name).collect())
    };
    let (towers, fused) = (names("towers")?, names("fused")?);
    assert_eq!(towers.len(), 2 * fused.len());
    assert!(towers.iter().all(|name| name.starts_with("a.") || name.starts_with("b.")));
    Ok(())
}

#[test]
fn strangers_and_empty_batches_are_errors() -> Result<()> {
    for kind in TRUNKS {
        let (trunk, _) = trunk(kind, "attentive")?;
        let mut strange = tokens()?;
        strange.segments[0].modality = "c".into();
        let empty = TokenSet { batch: BATCH, segments: Vec::new() };
        for view in VIEWS {
            let message = |tokens: &TokenSet| {
                trunk.forward(tokens, view, &Forward::evaluate()).err().map(|e| e.to_string()).unwrap_or_default()
            };
            assert_eq!(message(&strange), "trunk: expected one of the modalities [\"a\", \"b\"], got `c`");
            assert_eq!(message(&empty), "trunk: expected an object with a modality, got none in the batch");
        }
    }
    Ok(())
}

#[test]
fn stochastic_depth_draws_by_seed_and_step() -> Result<()> {
    let toml = format!("kind = \"towers\"\nwidth = {WIDTH}\ndepth = 2\nheads = 2\ndrop_path = 0.5\n");
    let spec = TokenSpec { kind: crate::TokenKind::Patches { width: 1 }, max_tokens: 5, coordinates: Vec::new() };
    let modalities = ["a", "b"].map(|name| (name.to_owned(), spec.clone()));
    let context = TrunkContext { modalities: &modalities, parameters: &Parameters::new(7, &Device::Cpu) };
    let trunk = Registry::linked()?.trunks.build(&Section::from_toml("trunk", &toml)?, &context)?;
    let tokens = tokens()?;
    let forward = |mode, seed, step| -> Result<Vec<u32>> {
        bits(&trunk.forward(&tokens, View::Isolated, &Forward { mode, seed, step })?.joint.vectors)
    };
    use crate::Mode::{Evaluate, Train};
    let base = forward(Train, 1, 0)?;
    assert_eq!(base, forward(Train, 1, 0)?);
    assert_ne!(base, forward(Train, 1, 1)?);
    assert_ne!(base, forward(Train, 2, 0)?);
    assert_eq!(forward(Evaluate, 1, 0)?, forward(Evaluate, 2, 5)?);
    Ok(())
}

#[test]
fn objects_in_a_batch_of_unequal_lengths_are_encoded_as_each_alone() -> Result<()> {
    const TOKENS: usize = 40;
    for pool in POOLS {
        let (trunk, parameters) = trunk("towers", pool)?;
        let flags: Vec<Vec<u8>> =
            (0..144).map(|i| (0..TOKENS).map(|t| u8::from(t < 40 / (1 + i % 5))).collect()).collect();
        let flags: Vec<&[u8]> = flags.iter().map(Vec::as_slice).collect();
        let rows: Vec<u32> = (0..144).collect();
        let all = segment("a", &rows, &flags, 3.0)?;
        let forward = |segment: Segment| -> Result<(Tensor, Tensor)> {
            let tokens = TokenSet { batch: segment.rows.len(), segments: vec![segment] };
            let features = trunk.forward(&tokens, View::Isolated, &Forward::evaluate())?;
            Ok((features.modality["a"].vectors.clone(), features.tokens.segments[0].embedded.clone()))
        };
        let gradients = |vectors: &Tensor| -> Result<Vec<f32>> {
            let mut sums = Gradients::new(&parameters.all())?;
            sums.backward(&vectors.sin()?.sum_all()?)?;
            Ok((0..sums.len()).filter_map(|number| sums.get(number)).flatten().copied().collect())
        };
        let (vectors, encoded) = forward(all.clone())?;
        let mut sum: Vec<f32> = Vec::new();
        for row in 0..144 {
            let one = |x: &Tensor| x.narrow(0, row, 1);
            let own = segment("a", &[0], &[flags[row]], 0.0)?;
            let own = Segment { embedded: one(&all.embedded)?, ..own };
            let (vector, tokens) = forward(own)?;
            let off = |a: &Tensor, b: &Tensor| -> Result<f32> { Ok((a - b)?.abs()?.max_all()?.to_scalar::<f32>()?) };
            assert!(off(&vector, &one(&vectors)?)? < 1e-5, "{pool}, object {row}");
            let valid = flags[row].iter().filter(|f| **f != 0).count();
            let (a, b) = (tokens.narrow(1, 0, valid)?, one(&encoded)?.narrow(1, 0, valid)?);
            assert!(off(&a, &b)? < 1e-5, "{pool}, tokens of object {row}");
            let own = gradients(&vector)?;
            sum.resize(own.len(), 0.0);
            sum.iter_mut().zip(&own).for_each(|(sum, own)| *sum += own);
        }
        let together = gradients(&vectors)?;
        assert_eq!(together.len(), sum.len());
        for (a, b) in together.iter().zip(&sum) {
            assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{pool}: {a} together, {b} alone");
        }
    }
    Ok(())
}

/// What is predicted: modality, places and vectors.
type Predicted = Vec<(String, Vec<(u32, u32)>, Vec<Vec<f32>>)>;

/// The tokens of [`tokens`] with places, a trunk that expects masks, and masks.
fn masked(kind: &str, pool: &str, alone: bool) -> Result<(Box<dyn Trunk>, Parameters, TokenSet, Masks)> {
    let (mut trunk, parameters) = trunk(kind, pool)?;
    let section = Section::from_toml("trunk", &format!("pool = {pool:?}\n"))?;
    trunk.expect_masks(&MaskContext { section: &section, parameters: &parameters, alone })?;
    let mut tokens = tokens()?;
    for segment in &mut tokens.segments {
        let (n, t, _) = segment.embedded.dims3()?;
        segment.place = Some(embedded(n, t, 100.0 + t as f32)?);
    }
    let mask = |tokens: usize, input: &[usize], target: &[usize]| {
        let mut mask = crate::TokenMask::none(BATCH, tokens);
        input.iter().for_each(|i| mask.input[*i] = true);
        target.iter().for_each(|i| mask.target[*i] = true);
        mask
    };
    // Object 0 is given a0, b1 and b3 and asked for a2 and b0, object 1 is given nothing and asked for a0, object 3 is given b1 and
    // asked for a0 and a2: a1 and b2 of object 0 are neither.
    let a = mask(3, &[0], &[2, 3, 9, 11]);
    let b = mask(5, &[1, 3, 16], &[0]);
    Ok((
        trunk,
        parameters,
        tokens,
        Masks { modality: [("a".to_owned(), a), ("b".to_owned(), b)].into(), ..Masks::default() },
    ))
}

/// The rows of `x` `[N, T, D]` that are not 0 in `flags`, with random values put there.
fn disturbed(segment: &Segment, which: impl Fn(u32, usize) -> bool) -> Result<Segment> {
    let (_, t, _) = segment.embedded.dims3()?;
    let flags: Vec<f32> = segment
        .rows
        .iter()
        .flat_map(|row| (0..t).map(|token| f32::from(u8::from(which(*row, token)))).collect::<Vec<f32>>())
        .collect();
    let flags = Tensor::from_vec(flags, (segment.rows.len(), t, 1), &Device::Cpu)?;
    Ok(Segment { embedded: segment.embedded.broadcast_add(&(flags * 3.0)?)?, ..segment.clone() })
}

#[test]
fn hidden_tokens_are_predicted_from_what_is_given_and_where_they_stand() -> Result<()> {
    for kind in TRUNKS {
        for pool in ["attentive", "class", "mean", "plain"] {
            let (trunk, _, tokens, masks) = masked(kind, pool, pool == "plain")?;
            let predict = |tokens: &TokenSet| -> Result<Predicted> {
                let features = trunk.predict(tokens, &masks, &Forward::evaluate())?;
                assert_eq!(features.view, View::Masked);
                let all = features.targets.into_iter();
                all.map(|t| Ok((t.modality, t.places, t.vectors.to_vec2::<f32>()?))).collect()
            };
            let before = predict(&tokens)?;
            let places: Vec<&Vec<(u32, u32)>> = before.iter().map(|(_, places, _)| places).collect();
            assert_eq!(places, [&vec![(0, 2), (1, 0), (3, 0), (3, 2)], &vec![(0, 0)]], "{kind}, {pool}");
            let with = |change: &dyn Fn(&mut Segment) -> Result<()>, which: usize| -> Result<TokenSet> {
                let mut tokens = tokens.clone();
                change(&mut tokens.segments[which])?;
                Ok(tokens)
            };
            // What hidden tokens say, and what is neither given nor asked for, is not seen.
            for which in 0..2 {
                let mask = &masks.modality[["a", "b"][which]];
                let unseen = with(
                    &|segment| {
                        *segment = disturbed(segment, |row, token| !mask.input[row as usize * mask.tokens + token])?;
                        Ok(())
                    },
                    which,
                )?;
                assert_eq!(predict(&unseen)?, before, "{kind}, {pool}: what is hidden leaks");
            }
            // What is given is seen, by the other modality in a fused trunk alone.
            let given = with(
                &|segment| {
                    *segment = disturbed(segment, |row, token| row == 0 && token == 0)?;
                    Ok(())
                },
                0,
            )?;
            let after = predict(&given)?;
            assert_ne!(after[0].2[0], before[0].2[0], "{kind}, {pool}");
            assert_eq!(after[0].2[1..], before[0].2[1..], "{kind}, {pool}: other objects");
            assert_eq!(after[1].2[0] != before[1].2[0], kind == "fused", "{kind}, {pool}");
            // Where a hidden token stands is seen.
            let moved = with(
                &|segment| {
                    segment.place = segment.place.as_ref().map(|place| place * 2.0).transpose()?;
                    Ok(())
                },
                0,
            )?;
            assert_ne!(predict(&moved)?[0].2[0], before[0].2[0], "{kind}, {pool}");
        }
    }
    Ok(())
}

#[test]
fn every_parameter_of_a_trunk_for_masked_heads_alone_gets_a_gradient() -> Result<()> {
    for kind in TRUNKS {
        let (trunk, parameters, tokens, masks) = masked(kind, "plain", true)?;
        let features = trunk.predict(&tokens, &masks, &Forward::evaluate())?;
        let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu)?;
        for targets in &features.targets {
            loss = (loss + targets.vectors.sin()?.sum_all()?)?;
        }
        let mut gradients = Gradients::new(&parameters.all())?;
        gradients.backward(&loss)?;
        for (number, (name, _)) in parameters.all().iter().enumerate() {
            let alive = gradients.get(number).is_some_and(|gradient| gradient.iter().any(|value| value.abs() > 0.0));
            assert!(alive, "{kind}: `{name}`");
        }
        assert!(parameters.all().iter().any(|(name, _)| name == "mask"), "{kind}");
    }
    Ok(())
}

#[test]
fn a_pool_that_nothing_trains_is_refused() -> Result<()> {
    for kind in TRUNKS {
        for pool in POOLS {
            let error = masked(kind, pool, true).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("`trunk.pool`: must be `plain`"), "{kind}, {pool}: {error}");
        }
        let (trunk, ..) = trunk(kind, "mean")?;
        let (_, _, tokens, masks) = masked(kind, "mean", false)?;
        let error = trunk.predict(&tokens, &masks, &Forward::evaluate()).expect_err("refused").to_string();
        assert!(error.contains("built for masked heads"), "{error}");
    }
    Ok(())
}
