//! What is drawn of an object, and where.

use super::chart::{Chart, Layer, Surface};
use super::colours::BLUE;
use super::letters::pixels;
use super::object::{Drawing, drawings};
use super::{axis::Axis, letters, paint};
use panchroma_builder::describe::{Measured, Pixels, Quantity, Sampled};
use plotters::prelude::{BitMapBackend, IntoDrawingArea};
use plotters::style::WHITE;

fn chart(layers: Vec<Layer>) -> Chart {
    let axis = |label: &str| Axis::linear(label, [0.0, 1.0]).unwrap();
    Chart { title: "zigzag".into(), size: (100.0, 80.0), x: axis("x"), y: axis("y"), layers }
}

/// Bytes of the chart, three per pixel.
fn bitmap(chart: &Chart) -> Vec<u8> {
    let (width, height) = (pixels(chart.size.0) as u32, pixels(chart.size.1) as u32);
    let mut bytes = vec![0; (3 * width * height) as usize];
    let area = BitMapBackend::with_buffer(&mut bytes, (width, height)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    chart.draw_on(&area, Surface::Bitmap).unwrap();
    drop(area);
    bytes
}

#[test]
fn a_line_stays_between_the_axes() {
    // Back and forth between the axes, so steep that corners without limit would be spikes; and far beyond them.
    let steep = |i: u32| (0.3 + 0.001 * f64::from(i), if i.is_multiple_of(2) { 0.2 } else { 0.8 });
    let beyond = [(0.6, 0.5), (0.7, 40.0), (0.8, -40.0), (0.9, 0.5)];
    let points: Vec<(f64, f64)> = (0..200).map(steep).chain(beyond).collect();
    let drawn = bitmap(&chart(vec![Layer::Line { points, colour: BLUE, width: 1.0, opacity: 0.9 }]));
    let bare = bitmap(&chart(Vec::new()));
    // 8 above, 46 below, in pixels of the page; half of the line's width may lie beyond.
    let (top, bottom) = (pixels(8.0 - 1.0), pixels(80.0 - 46.0 + 1.0));
    let row = 3 * pixels(100.0) as usize;
    for (y, (drawn, bare)) in drawn.chunks(row).zip(bare.chunks(row)).enumerate() {
        let inside = (top..=bottom).contains(&(y as i32));
        assert!(inside || drawn == bare, "line {y} of pixels is outside and not as without the line");
    }
    assert!(drawn != bare);
}

#[test]
fn a_line_that_leaves_the_axes_is_cut_where_it_crosses_them() {
    let line = |points: &[(f64, f64)]| {
        let points = points.to_vec();
        chart(vec![Layer::Line { points, colour: BLUE, width: 1.0, opacity: 1.0 }]).svg().unwrap()
    };
    let polyline = |svg: &str| {
        let of = svg.lines().filter(|l| l.contains("<polyline") && l.contains("#0072B2")).map(str::to_owned);
        of.collect::<Vec<_>>()
    };
    // The axis goes from -0.03 to 1.03: of a line from (0, 0) to (1, 2.06), half.
    assert_eq!(polyline(&line(&[(0.0, 0.0), (1.0, 2.06)])), polyline(&line(&[(0.0, 0.0), (0.5, 1.03)])));
    // Up and down again is two parts; what lies wholly beyond is none.
    assert_eq!(polyline(&line(&[(0.0, 0.0), (0.5, 5.0), (1.0, 0.0)])).len(), 2);
    assert_eq!(polyline(&line(&[(0.0, 2.0), (1.0, 2.0)])).len(), 0);
}

fn sampled(values: impl IntoIterator<Item = (f64, f64)>) -> Vec<Sampled> {
    values.into_iter().enumerate().map(|(i, (value, error))| Sampled { at: i as f64, value, error }).collect()
}

fn along(axis: &str, groups: Vec<(String, Vec<Sampled>)>) -> Measured {
    let quantity = |name: &str| Quantity { name: name.into(), unit: None };
    Measured::Samples { name: "seen".into(), axis: quantity(axis), value: quantity("flux"), groups, left_out: 0 }
}

fn page(measured: Measured) -> String {
    let (drawings, undrawn) = drawings(&[measured]);
    assert!(undrawn.is_empty());
    drawings.iter().map(|d| d.figure().unwrap().html()).collect()
}

fn triangles(page: &str) -> usize {
    page.lines().filter(|line| line.starts_with("<polygon") && line.matches(',').count() == 3).count()
}

/// Whether an axis has such a label.
fn labelled(page: &str, label: &str) -> bool {
    page.lines().any(|line| line == label)
}

/// 100 values between 0 and 1, one of which is replaced.
fn with(one: f64) -> Vec<(f64, f64)> {
    (0..100).map(|i| (if i == 50 { one } else { f64::from(i % 11) / 10.0 }, 0.0)).collect()
}

#[test]
fn a_line_is_drawn_to_its_top_unless_all_else_would_be_flat() {
    // 19 times as high as the rest: the axis goes there. 21 times: it stays, and a triangle says so.
    let near = page(along("lambda", vec![(String::new(), sampled(with(19.0)))]));
    assert!(labelled(&near, "15") && triangles(&near) == 0, "{near}");
    let far = page(along("lambda", vec![(String::new(), sampled(with(21.0)))]));
    assert!(labelled(&far, "0.8") && triangles(&far) == 1, "{far}");
    assert!(far.contains("Triangles stand where something lies beyond the edge."));
}

#[test]
fn errors_widen_the_axis_to_twice_its_length_and_are_cut_beyond() {
    // Values from 0 to 1: bars to 1.4 fit, for the axis may end at 1.5 and -0.5; bars from -1 to 3 are cut.
    let bars = |error: f64| page(along("time", vec![("g".into(), sampled([(0.0, 0.1), (0.5, 0.1), (1.0, error)]))]));
    assert!(triangles(&bars(0.4)) == 0);
    assert!(
        labelled(&bars(2.0), "−0.5") && !labelled(&bars(2.0), "−1") && triangles(&bars(2.0)) == 2,
        "above and below"
    );
    assert!(bars(0.4).contains("Bars are one standard deviation."));
}

#[test]
fn a_caption_speaks_of_errors_only_where_there_are_some() {
    let spectrum = |error: f64| page(along("lambda", vec![(String::new(), sampled([(0.0, error), (1.0, error)]))]));
    assert!(spectrum(0.1).contains("The light band is one standard deviation") && spectrum(0.1).contains("<polygon"));
    assert!(!spectrum(0.0).contains("standard deviation") && !spectrum(0.0).contains("<polygon"));
}

#[test]
fn one_sample_is_no_samples() {
    let page = page(along("time", vec![("g".into(), sampled([(1.0, 0.1)])), ("r".into(), sampled([(1.0, 0.1); 2]))]));
    assert!(page.contains("g, 1 sample<") && page.contains("r, 2 samples<"), "{page}");
}

#[test]
fn images_say_how_wide_they_are_on_the_sky() {
    let plane = |label: &str, width, count, scale: Option<f64>| Pixels {
        label: label.into(),
        width,
        scale: scale.map(|s| (s, "arcsec".into())),
        values: vec![1.0; count],
    };
    let note = |planes| {
        let image = Measured::Planes { name: "image".into(), unit: Some("nJy".into()), planes };
        drawings(&[image]).0.iter().map(Drawing::note).collect::<String>()
    };
    // 64 pixels of 0.262 arcseconds are 16.768, 32 are 8.384; rounded to four digits.
    let one = note(vec![plane("g", 64, 64 * 32, Some(0.262)), plane("r", 64, 64 * 32, Some(0.262))]);
    assert!(one.starts_with("64 × 32 pixels of 0.262 arcsec: 16.77 × 8.384 arcsec, in nJy. "), "{one}");
    let two = note(vec![plane("g", 2, 4, None), plane("r", 3, 9, None)]);
    assert!(two.starts_with("g: 2 × 2 pixels; r: 3 × 3 pixels, in nJy. "), "{two}");
}

#[test]
fn letters_that_the_font_lacks_are_question_marks() {
    assert_eq!(letters::readable("Ünï-天体 α🚀 Å"), "Ünï-?? α? Å");
}

#[test]
fn a_picture_of_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let bands = (0..30).map(|i| (format!("band-number-{i}"), sampled([(f64::from(i), 0.1)]))).collect();
    let (drawn, _) = drawings(&[along("time", bands), along("lambda", vec![(String::new(), sampled(with(1e9)))])]);
    let facts = vec![("a column with a long name".to_owned(), "and a value that does not fit ".repeat(3)); 4];
    let sentences = vec!["`phot` can't be drawn: ".to_owned() + &"it holds no numbers ".repeat(20)];
    paint(&path, "天", &facts, &sentences, &drawn).unwrap();
    assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
}
