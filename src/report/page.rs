//! The page: sections in the order in which one asks.

use super::charts::{Figure, confusion, escape, map, prediction, reconstruction, regression, retrieval, training};
use super::{RunData, Table};
use panchroma_core::Result;
use serde_json::Value;

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub(super) fn page(data: &RunData) -> Result<String> {
    let regressions: Result<Vec<_>> = data.regressions.iter().map(regression::figure).collect();
    let probes: Vec<Figure> =
        regressions?.into_iter().flatten().chain(data.confusions.iter().filter_map(confusion::figure)).collect();
    let predictions: Result<Vec<_>> = data.predictions.iter().map(prediction::figures).collect();
    let predictions: Vec<Figure> = predictions?.into_iter().flatten().collect();
    let maps = data.map.as_ref().map_or_else(|| Ok(Vec::new()), map::figures)?;
    let tables: String = data.tables.iter().filter(|t| !t.rows.is_empty()).map(table).collect();
    let sections = [
        section("results", "Results", &tables),
        section(
            "reconstructions",
            "Held-out objects and their codes",
            &figures(&reconstruction::figures(&data.reconstructions)?),
        ),
        section("retrieval", "Finding one modality by another", &figures(&retrieval::figures(&data.retrieval)?)),
        section("predictions", "What is predicted of what is hidden", &figures(&predictions)),
        section("probes", "What the features know", &figures(&probes)),
        section("map", "Where the objects lie", &figures(&maps)),
        section("training", "Training", &figures(&training::figures(&data.log)?)),
        config(&data.config_toml),
    ];
    let name = if data.name.is_empty() { "run" } else { &data.name };
    Ok(frame("Panchroma run", name, &(verdict(&data.summary) + &facts(&data.summary)), &sections.concat()))
}

/// A whole page: what kind of page, its title, what stands below the title, and its sections.
pub(super) fn frame(kind: &str, title: &str, header: &str, sections: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} · Panchroma</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n<p class=\"kind\">{kind}</p>\n\
         <h1>{title}</h1>\n{header}</header>\n{sections}</main>\n</body>\n</html>\n",
    )
}

pub(super) fn section(id: &str, title: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!("<section id=\"{id}\">\n<h2>{}</h2>\n{body}</section>\n", escape(title))
}

pub(super) fn figures(figures: &[Figure]) -> String {
    if figures.is_empty() {
        return String::new();
    }
    let body: String = figures.iter().map(Figure::html).collect();
    format!("<div class=\"figures\">\n{body}</div>\n")
}

fn verdict(summary: &Value) -> String {
    let verdict = summary.get("verdict").and_then(Value::as_str).filter(|v| !v.is_empty());
    verdict.map(|v| format!("<p class=\"verdict\">{}</p>\n", escape(v))).unwrap_or_default()
}

/// Size of the run in one line.
fn facts(summary: &Value) -> String {
    let number = |key: &str| summary.get(key).and_then(Value::as_f64);
    let mut facts = Vec::new();
    if let Some(steps) = number("steps") {
        facts.push(format!("{steps} optimiser steps"));
    }
    if let Some(seconds) = number("seconds") {
        facts.push(duration(seconds));
    }
    if let Some(bytes) = number("peak_memory_bytes") {
        facts.push(format!("peak memory {:.0} MiB", bytes / 1_048_576.0));
    }
    if let Some(seed) = number("seed") {
        facts.push(format!("seed {seed}"));
    }
    if facts.is_empty() { String::new() } else { format!("<p class=\"facts\">{}</p>\n", facts.join(" · ")) }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

pub(super) fn table(table: &Table) -> String {
    let numeric: Vec<bool> = (0..table.columns.len())
        .map(|i| table.rows.iter().filter_map(|row| row.get(i)).all(|c| is_number(c)))
        .collect();
    let class = |i: usize| if numeric.get(i).copied().unwrap_or(false) { " class=\"number\"" } else { "" };
    let heads = table.columns.iter().enumerate();
    let heads: String = heads.map(|(i, c)| format!("<th scope=\"col\"{}>{}</th>", class(i), escape(c))).collect();
    let mut rows = String::new();
    for row in &table.rows {
        let cells = row.iter().enumerate();
        let cells: String = cells.map(|(i, text)| format!("<td{}>{}</td>", class(i), cell(text))).collect();
        rows += &format!("<tr>{cells}</tr>\n");
    }
    let note =
        if table.note.is_empty() { String::new() } else { format!("<p class=\"note\">{}</p>\n", escape(&table.note)) };
    format!(
        "<h3>{}</h3>\n<div class=\"scroll\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table></div>\n{note}",
        escape(&table.title)
    )
}

/// An interval is set smaller than its value.
fn cell(text: &str) -> String {
    match text.split_once(" [").filter(|_| text.ends_with(']')) {
        Some((value, interval)) => format!("{} <small>[{}</small>", escape(value), escape(interval)),
        None => escape(text),
    }
}

fn is_number(text: &str) -> bool {
    let text = text.trim_start_matches(['-', '−', '+', '.']);
    text.is_empty()
        || text.starts_with(|c: char| c.is_ascii_digit())
        || matches!(text, "NaN" | "nan" | "inf" | "–" | "n/a")
}

fn config(toml: &str) -> String {
    if toml.trim().is_empty() {
        return String::new();
    }
    let body = format!("<details>\n<summary>Show</summary>\n<pre>{}</pre>\n</details>\n", escape(toml));
    section("config", "Resolved config", &body)
}
