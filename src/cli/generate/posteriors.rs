//! Posteriors of a scalar: a row per object, and against the truth where that is known.

use super::{Skipped, Work, named, page};
use crate::cli::{print, print_json};
use crate::report::{PosteriorPlot, PredictionPlot};
use panchroma_core::generate::{Cells, ColumnOf, Posterior, TableWriter, having, scalar_logits, scalar_truth};
use panchroma_core::{Bins, Result, metrics};
use serde_json::json;

/// Posteriors that the page draws.
const EXAMPLES: usize = 6;

/// What is known of posteriors whose truths are known.
#[derive(Default)]
struct Known {
    truth: Vec<f64>,
    mean: Vec<f64>,
    central68: Vec<[f64; 2]>,
    below: Vec<f64>,
    log_likelihood: Vec<f64>,
    examples: Vec<PosteriorPlot>,
}

/// Writes a row per object with the posterior of a scalar.
pub(super) fn write(work: &Work<'_>, target: &str, token: usize, bins: &Bins) -> Result<()> {
    let args = work.args;
    let mut writer = TableWriter::new(&args.out);
    let (mut skipped, mut known) = (Skipped::default(), Known::default());
    work.batches(|batch| {
        let usable = having(batch, &args.given)?;
        batch.rows.ids().iter().zip(&usable).filter(|(_, u)| !**u).for_each(|(id, _)| skipped.add(id));
        let objects: Vec<usize> = usable.iter().enumerate().filter(|(_, u)| **u).map(|(i, _)| i).collect();
        if objects.is_empty() {
            return Ok(());
        }
        let (logits, width) = scalar_logits(work.model, batch, &objects, &args.given, (target, token))?;
        let truth = scalar_truth(batch, (target, token), bins)?;
        let posteriors: Vec<Posterior<'_>> =
            logits.chunks(width).map(|own| Posterior::from_logits(bins, own)).collect();
        let ids = objects.iter().filter_map(|i| batch.rows.ids().get(*i).cloned()).collect();
        let truth: Vec<Option<(usize, f64)>> = objects.iter().map(|i| truth.get(*i).copied().flatten()).collect();
        for (posterior, truth) in posteriors.iter().zip(&truth) {
            known.add(posterior, *truth, bins);
        }
        writer.write(&columns(&format!("{target}.{}", bins.name), ids, &posteriors, &truth, bins))
    })?;
    let rows = writer.finish()?;
    if rows == 0 {
        return Err(work.nobody());
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let r2 = metrics::r2(&known.truth, &known.mean);
    if let Some(path) = &args.report {
        let plot = PredictionPlot {
            name: named(bins),
            given: args.given.clone(),
            truth: known.truth.clone(),
            predicted: known.mean.clone(),
            central68: known.central68.clone(),
            below: known.below.clone(),
            r2,
            examples: known.examples.clone(),
        };
        page(args, path, vec![plot], Vec::new())?;
    }
    let measured = (!known.truth.is_empty()).then(|| {
        json!({
            "objects": known.truth.len(),
            "log_likelihood": mean(&known.log_likelihood),
            "r2": r2,
            "rmse": metrics::rmse(&known.truth, &known.mean),
        })
    });
    if args.json() {
        return print_json(&json!({
            "objects": rows, "left_out": skipped.count, "file": args.out, "report": args.report, "truth": measured,
        }));
    }
    let against = match measured {
        Some(_) => format!(
            "\nof {} the truth is known: mean log-likelihood {:.3}, R2 of the means {r2:.3}",
            known.truth.len(),
            mean(&known.log_likelihood)
        ),
        None => String::new(),
    };
    print(&format!("posteriors of {rows} objects{}: {}{against}\n", skipped.text(), args.out.display()))
}

impl Known {
    fn add(&mut self, posterior: &Posterior<'_>, truth: Option<(usize, f64)>, bins: &Bins) {
        let Some((code, value)) = truth else { return };
        let (low, high) = posterior.interval(0.6827);
        self.truth.push(value);
        self.mean.push(posterior.mean());
        self.central68.push([low, high]);
        self.below.push(posterior.below(code, value));
        self.log_likelihood.push(posterior.log_density(code));
        if self.examples.len() < EXAMPLES {
            let probabilities = posterior.probabilities().to_vec();
            self.examples.push(PosteriorPlot { edges: bins.edges.clone(), probabilities, truth: value });
        }
    }
}

fn columns(
    name: &str,
    ids: Vec<String>,
    posteriors: &[Posterior<'_>],
    truth: &[Option<(usize, f64)>],
    bins: &Bins,
) -> Vec<ColumnOf> {
    let number = |what: &str, values: Vec<Option<f64>>| {
        ColumnOf::plain(format!("{name}.{what}"), Cells::Number(values)).with("unit", bins.unit.as_str())
    };
    let of = |what: &str, value: &dyn Fn(&Posterior<'_>) -> f64| {
        number(what, posteriors.iter().map(|p| Some(value(p))).collect())
    };
    let single = |p: &Posterior<'_>| Some(p.probabilities().iter().map(|p| *p as f32).collect::<Vec<f32>>());
    let posterior = Cells::Values(posteriors.iter().map(single).collect());
    let log_likelihood = truth.iter().zip(posteriors).map(|(truth, p)| truth.map(|(code, _)| p.log_density(code)));
    vec![
        ColumnOf::plain("object_id", Cells::Text(ids)),
        of("mean", &|p| p.mean()),
        of("median", &|p| p.quantile(0.5)),
        of("std", &|p| p.deviation()),
        of("low68", &|p| p.interval(0.6827).0),
        of("high68", &|p| p.interval(0.6827).1),
        of("low95", &|p| p.interval(0.95).0),
        of("high95", &|p| p.interval(0.95).1),
        number("true", truth.iter().map(|truth| truth.map(|(_, value)| value)).collect()),
        ColumnOf::plain(format!("{name}.log_likelihood"), Cells::Number(log_likelihood.collect())),
        ColumnOf::plain(format!("{name}.posterior"), posterior)
            .with("unit", bins.unit.as_str())
            .with("edges", json!(bins.edges).to_string())
            .with("centres", json!(bins.centres).to_string()),
    ]
}
