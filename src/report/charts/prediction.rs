//! Posteriors of scalars: predicted against true, whether widths are right, and what single ones look like.

use super::super::PredictionPlot;
use super::axis::{Axis, number};
use super::chart::{Chart, Dot, Layer};
use super::colours::{BLUE, CLASSES, REFERENCE};
use super::figure::Figure;
use super::spread;
use panchroma_core::Result;

/// More objects than this say no more.
const DOTS: usize = 600;

/// Bars of the histogram of ranks.
const BARS: usize = 20;

/// The figures of one prediction.
pub(in super::super) fn figures(plot: &PredictionPlot) -> Result<Vec<Figure>> {
    let figures = [scatter(plot)?, ranks(plot)?, examples(plot)?];
    Ok(figures.into_iter().flatten().collect())
}

fn title(plot: &PredictionPlot) -> String {
    format!("{} from {}", plot.name, plot.given.join(" and "))
}

/// Posterior means with the central 68 %.
fn scatter(plot: &PredictionPlot) -> Result<Option<Figure>> {
    let finite = |i: &usize| {
        let ends = plot.central68.get(*i).copied().unwrap_or([f64::NAN; 2]);
        [plot.truth[*i], plot.predicted.get(*i).copied().unwrap_or(f64::NAN), ends[0], ends[1]]
            .iter()
            .all(|x| x.is_finite())
    };
    let good: Vec<usize> = (0..plot.truth.len()).filter(finite).collect();
    let drawn: Vec<usize> = spread(good.len(), DOTS).filter_map(|i| good.get(i).copied()).collect();
    let all = || good.iter().flat_map(|i| [plot.truth[*i], plot.predicted[*i]]);
    let axes =
        (Axis::linear(&format!("true {}", plot.name), all()), Axis::linear(&format!("predicted {}", plot.name), all()));
    let (Some(x), Some(y)) = axes else { return Ok(None) };
    let mut layers = Vec::with_capacity(drawn.len() + 2);
    for i in &drawn {
        let [low, high] = plot.central68[*i];
        let inside = |v: f64| v.clamp(y.range.0, y.range.1);
        let points = vec![(plot.truth[*i], inside(low)), (plot.truth[*i], inside(high))];
        layers.push(Layer::Line { points, colour: BLUE, width: 1.0, opacity: 0.25 });
    }
    let dot = |i: &usize| {
        let (t, p, [low, high]) = (plot.truth[*i], plot.predicted[*i], plot.central68[*i]);
        let title = format!("true {t:.3}, predicted {p:.3}, 68 % from {low:.3} to {high:.3}");
        Dot { at: (t, p), colour: BLUE, title }
    };
    layers.push(Layer::Dots { dots: drawn.iter().map(dot).collect(), radius: 2.4, opacity: 0.7 });
    layers.push(Layer::Line {
        points: vec![(x.range.0, x.range.0), (x.range.1, x.range.1)],
        colour: REFERENCE,
        width: 1.5,
        opacity: 1.0,
    });
    // What the labels leave is a square.
    let size = (Chart::SIZE.0, Chart::SIZE.0 - 24.0);
    let chart = Chart { title: format!("Predicted against true {}", title(plot)), size, x, y, layers };
    let r2 = if plot.r2.is_finite() { format!("R² = {:.2}", plot.r2) } else { "R² unknown".into() };
    let key =
        vec![(BLUE, format!("{r2}, {} held-out objects", number(good.len() as f64))), (REFERENCE, "perfect".into())];
    let caption = "Dots are means of posteriors, bars hold 68 % of each. Nothing of the objects' own values was given.";
    Ok(Some(Figure { title: title(plot), key, body: chart.svg()?, caption: caption.into(), wide: false }))
}

/// How often the truth lies at which share of the posterior: flat if the widths are right.
fn ranks(plot: &PredictionPlot) -> Result<Option<Figure>> {
    let mut counts = [0_usize; BARS];
    for share in plot.below.iter().filter(|share| share.is_finite()) {
        let bar = ((share * BARS as f64) as usize).min(BARS - 1);
        counts[bar] += 1;
    }
    let all: usize = counts.iter().sum();
    if all == 0 {
        return Ok(None);
    }
    let share = |count: usize| count as f64 / all as f64;
    let even = 1.0 / BARS as f64;
    // Of as many objects per bar, two standard deviations.
    let room = 2.0 * (even * (1.0 - even) / all as f64).sqrt();
    let highest = counts.iter().map(|count| share(*count)).fold(even + room, f64::max);
    let Some(x) = Axis::linear("posterior probability below the truth", [0.0, 1.0]) else { return Ok(None) };
    let y = Axis::percent("share of objects", highest);
    let steps = counts.iter().enumerate().flat_map(|(i, count)| {
        let (from, to) = (i as f64 * even, (i + 1) as f64 * even);
        [(from, 0.0, share(*count)), (to, 0.0, share(*count))]
    });
    let layers = vec![
        Layer::Band { points: steps.collect(), colour: BLUE, opacity: 0.55 },
        Layer::Line { points: vec![(0.0, even), (1.0, even)], colour: REFERENCE, width: 1.5, opacity: 1.0 },
        Layer::Band {
            points: vec![(0.0, (even - room).max(0.0), even + room), (1.0, (even - room).max(0.0), even + room)],
            colour: REFERENCE,
            opacity: 0.2,
        },
    ];
    let chart = Chart { title: format!("Calibration of {}", title(plot)), size: Chart::SIZE, x, y, layers };
    let key = vec![(BLUE, format!("{} held-out objects", number(all as f64))), (REFERENCE, "calibrated".into())];
    let caption = "Where in its posterior the truth of each object lies. Flat within the grey band: the widths are \
                   right. High at both ends: too narrow; high in the middle: too wide.";
    let title = format!("Calibration: {}", title(plot));
    Ok(Some(Figure { title, key, body: chart.svg()?, caption: caption.into(), wide: false }))
}

/// Densities of a few objects, with their truths.
fn examples(plot: &PredictionPlot) -> Result<Option<Figure>> {
    let mut curves = Vec::new();
    for example in &plot.examples {
        let range = example.edges.last().zip(example.edges.first()).map_or(1.0, |(last, first)| last - first);
        let bins = example.edges.windows(2).zip(&example.probabilities);
        let mut points = Vec::new();
        for (ends, p) in bins {
            let density = p / (ends[1] - ends[0]).max(1e-6 * range);
            points.extend([(ends[0], density), (ends[1], density)]);
        }
        if points.iter().all(|(x, y)| x.is_finite() && y.is_finite()) && !points.is_empty() {
            curves.push((example.truth, points));
        }
    }
    // A single narrow bin must not flatten all others.
    let mut heights: Vec<f64> = curves.iter().flat_map(|(_, points)| points.iter().map(|p| p.1)).collect();
    heights.sort_by(f64::total_cmp);
    let top = heights.get(heights.len().saturating_sub(1 + heights.len() / 200)).copied().unwrap_or(1.0);
    let xs = curves.iter().flat_map(|(truth, points)| points.iter().map(|p| p.0).chain([*truth]));
    let axes = (Axis::linear(&plot.name, xs), Axis::linear("probability density", [0.0, top]));
    let (Some(x), Some(y)) = axes else { return Ok(None) };
    let (mut layers, mut key) = (Vec::new(), Vec::new());
    for ((truth, points), colour) in curves.into_iter().zip(CLASSES) {
        layers.push(Layer::Line { points, colour, width: 1.6, opacity: 0.9 });
        let mark = vec![(truth, y.range.0), (truth, y.range.1)];
        layers.push(Layer::Line { points: mark, colour, width: 1.0, opacity: 0.6 });
        key.push((colour, format!("true {}", number((1e4 * truth).round() / 1e4))));
    }
    let chart = Chart { title: format!("Posteriors of {}", title(plot)), size: Chart::SIZE, x, y, layers };
    let caption = "Whole posteriors of held-out objects whose truths, the vertical lines, are spread over all.";
    let title = format!("Posteriors: {}", title(plot));
    Ok(Some(Figure { title, key, body: chart.svg()?, caption: caption.into(), wide: false }))
}
