//! Embeddings in two dimensions, coloured by class and by a number.

use super::super::EmbeddingMap;
use super::axis::{Axis, number};
use super::chart::{Chart, Dot, Layer};
use super::colours::{CLASSES, OTHER, scale};
use super::figure::Figure;
use super::spread;
use panchroma_core::Result;
use plotters::style::RGBColor;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// More dots than this hide each other.
const DOTS: usize = 4000;

const SIZE: (f64, f64) = (700.0, 480.0);

/// The map by class, and by number if there are numbers.
pub(in super::super) fn figures(map: &EmbeddingMap) -> Result<Vec<Figure>> {
    let points: Vec<(f64, f64)> = map.points.iter().map(|p| (f64::from(p[0]), f64::from(p[1]))).collect();
    let drawn: Vec<usize> =
        spread(points.len(), DOTS).filter(|i| points[*i].0.is_finite() && points[*i].1.is_finite()).collect();
    if drawn.is_empty() {
        return Ok(Vec::new());
    }
    let mut figures = vec![by_class(map, &points, &drawn)?];
    if let Some((name, values)) = &map.numbers {
        figures.extend(by_number(map, &points, &drawn, name, values)?);
    }
    Ok(figures)
}

fn by_class(map: &EmbeddingMap, points: &[(f64, f64)], drawn: &[usize]) -> Result<Figure> {
    let label = |i: usize| map.labels.get(i).map_or("", String::as_str);
    let mut classes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for i in drawn {
        classes.entry(label(*i)).or_default().push(*i);
    }
    let mut classes: Vec<(&str, Vec<usize>)> = classes.into_iter().collect();
    classes.sort_by_key(|(name, members)| (matches!(*name, "" | "unknown"), Reverse(members.len())));
    let named = classes.iter().filter(|(name, _)| !matches!(*name, "" | "unknown")).count().min(CLASSES.len());
    let rest: Vec<usize> = classes.iter().skip(named).flat_map(|(_, members)| members).copied().collect();
    classes.truncate(named);
    let mut key: Vec<(RGBColor, String)> = classes
        .iter()
        .zip(CLASSES)
        .map(|((name, members), colour)| (colour, format!("{name} ({})", members.len())))
        .collect();
    if !rest.is_empty() {
        key.push((OTHER, format!("{} ({})", if named == 0 { "objects" } else { "other or unknown" }, rest.len())));
    }
    // Frequent classes first, so that rare ones lie on top.
    let groups = [(&rest, OTHER)].into_iter().chain(classes.iter().map(|c| &c.1).zip(CLASSES));
    let dots =
        |(members, colour): (&Vec<usize>, RGBColor)| members.iter().map(move |i| (*i, colour)).collect::<Vec<_>>();
    let dots = groups.flat_map(dots).map(|(i, colour)| dot(map, points, i, colour, label(i))).collect();
    let mut layers = vec![Layer::Dots { dots, radius: radius(drawn.len()), opacity: 0.75 }];
    let (x, y) = axes(points, drawn)?;
    layers.extend(words(&classes, points, &x, &y));
    let title = "Map of the embeddings, by class";
    let body = Chart { title: title.into(), size: SIZE, x, y, layers }.svg()?;
    Ok(Figure { title: title.into(), key, body, caption: caption(map, drawn), wide: true })
}

fn by_number(
    map: &EmbeddingMap,
    points: &[(f64, f64)],
    drawn: &[usize],
    name: &str,
    values: &[f64],
) -> Result<Option<Figure>> {
    let value = |i: usize| values.get(i).copied().filter(|v| v.is_finite());
    let mut sorted: Vec<f64> = drawn.iter().filter_map(|i| value(*i)).collect();
    sorted.sort_by(f64::total_cmp);
    // The outermost 2 % share the end colours, so that one outlier doesn't make all others equal.
    let at = |share: f64| sorted.get((share * sorted.len().saturating_sub(1) as f64).round() as usize).copied();
    let (Some(low), Some(high)) = (at(0.02), at(0.98)) else { return Ok(None) };
    let share = |v: f64| if high > low { (v - low) / (high - low) } else { 0.5 };
    let colour = |i: usize| value(i).map_or(OTHER, |v| scale(share(v)));
    let text = |i: usize| value(i).map_or_else(|| "unknown".to_owned(), |v| format!("{name} {v:.3}"));
    let dots = drawn.iter().map(|i| dot(map, points, *i, colour(*i), &text(*i))).collect();
    let mut key: Vec<(RGBColor, String)> = (0..=4)
        .map(|i| {
            let share = f64::from(i) / 4.0;
            let value = low + share * (high - low);
            (scale(share), number(format!("{value:.1e}").parse().unwrap_or(value)))
        })
        .collect();
    if sorted.len() < drawn.len() {
        key.push((OTHER, "unknown".into()));
    }
    let (x, y) = axes(points, drawn)?;
    let layers = vec![Layer::Dots { dots, radius: radius(drawn.len()), opacity: 0.8 }];
    let title = format!("Map of the embeddings, by {name}");
    let body = Chart { title: title.clone(), size: SIZE, x, y, layers }.svg()?;
    Ok(Some(Figure { title, key, body, caption: caption(map, drawn), wide: true }))
}

fn dot(map: &EmbeddingMap, points: &[(f64, f64)], i: usize, colour: RGBColor, what: &str) -> Dot {
    let id = map.ids.get(i).map_or("", String::as_str);
    Dot { at: points[i], colour, title: format!("{id} {what}").trim().to_owned() }
}

/// The name of each class at its median, where it covers no other name.
fn words(classes: &[(&str, Vec<usize>)], points: &[(f64, f64)], x: &Axis, y: &Axis) -> Vec<Layer> {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let mut taken: Vec<(f64, f64, f64)> = Vec::new();
    let mut layers = Vec::new();
    for (name, members) in classes.iter().filter(|(_, members)| members.len() >= 3) {
        let of = |axis: fn(&(f64, f64)) -> f64| median(members.iter().map(|i| axis(&points[*i])).collect());
        let at = (of(|p| p.0), of(|p| p.1));
        // In pixels, near enough to see what overlaps.
        let width = 9.0 * name.chars().count() as f64;
        let across = (at.0 - x.range.0) / (x.range.1 - x.range.0) * SIZE.0;
        let up = (at.1 - y.range.0) / (y.range.1 - y.range.0) * SIZE.1;
        if taken.iter().all(|(a, u, w)| (a - across).abs() > (w + width) / 2.0 || (u - up).abs() > 18.0) {
            taken.push((across, up, width));
            layers.push(Layer::Words { at, text: (*name).to_owned() });
        }
    }
    layers
}

fn axes(points: &[(f64, f64)], drawn: &[usize]) -> Result<(Axis, Axis)> {
    let axis = |label: &str, of: fn(&(f64, f64)) -> f64| {
        Axis::linear(label, drawn.iter().map(|i| of(&points[*i]))).map(Axis::bare).ok_or_else(|| {
            panchroma_core::Error::Io {
                action: "draw",
                path: "map".into(),
                source: std::io::Error::other("its coordinates are too large"),
            }
        })
    };
    Ok((axis("first principal component", |p| p.0)?, axis("second principal component", |p| p.1)?))
}

fn radius(count: usize) -> f64 {
    if count > 1500 { 2.4 } else { 3.2 }
}

fn caption(map: &EmbeddingMap, drawn: &[usize]) -> String {
    let some = if drawn.len() < map.points.len() { format!(" {} of", drawn.len()) } else { String::new() };
    format!(
        "The two directions in which the embeddings of{some} {} held-out objects vary most (PCA). Colours played no \
         part in placing the points; what overlaps here may still be apart in other directions.",
        map.points.len()
    )
}
