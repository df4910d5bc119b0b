//! The short tables that a run ends with.

use comfy_table::{CellAlignment, Table, presets};
use panchroma_core::evaluate::{CodecResult, PredictionResult, Results};
use panchroma_core::metrics::Interval;
use std::collections::BTreeSet;

/// One table: title, columns, rows, and a sentence below.
pub(super) struct Shown {
    pub(super) title: String,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    pub(super) note: String,
}

/// Retrieval and probes as tables, for the terminal and the report.
pub(super) fn tables(results: &Results) -> Vec<Shown> {
    let mut tables = Vec::new();
    let percent = |i: &Interval| format!("{:.0} % [{:.0}, {:.0}]", 100.0 * i.value, 100.0 * i.low, 100.0 * i.high);
    let strings = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let everyone = |group: &Option<String>| group.clone().unwrap_or_else(|| "all".into());
    if !results.retrieval.is_empty() {
        tables.push(Shown {
            title: "Retrieval of held-out objects across modalities".into(),
            columns: strings(&["from", "to", "objects", "pool", "top 1", "top 10", "chance", "median rank"]),
            rows: results
                .retrieval
                .iter()
                .map(|r| {
                    vec![
                        r.from.clone(),
                        r.to.clone(),
                        everyone(&r.group),
                        r.pool.to_string(),
                        percent(&r.top1),
                        percent(&r.top10),
                        format!("{:.0} %", 100.0 * r.chance10),
                        format!("{:.0}", r.median_rank),
                    ]
                })
                .collect(),
            note: "top k: share of objects whose other modality is among the k nearest of the pool; chance is for \
                   top 10; brackets are 95 % bootstrap intervals over objects"
                .into(),
        });
    }
    if !results.probes.is_empty() {
        let number = |i: &Interval| format!("{:.3} [{:.3}, {:.3}]", i.value, i.low, i.high);
        tables.push(Shown {
            title: "Probes on frozen features, on held-out objects".into(),
            columns: strings(&["probe", "from", "objects", "held out", "metric", "trained", "untrained", "constant"]),
            rows: results
                .probes
                .iter()
                .map(|p| {
                    vec![
                        p.name.clone(),
                        p.from.clone(),
                        everyone(&p.group),
                        p.held_out.to_string(),
                        p.metric.clone(),
                        number(&p.trained),
                        number(&p.untrained),
                        // Rounded first, so that -0.0001 is no `-0.000`.
                        format!("{:.3}", (1000.0 * p.constant).round() / 1000.0 + 0.0),
                    ]
                })
                .collect(),
            note: "untrained: the same model before its first step; constant: the mean or the most frequent class of \
                   the training split"
                .into(),
        });
    }
    if !results.codecs.is_empty() {
        tables.extend([lost(&results.codecs), codes(&results.codecs)]);
    }
    tables.extend(predictions(results));
    tables
}

/// Scalars that a masked model predicts.
fn predictions(results: &Results) -> Option<Shown> {
    let number = |i: &Interval| format!("{:.3} [{:.3}, {:.3}]", i.value, i.low, i.high);
    let percent = |i: &Interval| format!("{:.0} % [{:.0}, {:.0}]", 100.0 * i.value, 100.0 * i.low, 100.0 * i.high);
    let baselines = results.predictions.iter().filter_map(|p| p.baseline.as_ref());
    let kinds: BTreeSet<&str> = baselines.map(|b| b.kind.as_str()).collect();
    let kinds = kinds.into_iter().collect::<Vec<_>>().join(", ");
    let mut columns = ["predicted", "given", "objects", "held out", "gain", "R2", "RMSE", "in 68 %", "in 95 %"]
        .map(str::to_owned)
        .to_vec();
    if !kinds.is_empty() {
        columns.extend([format!("{kinds}: gain"), "R2".into(), "RMSE".into()]);
    }
    let row = |p: &PredictionResult| {
        let mut row = vec![
            if p.unit.is_empty() { p.quantity.clone() } else { format!("{} ({})", p.quantity, p.unit) },
            p.given.join(", "),
            p.group.clone().unwrap_or_else(|| "all".into()),
            p.held_out.to_string(),
            number(&p.gain),
            number(&p.r2),
            number(&p.rmse),
            percent(&p.coverage68),
            percent(&p.coverage95),
        ];
        match &p.baseline {
            Some(b) => row.extend([&b.gain, &b.r2, &b.rmse].map(number)),
            None if !kinds.is_empty() => row.extend(["", "", ""].map(str::to_owned)),
            None => {}
        }
        row
    };
    let rows: Vec<Vec<String>> = results.predictions.iter().map(row).collect();
    let linear = if kinds.is_empty() {
        String::new()
    } else {
        format!("; {kinds}: on plain numbers about the given tokens, with a normal distribution of its errors")
    };
    (!rows.is_empty()).then(|| Shown {
        title: "Scalars of held-out objects, predicted from other modalities".into(),
        columns,
        rows,
        note: format!(
            "gain: log-likelihood of the truth over that of the training split's distribution, nats per object; R2 and RMSE of \
             posterior means; in 68 %: share of truths in the central 68 % of the posterior{linear}; brackets are 95 % bootstrap \
             intervals over objects"
        ),
    })
}

/// What codecs lose.
fn lost(codecs: &[CodecResult]) -> Shown {
    let strings = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let number = |i: &Interval| format!("{:.3} [{:.3}, {:.3}]", i.value, i.low, i.high);
    let baselines: BTreeSet<&String> =
        codecs.iter().flat_map(|codec| &codec.measures).flat_map(|measure| measure.baselines.keys()).collect();
    let mut columns = strings(&["codec", "measure", "objects", "from codes"]);
    columns.extend(baselines.iter().map(|name| (*name).clone()));
    columns.push("R2".into());
    let mut rows = Vec::new();
    for codec in codecs {
        for measure in &codec.measures {
            let mut row = vec![codec.modality.clone(), told(&measure.name), "all".into()];
            row.push(number(&measure.value));
            row.extend(baselines.iter().map(|name| measure.baselines.get(*name).map_or_else(String::new, number)));
            row.push(measure.r2.as_ref().map_or_else(String::new, number));
            rows.push(row);
        }
        let mut plain = vec![("loss", codec.loss)];
        plain.extend(codec.metrics.iter().map(|(name, value)| (name.as_str(), *value)));
        for (name, value) in plain {
            let mut row = vec![codec.modality.clone(), told(name), "all".into(), format!("{value:.4}")];
            row.resize(columns.len(), String::new());
            rows.push(row);
        }
    }
    Shown {
        title: "What is left of held-out objects in their codes".into(),
        columns,
        rows,
        note: "error: mean square error, weighted by inverse variance; chi2: of each observation, over its variance; held back: of what \
               the codec was not shown; constant: the best constant of each object; linear: the line between neighbours in time of the \
               same band; R2: 1 - error / that of the constant; brackets are 95 % bootstrap intervals over objects"
            .into(),
    }
}

/// The name of a measure: `held_back.chi2` as `chi2, held back`.
fn told(name: &str) -> String {
    match name.split_once('.') {
        Some((what, measure)) => format!("{measure}, {}", what.replace('_', " ")),
        None => name.replace('_', " "),
    }
}

/// How codecs use their codes.
fn codes(codecs: &[CodecResult]) -> Shown {
    let row = |codec: &CodecResult| {
        let used = &codec.codes;
        vec![
            codec.modality.clone(),
            codec.objects.to_string(),
            "all".into(),
            used.tokens.to_string(),
            used.vocabulary.to_string(),
            format!("{:.0} %", 100.0 * used.usage),
            format!("{:.0}", used.perplexity),
            used.dead.to_string(),
        ]
    };
    let columns = ["codec", "held out", "objects", "tokens", "codes", "used", "perplexity", "never used"];
    Shown {
        title: "Use of the codes on held-out objects".into(),
        columns: columns.iter().map(|n| (*n).to_owned()).collect(),
        rows: codecs.iter().map(row).collect(),
        note: "perplexity: how many codes would do if all were used alike".into(),
    }
}

/// One sentence for those who read no tables: the direction of retrieval that is furthest above
/// chance, or how much a codec keeps.
pub(super) fn verdict(results: &Results) -> Option<String> {
    retrieved(results).or_else(|| predicted(results))
}

/// The prediction that says most of its object.
fn predicted(results: &Results) -> Option<String> {
    let all = results.predictions.iter().filter(|p| p.group.is_none());
    let best = all.max_by(|a, b| a.gain.value.total_cmp(&b.gain.value))?;
    let linear = best.baseline.as_ref().map_or_else(String::new, |b| {
        format!(" ({:.2} by `{}` on plain numbers about them, gain {:.2})", b.r2.value, b.kind, b.gain.value)
    });
    Some(format!(
        "From its {}, the {} of a held-out object is predicted with R2 {:.2}{linear}, {:.2} nats better than by the training \
         split's distribution.",
        best.given.join(" and "),
        best.quantity,
        best.r2.value,
        best.gain.value
    ))
}

fn retrieved(results: &Results) -> Option<String> {
    if let Some(codec) = results.codecs.first() {
        let measures = || codec.measures.iter().filter(|measure| measure.r2.is_some());
        let measure = measures().find(|measure| measure.name == "error").or_else(|| measures().next())?;
        let r2 = measure.r2.as_ref().map_or(f64::NAN, |r2| r2.value);
        let tokens = codec.codes.tokens.checked_div(codec.objects as u64).unwrap_or(0);
        return Some(format!(
            "{tokens} codes keep {:.0} % of the variance of the {} of a held-out object, weighted by inverse variance.",
            100.0 * r2,
            codec.modality
        ));
    }
    let all = results.retrieval.iter().filter(|r| r.group.is_none());
    let best = all.max_by(|a, b| (a.top10.value - a.chance10).total_cmp(&(b.top10.value - b.chance10)))?;
    Some(format!(
        "By its {} alone, the {} of a held-out object is among the 10 nearest of {} in {:.0} % of cases; chance is {:.0} %.",
        best.from,
        best.to,
        best.pool,
        100.0 * best.top10.value,
        100.0 * best.chance10
    ))
}

/// For the terminal; groups are left to the report, to keep it short.
pub(super) fn print(results: &Results, with_groups: bool) -> String {
    let mut text = String::new();
    for shown in tables(results) {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(&shown.columns);
        for row in &shown.rows {
            if with_groups || row.get(2).is_some_and(|objects| objects == "all") {
                table.add_row(row);
            }
        }
        for column in table.column_iter_mut().skip(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        text += &format!("\n{}\n{table}\n{}\n", shown.title, shown.note);
    }
    for note in &results.notes {
        text += &format!("\nnote: {note}\n");
    }
    text
}
