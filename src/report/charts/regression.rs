//! Predicted against true numbers.

use super::super::RegressionPlot;
use super::axis::Axis;
use super::chart::{Chart, Dot, Layer};
use super::colours::{BLUE, REFERENCE};
use super::figure::Figure;
use super::{axis::number, spread};
use panchroma_core::Result;

/// More dots than this say no more.
const DOTS: usize = 2000;

/// A square scatter; `None` without a finite pair.
pub(in super::super) fn figure(plot: &RegressionPlot) -> Result<Option<Figure>> {
    let pairs: Vec<(f64, f64)> = plot.truth.iter().copied().zip(plot.predicted.iter().copied()).collect();
    let good: Vec<(f64, f64)> = pairs.into_iter().filter(|(t, p)| t.is_finite() && p.is_finite()).collect();
    let both = || good.iter().flat_map(|(t, p)| [*t, *p]);
    let axes = (
        Axis::linear(&format!("true {}", plot.name), both()),
        Axis::linear(&format!("predicted {}", plot.name), both()),
    );
    let (Some(x), Some(y)) = axes else { return Ok(None) };
    let dot = |i: usize| {
        let (t, p) = good[i];
        Dot { at: (t, p), colour: BLUE, title: format!("true {t:.3}, predicted {p:.3}") }
    };
    let dots = spread(good.len(), DOTS).map(dot).collect();
    let opacity = if good.len() > 400 { 0.35 } else { 0.6 };
    let layers = vec![
        Layer::Dots { dots, radius: 2.6, opacity },
        Layer::Line {
            points: vec![(x.range.0, x.range.0), (x.range.1, x.range.1)],
            colour: REFERENCE,
            width: 1.5,
            opacity: 1.0,
        },
    ];
    let title = format!("{} from {}", plot.name, plot.from);
    // What the labels leave is a square.
    let size = (Chart::SIZE.0, Chart::SIZE.0 - 24.0);
    let chart = Chart { title: format!("Predicted against true {title}"), size, x, y, layers };
    let r2 = if plot.r2.is_finite() { format!("R² = {:.2}", plot.r2) } else { "R² unknown".into() };
    let key =
        vec![(BLUE, format!("{r2}, {} held-out objects", number(good.len() as f64))), (REFERENCE, "perfect".into())];
    let caption = "A probe on frozen features. Dots along the dashed line are right; a flat band means that the \
                   probe falls back to the mean.";
    Ok(Some(Figure { title, key, body: chart.svg()?, caption: caption.into(), wide: false }))
}
