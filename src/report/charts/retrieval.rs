//! How many candidates one must look at to find an object's other modality.

use super::super::RetrievalPlot;
use super::axis::Axis;
use super::chart::{Chart, Layer};
use super::colours::{BLUE, REFERENCE, VERMILLION};
use super::figure::Figure;
use panchroma_core::Result;
use std::collections::BTreeMap;

/// One chart per pair of modalities, with both directions.
pub(in super::super) fn figures(plots: &[RetrievalPlot]) -> Result<Vec<Figure>> {
    let mut pairs: BTreeMap<[&str; 2], Vec<&RetrievalPlot>> = BTreeMap::new();
    for plot in plots.iter().filter(|plot| !plot.ranks.is_empty() && plot.pool > 0) {
        let mut pair = [plot.from.as_str(), plot.to.as_str()];
        pair.sort_unstable();
        pairs.entry(pair).or_default().push(plot);
    }
    // What was learned best comes first.
    let best = |plots: &[&RetrievalPlot]| plots.iter().map(|plot| share(plot, 10)).fold(0.0, f64::max);
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_by(|a, b| best(&b.1).total_cmp(&best(&a.1)));
    pairs.into_iter().filter_map(|(pair, plots)| figure(pair, &plots).transpose()).collect()
}

fn figure(pair: [&str; 2], plots: &[&RetrievalPlot]) -> Result<Option<Figure>> {
    let pool = plots.iter().map(|plot| plot.pool).max().unwrap_or(1);
    let Some(x) = Axis::log("k, number of nearest candidates", [1.0, pool.max(2) as f64]) else { return Ok(None) };
    let y = Axis::percent("partner among the first k", 1.0);
    let (mut key, mut layers) = (Vec::new(), Vec::new());
    for plot in plots {
        let points = ks(plot.pool).map(|k| (k as f64, k as f64 / plot.pool as f64)).collect();
        layers.push(Layer::Line { points, colour: REFERENCE, width: 1.5, opacity: 1.0 });
    }
    let ten = 10.min(pool);
    for (plot, colour) in plots.iter().zip([BLUE, VERMILLION]) {
        let points = ks(plot.pool).map(|k| (k as f64, share(plot, k))).collect();
        layers.push(Layer::Line { points, colour, width: 2.0, opacity: 1.0 });
        key.push((colour, format!("{} → {}, {:.0} % for k = {ten}", plot.from, plot.to, 100.0 * share(plot, ten))));
    }
    key.push((REFERENCE, format!("chance, {:.1} % for k = {ten}", 100.0 * ten as f64 / pool as f64)));
    let title = format!("{} and {}", pair[0], pair[1]);
    let chart = Chart { title: format!("Retrieval between {title}"), size: Chart::SIZE, x, y, layers };
    let caption = format!(
        "Share of {} held-out objects whose other modality is among the k nearest of {pool}. The further above the \
         dashed line, the better.",
        plots.iter().map(|plot| plot.ranks.len()).max().unwrap_or(0)
    );
    Ok(Some(Figure { title, key, body: chart.svg()?, caption, wide: false }))
}

fn share(plot: &RetrievalPlot, k: usize) -> f64 {
    plot.ranks.iter().filter(|rank| **rank <= k).count() as f64 / plot.ranks.len() as f64
}

/// Every k up to 20, then about 40 per decade, and the whole pool.
fn ks(pool: usize) -> impl Iterator<Item = usize> {
    let next = |k: &usize| Some(if *k < 20 { k + 1 } else { k + k / 18 });
    std::iter::successors(Some(1), next).take_while(move |k| *k < pool).chain([pool])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_count_the_partners_up_to_k() {
        let plot = RetrievalPlot { from: "a".into(), to: "b".into(), ranks: vec![1, 3, 3, 9], pool: 10 };
        assert_eq!([1, 2, 3, 10].map(|k| share(&plot, k)), [0.25, 0.25, 0.75, 1.0]);
        assert_eq!(ks(4).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(ks(1_000_000).count() < 250);
    }
}
