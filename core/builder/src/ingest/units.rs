//! Conversion between units of one kind by a factor.

/// Size of each unit, in the first one of its kind.
const KINDS: [&[(&str, f64)]; 6] = [
    &[
        ("angstrom", 1.0),
        ("angstroms", 1.0),
        ("aa", 1.0),
        ("a", 1.0),
        ("nm", 10.0),
        ("um", 1e4),
        ("micron", 1e4),
        ("mm", 1e7),
        ("cm", 1e8),
        ("m", 1e10),
    ],
    &[
        ("s", 1.0),
        ("second", 1.0),
        ("ms", 1e-3),
        ("min", 60.0),
        ("h", 3600.0),
        ("hr", 3600.0),
        ("d", 86400.0),
        ("day", 86400.0),
        ("yr", 31_557_600.0),
    ],
    &[
        ("deg", 1.0),
        ("degree", 1.0),
        ("degrees", 1.0),
        ("rad", 180.0 / std::f64::consts::PI),
        ("hourangle", 15.0),
        ("arcmin", 1.0 / 60.0),
        ("arcsec", 1.0 / 3600.0),
        ("mas", 1.0 / 3.6e6),
    ],
    &[
        ("jy", 1.0),
        ("mjy", 1e-3),
        ("ujy", 1e-6),
        ("njy", 1e-9),
        ("nmgy", 3.631e-6),
        ("nanomaggy", 3.631e-6),
        ("nanomaggies", 3.631e-6),
        ("maggy", 3631.0),
    ],
    &[("erg/s/cm2/angstrom", 1.0), ("w/m2/um", 0.1), ("w/m2/nm", 100.0)],
    &[("v", 1.0), ("mv", 1e-3), ("uv", 1e-6)],
];

/// `1e-17 erg/(s cm^2 Angstrom)` -> 1e-17 and `erg/s/cm2/angstrom`.
fn plain(unit: &str) -> (f64, String) {
    let unit = unit.trim();
    let (number, rest) = match unit.split_once([' ', '*']) {
        Some((first, rest)) => match first.trim_start_matches("10^").parse::<f64>() {
            Ok(power) if first.starts_with("10^") => (10f64.powf(power), rest),
            Ok(number) => (number, rest),
            Err(_) => (1.0, unit),
        },
        None => (1.0, unit),
    };
    // Case tells mega from milli, and nothing else that is known here.
    let rest = &rest.replace("MJy", "megajy").replace("MV", "megavolt");
    let mut text = rest.to_lowercase().replace("ang)", "angstrom)").replace(['^', '(', ')', '*'], " ");
    if text.ends_with("/ang") {
        text = text.replace("/ang", "/angstrom");
    }
    // `erg/ s cm 2 angstrom` after the replacement: what follows the first slash divides.
    let (above, below) = text.split_once('/').map_or((text.as_str(), ""), |(a, b)| (a, b));
    let below: Vec<String> = below
        .replace("cm 2", "cm2")
        .replace("m 2", "m2")
        .split([' ', '/'])
        .filter(|p| !p.is_empty())
        .map(str::to_owned)
        .collect();
    let mut name = above.trim().to_owned();
    for part in below {
        name += "/";
        name += &part;
    }
    (number, name)
}

/// What numbers in `from` are multiplied by to be in `to`; none if the two are not of one kind.
pub(super) fn factor(from: &str, to: &str) -> Option<f64> {
    let ((a, from), (b, to)) = (plain(from), plain(to));
    if from == to {
        return Some(a / b);
    }
    let size = |kind: &[(&str, f64)], unit: &str| kind.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size);
    KINDS.iter().find_map(|kind| Some(a * size(kind, &from)? / (b * size(kind, &to)?)))
}

#[cfg(test)]
mod tests {
    use super::factor;

    #[test]
    fn units_of_one_kind_convert_and_others_do_not() {
        let close = |from: &str, to: &str, expected: f64| {
            let found = factor(from, to).unwrap_or(f64::NAN);
            assert!((found / expected - 1.0).abs() < 1e-12, "{from} to {to}: {found}");
        };
        close("nm", "Angstrom", 10.0);
        close("Angstrom", "um", 1e-4);
        close("hourangle", "deg", 15.0);
        close("day", "s", 86400.0);
        close("1e-17 erg/s/cm^2/Ang", "erg/s/cm^2/Angstrom", 1e-17);
        close("erg/(s cm^2 Angstrom)", "1e-17 erg/s/cm2/Angstrom", 1e17);
        close("count", "count", 1.0);
        assert_eq!(factor("nm", "s"), None);
        assert_eq!(factor("MJy", "mJy"), None);
        assert_eq!(factor("mag", "Jy"), None);
    }
}
