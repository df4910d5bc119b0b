//! What the log says about training: loss, shares found, learning rate, gradient norm.

use super::axis::{Axis, number};
use super::chart::{Chart, Dot, Layer};
use super::colours::{BLUE, CLASSES, OTHER, VERMILLION};
use super::figure::Figure;
use super::spread;
use panchroma_core::Result;
use plotters::style::RGBColor;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Lines keep at most this many points.
const POINTS: usize = 600;

type Log = [Map<String, Value>];

/// All curves that the log has numbers for.
pub(in super::super) fn figures(log: &Log) -> Result<Vec<Figure>> {
    let figures = [loss(log)?, shares(log)?, rate(log)?, gradient(log)?];
    Ok(figures.into_iter().flatten().collect())
}

fn loss(log: &Log) -> Result<Option<Figure>> {
    let train = series(log, "loss");
    let held_out = series(log, "evaluation.loss");
    let all = || train.iter().chain(&held_out);
    let values: Vec<f64> = all().map(|p| p.1).collect();
    let (Some(x), Some(y)) = (steps_axis(all()), Axis::fitting("loss", &values)) else { return Ok(None) };
    let window = (train.len() / 40).max(1);
    let mut key = vec![(BLUE, format!("training{}", smoothed_over(window)))];
    let mut layers = vec![line(&train, 1.0, 0.3), line(&smooth(&train, window), 2.0, 1.0)];
    if let Some(last) = held_out.last() {
        key.push((VERMILLION, format!("held out, {} at the end", number(rounded(last.1)))));
        layers.push(Layer::Line { points: held_out.clone(), colour: VERMILLION, width: 1.5, opacity: 1.0 });
        layers.push(dots(&held_out, VERMILLION, |p| format!("step {}: {}", p.0, number(rounded(p.1)))));
    }
    let body = Chart { title: "Loss over training steps".into(), size: Chart::SIZE, x, y, layers }.svg()?;
    let caption = "Both should fall. A held-out loss that rises while the training loss falls means overfitting.";
    Ok(Some(Figure { title: "Loss".into(), key, body, caption: caption.into(), wide: false }))
}

fn shares(log: &Log) -> Result<Option<Figure>> {
    let mut curves = BTreeMap::new();
    for (key, _) in log.iter().flatten() {
        if let Some(direction) = key.strip_prefix("evaluation.top10.") {
            curves.entry(direction).or_insert_with(|| series(log, key));
        }
    }
    curves.retain(|_, points| !points.is_empty());
    let Some(x) = steps_axis(curves.values().flatten()) else { return Ok(None) };
    let high = curves.values().flatten().map(|p| p.1).fold(0.0, f64::max);
    let y = Axis::percent("found among the first 10", high);
    let (mut key, mut layers) = (Vec::new(), Vec::new());
    for ((direction, points), colour) in curves.iter().zip(CLASSES.into_iter().chain(std::iter::repeat(OTHER))) {
        key.push((colour, direction.replacen('-', " → ", 1)));
        layers.push(Layer::Line { points: points.clone(), colour, width: 1.5, opacity: 1.0 });
        layers.push(dots(points, colour, |p| format!("{direction}, step {}: {:.1} %", p.0, 100.0 * p.1)));
    }
    let title = "Retrieval during training";
    let body = Chart { title: title.into(), size: Chart::SIZE, x, y, layers }.svg()?;
    let caption = "Share of held-out objects whose other modality is among the 10 nearest. Still rising at the end: \
                   train longer.";
    Ok(Some(Figure { title: title.into(), key, body, caption: caption.into(), wide: false }))
}

fn rate(log: &Log) -> Result<Option<Figure>> {
    let points = series(log, "learning_rate");
    let Some(x) = steps_axis(points.iter()) else { return Ok(None) };
    let Some(y) = Axis::linear("learning rate", points.iter().map(|p| p.1).chain([0.0])) else { return Ok(None) };
    let title = "Learning rate";
    let layers = vec![line(&points, 2.0, 1.0)];
    let body = Chart { title: title.into(), size: Chart::SIZE, x, y, layers }.svg()?;
    let caption = "The schedule as it was applied: warm-up, then decay.";
    Ok(Some(Figure { title: title.into(), key: Vec::new(), body, caption: caption.into(), wide: false }))
}

fn gradient(log: &Log) -> Result<Option<Figure>> {
    let points = series(log, "gradient_norm");
    let values: Vec<f64> = points.iter().map(|p| p.1).collect();
    let (Some(x), Some(y)) = (steps_axis(points.iter()), Axis::fitting("norm of the gradient", &values)) else {
        return Ok(None);
    };
    let title = "Gradient norm";
    let window = (points.len() / 40).max(1);
    let key = vec![(BLUE, format!("before clipping{}", smoothed_over(window)))];
    let layers = vec![line(&points, 1.0, 0.3), line(&smooth(&points, window), 2.0, 1.0)];
    let body = Chart { title: title.into(), size: Chart::SIZE, x, y, layers }.svg()?;
    let caption = "Calm is good. Spikes that grow ask for a lower learning rate, a fall to zero means that nothing is \
                   learned any more.";
    Ok(Some(Figure { title: title.into(), key, body, caption: caption.into(), wide: false }))
}

/// Step and value of the lines that have a finite `key`.
fn series(log: &Log, key: &str) -> Vec<(f64, f64)> {
    let point = |line: &Map<String, Value>| {
        let (step, value) = (line.get("step")?.as_f64()?, line.get(key)?.as_f64()?);
        value.is_finite().then_some((step, value))
    };
    log.iter().filter_map(point).collect()
}

fn steps_axis<'a>(points: impl Iterator<Item = &'a (f64, f64)>) -> Option<Axis> {
    Axis::linear("optimiser step", points.map(|p| p.0))
}

fn line(points: &[(f64, f64)], width: f64, opacity: f64) -> Layer {
    let points = spread(points.len(), POINTS).map(|i| points[i]).collect();
    Layer::Line { points, colour: BLUE, width, opacity }
}

fn dots(points: &[(f64, f64)], colour: RGBColor, title: impl Fn(&(f64, f64)) -> String) -> Layer {
    let dots = spread(points.len(), POINTS).map(|i| Dot { at: points[i], colour, title: title(&points[i]) }).collect();
    Layer::Dots { dots, radius: 3.0, opacity: 1.0 }
}

/// The mean of `window` values around each; fewer at the ends, the same on both sides, so that the curve doesn't lag.
fn smooth(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let mean = |i: usize| {
        let reach = (window / 2).min(i).min(points.len() - 1 - i);
        let around = &points[i - reach..=i + reach];
        around.iter().map(|p| p.1).sum::<f64>() / around.len() as f64
    };
    points.iter().enumerate().map(|(i, p)| (p.0, mean(i))).collect()
}

fn smoothed_over(window: usize) -> String {
    if window < 2 { String::new() } else { format!(", smoothed over {} lines of the log", 2 * (window / 2) + 1) }
}

/// To three digits, for text.
fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_a_straight_line_straight() {
        let points: Vec<(f64, f64)> = (0..9).map(|i| (f64::from(i), f64::from(3 * i))).collect();
        assert_eq!(smooth(&points, 4), points);
        assert_eq!(smooth(&[(0.0, 1.0), (1.0, 4.0), (2.0, 1.0)], 3)[1], (1.0, 2.0));
    }
}
