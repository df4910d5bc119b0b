//! Masks of whole batches, and what may be written.

use super::*;
use crate::{Coordinate, Encoding, Section, TokenKind, TokenSpec, TokenValues, random};
use candle_core::{Device, Tensor};
use proptest::prelude::*;

const NAMES: [&str; 4] = ["image", "spectrum", "z", "mass"];
const MOST: [usize; 4] = [16, 10, 1, 1];

fn modalities() -> Vec<(String, TokenSpec)> {
    let coordinate = |name: &'static str| Coordinate {
        name: name.into(),
        unit: "".into(),
        encoding: Encoding::Category { size: 16 },
        metadata: false,
    };
    let spec = |i: usize| {
        let names: &[&'static str] = [["y", "x"].as_slice(), &["wavelength"], &["index"], &["index"]][i];
        TokenSpec {
            kind: TokenKind::Codes { vocabulary: 8 },
            max_tokens: MOST[i],
            coordinates: names.iter().map(|name| coordinate(name)).collect(),
        }
    };
    (0..4).map(|i| (NAMES[i].to_owned(), spec(i))).collect()
}

fn names() -> Vec<String> {
    NAMES.iter().map(|name| (*name).to_owned()).collect()
}

fn read(text: &str) -> Result<Masking> {
    Masking::read(&Section::from_toml("head.masked.masking", text)?, &modalities(), &names())
}

/// Objects as flags of their valid tokens, by modality, padded with `padding` more tokens.
fn batch(objects: &[[Vec<bool>; 4]], padding: usize) -> Result<BTreeMap<String, Tokens>> {
    let cpu = &Device::Cpu;
    let one = |i: usize| -> Result<(String, Tokens)> {
        let longest = objects.iter().map(|object| object[i].len()).max().unwrap_or(0);
        let t = (longest + padding).min(MOST[i]).max(longest);
        let flag = |object: &[Vec<bool>; 4], token: usize| u8::from(object[i].get(token) == Some(&true));
        let valid: Vec<u8> = objects.iter().flat_map(|object| (0..t).map(|token| flag(object, token))).collect();
        let width = if i == 0 { 2 } else { 1 };
        let places: Vec<f32> = (0..objects.len() * t)
            .flat_map(|place| [(place % t / 4) as f32, (place % t % 4) as f32].into_iter().take(width))
            .collect();
        let tokens = Tokens {
            values: TokenValues::Codes(Tensor::zeros((objects.len(), t), candle_core::DType::U32, cpu)?),
            valid: Tensor::from_vec(valid.clone(), (objects.len(), t), cpu)?,
            coordinates: Tensor::from_vec(places, (objects.len(), t, width), cpu)?,
            weights: None,
            present: valid
                .chunks(t.max(1))
                .map(|flags| flags.contains(&1))
                .chain(std::iter::repeat(false))
                .take(objects.len())
                .collect(),
        };
        Ok((NAMES[i].to_owned(), tokens))
    };
    (0..4).map(one).collect()
}

fn ids(objects: usize) -> Vec<String> {
    (0..objects).map(|i| format!("object {i}")).collect()
}

fn streams(id: &str) -> Random {
    random::stream(7, "masks", &[id.as_bytes()])
}

/// Modality and token.
type Places = Vec<(usize, usize)>;

/// What one object is given and asked for.
fn of(masks: &Masks, row: usize) -> (Places, Places) {
    let flags = |which: fn(&TokenMask) -> &Vec<bool>| {
        let one = |i: usize| {
            let mask = &masks.modality[NAMES[i]];
            (0..mask.tokens).filter(move |token| which(mask)[row * mask.tokens + token]).map(move |token| (i, token))
        };
        (0..4).flat_map(one).collect()
    };
    (flags(|mask| &mask.input), flags(|mask| &mask.target))
}

fn any_table() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![
        Just(String::new()),
        Just("inputs = [2, 9]\ntargets = [1, 5]\nfirst = \"inputs\"\n".to_owned()),
        Just("inputs = [0, 4]\nscheme = \"uniform\"\n".to_owned()),
        Just("scheme = \"aion\"\nbeta = [1.0, 2.0]\n".to_owned()),
        Just("scheme = \"share\"\nshare = [0.2, 0.8]\n".to_owned()),
    ];
    let extras = [
        "inputs_from = [\"image\", \"z\"]\n",
        "targets_from = [\"spectrum\", \"z\"]\n",
        "hide = { image = 0.5, spectrum = 1.0 }\n",
        "whole = 0.4\n",
        "spans.spectrum = { mean = 3.0, along = \"wavelength\" }\n",
        "blocks.image = { mean = 4.0 }\n",
    ];
    (scheme, prop::collection::vec(any::<bool>(), extras.len())).prop_map(move |(scheme, chosen)| {
        let chosen = extras.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(extra, _)| *extra);
        scheme + &chosen.collect::<String>()
    })
}

fn any_objects() -> impl Strategy<Value = Vec<[Vec<bool>; 4]>> {
    let tokens = |most: usize| prop_oneof![Just(Vec::new()), prop::collection::vec(any::<bool>(), 1..=most)];
    let object = (tokens(16), tokens(10), tokens(1), tokens(1)).prop_map(|(a, b, c, d)| [a, b, c, d]);
    prop::collection::vec(object, 1..6)
}

proptest! {
    #[test]
    fn masks_keep_their_promises(table in any_table(), objects in any_objects(), padding in 0..4usize) {
        let masking = read(&table).expect("a good table");
        let ids = ids(objects.len());
        let masks = masking.draw(&batch(&objects, padding).expect("a batch"), &ids, &streams).expect("masks");
        for (row, object) in objects.iter().enumerate() {
            let (given, asked) = of(&masks, row);
            let is_valid = |(i, token): &(usize, usize)| object[*i].get(*token) == Some(&true);
            prop_assert!(given.iter().chain(&asked).all(is_valid), "only valid tokens");
            prop_assert!(!given.iter().any(|token| asked.contains(token)), "none both given and asked for");
            let from = |i: usize, key: &str, few: [usize; 2]| !table.contains(key) || few.contains(&i);
            prop_assert!(given.iter().all(|(i, _)| from(*i, "inputs_from", [0, 2])));
            prop_assert!(asked.iter().all(|(i, _)| from(*i, "targets_from", [1, 2])));
            let some = |i: usize| object[i].contains(&true);
            let may_ask = (0..4).any(|i| some(i) && from(i, "targets_from", [1, 2]));
            prop_assert_eq!(!asked.is_empty(), may_ask, "something is asked for if that is possible");
            prop_assert!(may_ask || given.is_empty(), "nothing is given for nothing");
            let may_give = (0..4).filter(|i| from(*i, "inputs_from", [0, 2]));
            let total: usize = may_give.map(|i| object[i].iter().filter(|valid| **valid).count()).sum();
            if may_ask && !table.contains("inputs = [0") && total > 1 {
                prop_assert!(!given.is_empty(), "something is given if that is possible");
            }
            // Alone, with other padding, it is the same.
            let own = batch(std::slice::from_ref(object), (padding + 2) % 5).expect("a batch");
            let alone = masking.draw(&own, &ids[row..=row], &streams).expect("masks");
            prop_assert_eq!(of(&alone, 0), (given, asked), "it does not depend on the batch");
        }
    }
}

#[test]
fn hidden_and_whole_modalities_come_as_often_as_they_should() -> Result<()> {
    let whole = [vec![true; 16], vec![true; 10], vec![true], vec![true]];
    let objects: Vec<[Vec<bool>; 4]> = std::iter::repeat_n(whole, 2000).collect();
    let tokens = batch(&objects, 0)?;
    let draw = |table: &str| -> Result<Vec<_>> {
        let masks = read(table)?.draw(&tokens, &ids(2000), &streams)?;
        Ok((0..2000).map(|row| of(&masks, row)).collect())
    };
    // Everything but the targets is given, so that what is not given was hidden.
    let share = "scheme = \"share\"\nshare = [0.25, 0.25]\n";
    let found = draw(&format!("{share}hide = {{ image = 0.3 }}\n"))?;
    let hidden = found.iter().filter(|(given, _)| !given.iter().any(|(i, _)| *i == 0)).count();
    assert!(hidden.abs_diff(600) < 85, "{hidden}");
    let image_hidden = found.iter().find(|(given, _)| !given.iter().any(|(i, _)| *i == 0)).expect("some");
    assert_eq!(image_hidden.1.iter().filter(|(i, _)| *i == 0).count(), 16, "then it is asked for in full");
    // All hidden: one, by lot, stays.
    let found = draw("scheme = \"uniform\"\nhide = { image = 1.0, spectrum = 1.0, z = 1.0, mass = 1.0 }\n")?;
    for (given, _) in &found {
        assert!(!given.is_empty() && given.iter().all(|(i, _)| *i == given[0].0), "{given:?}");
    }
    for i in 0..4 {
        let stays = found.iter().filter(|(given, _)| given[0].0 == i).count();
        assert!(stays.abs_diff(500) < 80, "{stays} of {}", NAMES[i]);
    }
    let found = draw("targets = [1, 40]\nwhole = 1.0\n")?;
    let (mut of_image, mut in_full) = (0, 0);
    for (given, asked) in &found {
        let one = asked[0].0;
        assert!(asked.iter().all(|(i, _)| *i == one) && !given.iter().any(|(i, _)| *i == one));
        of_image += usize::from(one == 0);
        in_full += usize::from(asked.len() == MOST[one]);
    }
    assert!(of_image.abs_diff(500) < 80, "{of_image}");
    assert!(in_full > 1000, "{in_full}");
    Ok(())
}

#[test]
fn covering_masks_leave_nothing_out() -> Result<()> {
    let object = [vec![true; 4], vec![true; 4], vec![true], vec![true]];
    let tokens = batch(&[object.clone(), object], 0)?;
    let masks = read("")?.cover(&tokens)?;
    for (i, name) in NAMES.iter().enumerate() {
        let mask = &masks.modality[*name];
        assert!(mask.input.contains(&true) && mask.target.contains(&true), "{name}");
        assert!(!mask.input.iter().zip(&mask.target).any(|(input, target)| *input == *target), "{i}");
    }
    let masks = read("inputs_from = [\"image\"]\ntargets_from = [\"z\", \"image\"]\n")?.cover(&tokens)?;
    assert!(!masks.modality["spectrum"].input.contains(&true) && !masks.modality["mass"].target.contains(&true));
    assert!(!masks.modality["z"].input.contains(&true) && !masks.modality["z"].target.contains(&false));
    Ok(())
}

#[test]
fn what_is_written_wrong_is_pointed_at() {
    let wrong = [
        ("inputs = [9, 2]", "`head.masked.masking.inputs`: must be the fewest and the most"),
        ("targets = [0, 2]", "`head.masked.masking.targets`: must begin at 1"),
        ("inputs_from = [\"imag\"]", "no modality is called `imag`"),
        ("targets_from = [\"w\"]", "no modality is called `w`"),
        ("targets_from = []", "`head.masked.masking.targets_from`: must name at least one"),
        ("whole = 1.5", "`head.masked.masking.whole`: must be a probability"),
        ("hide = { image = -0.1 }", "`head.masked.masking.hide.image`: must be a probability"),
        ("hide = { imag = 0.1 }", "no modality is called `imag`"),
        ("scheme = \"share\"\ninputs = [1, 2]", "`head.masked.masking.inputs`: is for the schemes"),
        ("scheme = \"uniform\"\nbeta = [1.0, 2.0]", "`head.masked.masking.beta`: is for the schemes `aion`"),
        ("scheme = \"share\"\nshare = [0.5, 1.5]", "`head.masked.masking.share`: must be"),
        ("scheme = \"aion\"\nbeta = [0.0, 1.0]", "`head.masked.masking.beta`: must be two numbers above 0"),
        ("scheme = \"cosine\"", "unknown value `cosine`"),
        ("mixtures = 1", "unknown key `mixtures`"),
        ("[[mixture]]\nweight = 0.0", "`head.masked.masking.mixture.0.weight`: must be above 0"),
        ("[[mixture]]\nalpha = -1.0", "`head.masked.masking.mixture.0.alpha`: must be 0, or"),
        ("[[mixture]]\ninputs = { z = -1.0 }", "`head.masked.masking.mixture.0.inputs.z`: must be 0, or"),
        ("[[mixture]]\ntargets = { y = 1.0 }", "no modality is called `y`"),
        ("[[mixture]]\ntargets = { z = 0.0 }", "has alpha 0 for the targets of `z` in every mixture"),
        ("spans.spectrum = { mean = 0.5 }", "`head.masked.masking.spans.spectrum.mean`: must be at least 1"),
        ("spans.spectrum = { mean = 2.0, along = \"time\" }", "no coordinate of its tokens is called `time`"),
        ("blocks.spectrum = { mean = 2.0 }", "needs `grid = [LINES, COLUMNS]`"),
        ("blocks.image = { mean = 2.0, axes = [\"y\", \"w\"] }", "no coordinate of its tokens is called `w`"),
        ("blocks.image = { mean = 2.0, grid = [0, 4] }", "`head.masked.masking.blocks.image.grid`: must be lines"),
        ("blocks.image = { mean = 2.0, aspect = 2.0 }", "`head.masked.masking.blocks.image.aspect`: must be above 0"),
        ("spans.image = { mean = 2.0 }\nblocks.image = { mean = 2.0 }", "blocks.image`: has targets in spans already"),
    ];
    for (text, expected) in wrong {
        let message = read(text).expect_err(text).to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }
    read("").expect("nothing needs to be written");
    read("[[mixture]]\nalpha = 0.0\ninputs = { image = 1.0 }\ntargets = { image = 1.0, spectrum = 1.0, z = 1.0, mass = 1.0 }")
        .expect("all is asked for");
}

#[test]
fn budgets_for_the_plan_are_about_what_is_drawn() -> Result<()> {
    let object = [vec![true; 16], vec![true; 10], vec![true], vec![true]];
    let objects: Vec<[Vec<bool>; 4]> = std::iter::repeat_n(object, 1000).collect();
    let tokens = batch(&objects, 0)?;
    for table in
        ["scheme = \"uniform\"\ninputs = [4, 8]\ntargets = [2, 6]\n", "scheme = \"share\"\nshare = [0.5, 0.7]\n"]
    {
        let masking = read(table)?;
        let (given, asked) = masking.draw(&tokens, &ids(1000), &streams)?.count();
        let (plan_given, plan_asked) = masking.budgets();
        assert!((given as f64 / 1000.0 - plan_given as f64).abs() < 0.7, "{table}: {given} {plan_given}");
        assert!((asked as f64 / 1000.0 - plan_asked as f64).abs() < 0.7, "{table}: {asked} {plan_asked}");
    }
    Ok(())
}
