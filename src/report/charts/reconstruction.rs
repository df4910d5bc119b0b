//! What held-out objects measured, and what a codec says of them from their codes.

use super::chart::Layer;
use super::colours::VERMILLION;
use super::figure::Figure;
use super::object::{Body, Drawing, coloured, samples};
use super::planes::{Plane, note, planes};
use crate::report::ReconstructionPlot;
use panchroma_builder::describe::{Pixels, Quantity, Sampled};
use panchroma_core::Result;
use panchroma_core::sketch::{self, Sketch};
use plotters::style::RGBColor;

/// A figure for each object that can be drawn.
pub(in super::super) fn figures(plots: &[ReconstructionPlot]) -> Result<Vec<Figure>> {
    plots.iter().filter_map(drawing).map(|drawing| drawing.figure()).collect()
}

fn drawing(plot: &ReconstructionPlot) -> Option<Drawing> {
    let title = format!("{}, {}", plot.object, plot.modality);
    match (&plot.measured, &plot.told) {
        (Sketch::Samples { axis, value, groups }, Sketch::Samples { groups: told, .. }) => {
            curves(&title, [axis, value], groups, told)
        }
        (Sketch::Planes { unit, planes }, Sketch::Planes { planes: told, .. }) => {
            Some(images(&title, unit, planes, told))
        }
        _ => None,
    }
}

fn curves(
    title: &str,
    [axis, value]: [&[String; 2]; 2],
    measured: &[(String, Vec<sketch::Sample>)],
    told: &[(String, Vec<sketch::Sample>)],
) -> Option<Drawing> {
    let quantity =
        |[name, unit]: &[String; 2]| Quantity { name: name.clone(), unit: (!unit.is_empty()).then(|| unit.clone()) };
    let sampled = |s: &sketch::Sample| Sampled { at: s.at, value: s.value, error: s.error };
    let groups: Vec<(String, Vec<Sampled>)> =
        measured.iter().map(|(name, all)| (name.clone(), all.iter().map(sampled).collect())).collect();
    let mut drawing = samples(title, &quantity(axis), &quantity(value), &groups)?;
    let Body::Chart(chart) = &mut drawing.body else { return None };
    let (low, high) = chart.y.range;
    for ((name, _), colour) in coloured(&groups) {
        // Alone, what is measured has the colour of what was measured.
        let colour: RGBColor = if name.is_empty() { VERMILLION } else { colour };
        let Some((_, line)) = told.iter().find(|(other, _)| other == name) else { continue };
        let inside = |value: f64| if (low..=high).contains(&value) { value } else { f64::NAN };
        let points = line.iter().map(|s| (s.at, inside(s.value))).collect();
        chart.layers.push(Layer::Line { points, colour, width: 1.5, opacity: 1.0 });
        if name.is_empty() {
            drawing.key.push((VERMILLION, "reconstructed".into()));
        }
    }
    drawing.note.insert_str(0, "Measured as dots, reconstructed from the codes as lines. ");
    Some(drawing)
}

fn images(title: &str, unit: &str, measured: &[sketch::Plane], told: &[sketch::Plane]) -> Drawing {
    let pixels = |planes: &[sketch::Plane]| -> Vec<Pixels> {
        let plane = |plane: &sketch::Plane| Pixels {
            label: plane.label.clone(),
            width: plane.width,
            scale: None,
            values: plane.values.iter().map(|v| v.unwrap_or(f32::NAN)).collect(),
        };
        planes.iter().map(plane).collect()
    };
    let [measured, told] = [measured, told].map(pixels);
    let unit = (!unit.is_empty()).then_some(unit);
    let note = format!("Measured, then reconstructed. {}", note(&measured, unit));
    let side = |own: &[Pixels], what: &str| -> Vec<Plane> {
        planes(own).into_iter().map(|plane| plane.labelled(|label| format!("{label}, {what}"))).collect()
    };
    let all = side(&measured, "measured").into_iter().chain(side(&told, "reconstructed"));
    Drawing { title: title.to_owned(), key: Vec::new(), note, body: Body::Planes(all.collect()) }
}
