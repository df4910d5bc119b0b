//! `[head.NAME.masking]` -> [`Masking`].

use super::budget::{Budget, Division, LogGamma, Mixture};
use super::config::{BlockConfig, MaskingConfig, MixtureConfig, Scheme, SpanConfig};
use super::pattern::{Cells, Pattern};
use super::{Masking, Part};
use crate::{Result, Section, TokenSpec};
use rand_distr::Beta;
use std::collections::BTreeMap;

/// Alphas of the mixtures where none are written, as 4M-21 (Bachmann et al. 2024) has them.
const ALPHAS: [f64; 4] = [0.01, 0.1, 1.0, 10.0];

/// Keys that are of one scheme alone.
const OF_SCHEMES: [(&str, &[Scheme], &str); 6] = [
    ("inputs", &[Scheme::Dirichlet, Scheme::Uniform, Scheme::Aion], "`dirichlet`, `uniform` and `aion`"),
    ("targets", &[Scheme::Dirichlet, Scheme::Uniform, Scheme::Aion], "`dirichlet`, `uniform` and `aion`"),
    ("first", &[Scheme::Dirichlet], "`dirichlet`"),
    ("mixture", &[Scheme::Dirichlet], "`dirichlet`"),
    ("share", &[Scheme::Share], "`share`"),
    ("beta", &[Scheme::Aion], "`aion`"),
];

impl Masking {
    /// Reads and checks the table; `modalities` are all of the config with what their tokens look like, `targets` those that the
    /// head can predict.
    ///
    /// # Errors
    /// A config error at the key that is out of range, names what is not there, or does not go with another.
    pub fn read(section: &Section, modalities: &[(String, TokenSpec)], targets: &[String]) -> Result<Self> {
        let config: MaskingConfig = section.read_plain()?;
        for (key, schemes, names) in OF_SCHEMES {
            if section.contains(key) && !schemes.contains(&config.scheme) {
                return Err(section.reject(key, format!("is for the schemes {names} alone")));
            }
        }
        let names: Vec<String> = modalities.iter().map(|(name, _)| name.clone()).collect();
        let inputs_from = list(section, "inputs_from", config.inputs_from.as_deref(), &names)?;
        let targets_from = list(section, "targets_from", config.targets_from.as_deref(), targets)?;
        for (key, [fewest, most]) in [("inputs", config.inputs), ("targets", config.targets)] {
            if fewest > most || most == 0 {
                return Err(section.reject(key, "must be the fewest and the most, the second at least 1"));
            }
        }
        if config.targets[0] == 0 {
            return Err(section.reject("targets", "must begin at 1 or more: of an object something is asked for"));
        }
        if !(0.0..=1.0).contains(&config.whole) {
            return Err(section.reject("whole", "must be a probability, from 0 to 1"));
        }
        known(section, "hide", config.hide.keys(), &names)?;
        if let Some((name, _)) = config.hide.iter().find(|(_, hide)| !(0.0..=1.0).contains(*hide)) {
            let table = section.require("hide")?;
            return Err(table.reject(name, "must be a probability, from 0 to 1"));
        }
        let patterns = patterns(section, &config, modalities)?;
        let division = division(section, &config, &names)?;
        let part = |((name, spec), pattern): (&(String, TokenSpec), Pattern)| Part {
            name: name.clone(),
            tokens: spec.max_tokens,
            give: inputs_from.contains(name),
            ask: targets_from.contains(name),
            hide: config.hide.get(name).copied().unwrap_or(0.0),
            pattern,
        };
        let parts: Vec<Part> = modalities.iter().zip(patterns).map(part).collect();
        if let Division::Dirichlet { mixtures, .. } = &division {
            let mut numbers = (0..parts.len()).filter(|i| parts[*i].ask);
            if let Some(never) = numbers.find(|i| mixtures.iter().all(|mixture| mixture.targets[*i].is_none())) {
                let reason = format!(
                    "has alpha 0 for the targets of `{}` in every mixture; leave it out of `targets_from` instead",
                    parts[never].name
                );
                return Err(section.reject("mixture", reason));
            }
        }
        Ok(Self {
            parts,
            budget: Budget { inputs: config.inputs, targets: config.targets, division },
            whole: config.whole,
        })
    }
}

/// The modalities that `key` names, all of `known` if it is left out.
fn list(section: &Section, key: &str, written: Option<&[String]>, known: &[String]) -> Result<Vec<String>> {
    let Some(written) = written else { return Ok(known.to_vec()) };
    if written.is_empty() {
        return Err(section.reject(key, "must name at least one modality"));
    }
    match written.iter().find(|name| !known.contains(name)) {
        Some(stranger) => Err(section.unknown_reference(key, "modality", stranger, known)),
        None => Ok(written.to_vec()),
    }
}

/// Checks that the keys of the table under `key` are modalities.
fn known<'a>(section: &Section, key: &str, names: impl Iterator<Item = &'a String>, known: &[String]) -> Result<()> {
    for name in names {
        if !known.contains(name) {
            return Err(section.require(key)?.unknown_reference(name, "modality", name, known));
        }
    }
    Ok(())
}

fn patterns(section: &Section, config: &MaskingConfig, modalities: &[(String, TokenSpec)]) -> Result<Vec<Pattern>> {
    let names: Vec<String> = modalities.iter().map(|(name, _)| name.clone()).collect();
    known(section, "spans", config.spans.keys(), &names)?;
    known(section, "blocks", config.blocks.keys(), &names)?;
    let of = |(name, spec): &(String, TokenSpec)| -> Result<Pattern> {
        let coordinates: Vec<String> = spec.coordinates.iter().map(|c| c.name.to_string()).collect();
        let number = |table: &Section, key: &str, name: &String| {
            let found = coordinates.iter().position(|coordinate| coordinate == name);
            found.ok_or_else(|| table.unknown_reference(key, "coordinate of its tokens", name, &coordinates))
        };
        match (config.spans.get(name), config.blocks.get(name)) {
            (None, None) => Ok(Pattern::Scattered),
            (Some(_), Some(_)) => {
                Err(section.require("blocks")?.reject(name, "has targets in spans already: only one of the two"))
            }
            (Some(SpanConfig { mean, along }), None) => {
                let table = section.require("spans")?.require(name)?;
                check_mean(&table, *mean)?;
                let along = along.as_ref().map(|along| number(&table, "along", along)).transpose()?;
                Ok(Pattern::Spans { mean: *mean, along })
            }
            (None, Some(BlockConfig { mean, aspect, grid, axes })) => {
                let table = section.require("blocks")?.require(name)?;
                check_mean(&table, *mean)?;
                if !(*aspect > 0.0 && *aspect <= 1.0) {
                    return Err(table.reject("aspect", "must be above 0 and at most 1"));
                }
                let cells = match grid {
                    Some(grid) => {
                        if grid.contains(&0) {
                            return Err(table.reject("grid", "must be lines and columns, both at least 1"));
                        }
                        if table.contains("axes") {
                            return Err(table.reject("axes", "is not looked at where there is a `grid`"));
                        }
                        Cells::Grid(*grid)
                    }
                    None if !table.contains("axes") && axes.iter().any(|axis| !coordinates.contains(axis)) => {
                        let reason = format!(
                            "needs `grid = [LINES, COLUMNS]` or `axes`: tokens of `{name}` have no coordinates `y` and `x`, but {coordinates:?}"
                        );
                        return Err(table.reject("", reason));
                    }
                    None => {
                        let [line, column] = axes;
                        Cells::Coordinates([number(&table, "axes", line)?, number(&table, "axes", column)?])
                    }
                };
                Ok(Pattern::Blocks { mean: *mean, aspect: *aspect, cells })
            }
        }
    };
    modalities.iter().map(of).collect()
}

fn check_mean(table: &Section, mean: f64) -> Result<()> {
    if mean.is_finite() && mean >= 1.0 { Ok(()) } else { Err(table.reject("mean", "must be at least 1")) }
}

fn division(section: &Section, config: &MaskingConfig, names: &[String]) -> Result<Division> {
    Ok(match config.scheme {
        Scheme::Uniform => Division::Uniform,
        Scheme::Share => {
            let [least, most] = config.share;
            if !(least >= 0.0 && most <= 1.0 && least <= most) {
                return Err(section.reject("share", "must be the least and the greatest share, from 0 to 1"));
            }
            Division::Share { range: config.share }
        }
        Scheme::Aion => {
            let [a, b] = config.beta;
            let beta = Beta::new(a, b).ok().filter(|_| a.is_finite() && b.is_finite());
            Division::Aion {
                beta: beta.ok_or_else(|| section.reject("beta", "must be two numbers above 0"))?,
                mean: a / (a + b),
            }
        }
        Scheme::Dirichlet => {
            let mixtures = if config.mixture.is_empty() {
                let all =
                    |alpha| MixtureConfig { weight: 1.0, alpha, inputs: BTreeMap::new(), targets: BTreeMap::new() };
                ALPHAS.into_iter().map(|alpha| mixture(section, &all(alpha), names)).collect::<Result<_>>()?
            } else {
                let tables = section.list("mixture")?;
                tables.iter().zip(&config.mixture).map(|(t, own)| mixture(t, own, names)).collect::<Result<_>>()?
            };
            Division::Dirichlet { mixtures, first: config.first }
        }
    })
}

fn mixture(table: &Section, config: &MixtureConfig, names: &[String]) -> Result<Mixture> {
    if !(config.weight > 0.0 && config.weight.is_finite()) {
        return Err(table.reject("weight", "must be above 0"));
    }
    // What an alpha below this gives can't be told from 0, and the logarithm overflows.
    let fits = |alpha: f64| alpha == 0.0 || (1e-6..=1e6).contains(&alpha);
    const RANGE: &str = "must be 0, or from 1e-6 to 1e6";
    if !fits(config.alpha) {
        return Err(table.reject("alpha", RANGE));
    }
    let side = |key: &str, own: &BTreeMap<String, f64>| -> Result<Vec<Option<LogGamma>>> {
        known(table, key, own.keys(), names)?;
        if let Some((name, _)) = own.iter().find(|(_, alpha)| !fits(**alpha)) {
            return Err(table.require(key)?.reject(name, RANGE));
        }
        Ok(names.iter().map(|name| LogGamma::new(own.get(name).copied().unwrap_or(config.alpha))).collect())
    };
    Ok(Mixture {
        weight: config.weight,
        inputs: side("inputs", &config.inputs)?,
        targets: side("targets", &config.targets)?,
    })
}
