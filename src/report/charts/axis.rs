//! An axis: its range, and where its labels stand.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// A linear or logarithmic axis.
#[derive(Clone)]
pub(super) struct Axis {
    pub(super) label: String,
    log: bool,
    /// Ends, in coordinates of the chart.
    pub(super) range: (f64, f64),
    /// Coordinate and text.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Covers the finite ones of `values` with a small margin; `None` if there are none.
    pub(super) fn linear(label: &str, values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = extent(values.into_iter())?;
        let margin = 0.03 * (high - low);
        // One factor for all, so that labels are short: 2, 4, 6 in units of 10⁻⁴.
        let power = low.abs().max(high.abs()).log10().floor() as i32;
        let factor = if (-2..5).contains(&power) { 1.0 } else { 10_f64.powi(power) };
        let unit = if factor == 1.0 { String::new() } else { format!(", in units of {}", power_of_ten(power)) };
        let ticks = steps(low, high).into_iter().map(|v| (v, number(v / factor))).collect();
        Some(Self { label: format!("{label}{unit}"), log: false, range: (low - margin, high + margin), ticks })
    }

    /// Covers the positive ones of `values`; `None` if there are none.
    pub(super) fn log(label: &str, values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = extent(values.into_iter().filter(|v| *v > 0.0).map(f64::log10))?;
        let span = high - low;
        let ticks: Vec<f64> = if span < 0.7 {
            steps(10_f64.powf(low), 10_f64.powf(high)).into_iter().filter(|v| *v > 0.0).collect()
        } else {
            let every = (span / 6.0).ceil() as i32;
            let decades = (low.floor() as i32..=high.ceil() as i32).filter(|d| d.rem_euclid(every) == 0);
            let parts: &[f64] = if span < 3.2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            decades.flat_map(|d| parts.iter().map(move |p| p * 10_f64.powi(d))).collect()
        };
        let margin = 0.03 * span;
        let inside = |at: &f64| *at >= low - margin && *at <= high + margin;
        let ticks = ticks.into_iter().map(|v| (v.log10(), number(v))).filter(|(at, _)| inside(at)).collect();
        Some(Self { label: label.into(), log: true, range: (low - margin, high + margin), ticks })
    }

    /// Logarithmic if the positive ones of `values` span more than a factor of 30, and all are positive.
    pub(super) fn fitting(label: &str, values: &[f64]) -> Option<Self> {
        let finite = || values.iter().copied().filter(|v| v.is_finite());
        let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(0.0, f64::max));
        if low > 0.0 && high > 30.0 * low { Self::log(label, finite()) } else { Self::linear(label, finite()) }
    }

    /// From 0 to `high` of 1, in percent.
    pub(super) fn percent(label: &str, high: f64) -> Self {
        let high = if high.is_finite() { high.clamp(0.01, 1.0) } else { 1.0 };
        let ticks = steps(0.0, 100.0 * high).into_iter().map(|v| (v / 100.0, format!("{} %", number(v)))).collect();
        Self { label: label.into(), log: false, range: (0.0, 1.03 * high), ticks }
    }

    /// Without numbers, for coordinates that have no unit.
    pub(super) fn bare(mut self) -> Self {
        self.ticks.clear();
        self
    }

    /// The coordinate of a value; not finite if it can't be drawn.
    pub(super) fn place(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }
}

/// Over coordinates, not values: plotters need not know of logarithms.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, at: &f64, limit: (i32, i32)) -> i32 {
        let share = (at - self.range.0) / (self.range.1 - self.range.0);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.iter().map(|tick| tick.0).collect() }
    }

    fn range(&self) -> Range<f64> {
        self.range.0..self.range.1
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(at: &f64) -> String {
        number(*at)
    }

    fn format_ext(&self, at: &f64) -> String {
        let nearest = self.ticks.iter().min_by(|a, b| (a.0 - at).abs().total_cmp(&(b.0 - at).abs()));
        nearest.map(|tick| tick.1.clone()).unwrap_or_default()
    }
}

/// Lowest and highest, apart enough to draw.
fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values.filter(|v| v.is_finite()).map(|v| (v, v)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
    let size = low.abs().max(high.abs());
    if high - low <= 1e-9 * size || size == 0.0 {
        let room = if size == 0.0 { 1.0 } else { 0.1 * size };
        return Some((low - room, high + room)).filter(|(a, b)| (b - a).is_finite());
    }
    Some((low, high)).filter(|_| (high - low).is_finite())
}

/// Multiples of 1, 2 or 5 times a power of ten between two numbers, four to eight of them.
fn steps(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 6.0;
    let power = 10_f64.powi(rough.log10().floor() as i32);
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough).unwrap_or(rough);
    let first = (low / step - 1e-9).ceil();
    (0..12).map(|i| (first + f64::from(i)) * step).take_while(|v| *v <= high + 1e-9 * step).collect()
}

/// As short as a label can be: `0.05`, `2000`, `3×10⁻⁵`.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let sign = if value < 0.0 { "−" } else { "" };
    if size < 1e-300 {
        return "0".into();
    }
    let trim = |text: String| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    if (1e-3..1e5).contains(&size) {
        return format!("{sign}{}", trim(format!("{size:.5}")));
    }
    let power = size.log10().floor() as i32;
    let power = if size / 10_f64.powi(power) > 9.9995 { power + 1 } else { power };
    let factor = trim(format!("{:.3}", size / 10_f64.powi(power)));
    let factor = if factor == "1" { String::new() } else { format!("{factor}×") };
    format!("{sign}{factor}{}", power_of_ten(power))
}

fn power_of_ten(power: i32) -> String {
    let power = power.to_string();
    let raised = power.chars().map(|c| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32(0x2070 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
    });
    format!("10{}", raised.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.05, -0.5, 2000.0, 1e-4, 3e-5, 250_000.0, 0.30000000000000004].map(number);
        assert_eq!(shown, ["0", "0.05", "−0.5", "2000", "10⁻⁴", "3×10⁻⁵", "2.5×10⁵", "0.3"]);
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(steps(0.0, 1.0), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        let axis = Axis::log("k", [1.0, 100.0]);
        let texts = |axis: Option<Axis>| axis.into_iter().flat_map(|a| a.ticks).map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(texts(axis), ["1", "2", "5", "10", "20", "50", "100"]);
        let axis = Axis::linear("rate", [0.0, 1e-4]);
        assert!(axis.as_ref().is_some_and(|a| a.label == "rate, in units of 10⁻⁴"));
        assert_eq!(texts(axis), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
    }

    #[test]
    fn an_axis_needs_a_finite_value() {
        assert!(Axis::linear("x", [f64::NAN, f64::INFINITY]).is_none());
        assert!(Axis::log("x", [0.0, -1.0]).is_none());
        assert!(Axis::linear("x", [-f64::MAX, f64::MAX]).is_none());
        assert!(Axis::linear("x", [3.0]).is_some_and(|a| a.range.0 < 3.0 && a.range.1 > 3.0));
    }
}
