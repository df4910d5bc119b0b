//! Units as files write them (`1e-17 erg/s/cm^2/Angstrom`, `10**(-19).erg.cm**(-2)`), and conversion by a factor.
//!
//! A unit is a number times powers of base quantities. Symbols that are not known are quantities of their own, so that
//! `count/s` converts to `count/min`.

use std::collections::BTreeMap;

/// Symbols with their size, the powers of metre, second, kilogram, degree and volt in them, and whether they take prefixes. Case
/// matters first, then not.
const SYMBOLS: [(&str, f64, [i32; 5], bool); 41] = [
    ("Angstrom", 1e-10, [1, 0, 0, 0, 0], false),
    ("Angstroms", 1e-10, [1, 0, 0, 0, 0], false),
    ("Ang", 1e-10, [1, 0, 0, 0, 0], false),
    ("AA", 1e-10, [1, 0, 0, 0, 0], false),
    ("A", 1e-10, [1, 0, 0, 0, 0], false),
    ("micron", 1e-6, [1, 0, 0, 0, 0], false),
    ("microns", 1e-6, [1, 0, 0, 0, 0], false),
    ("m", 1.0, [1, 0, 0, 0, 0], true),
    ("s", 1.0, [0, 1, 0, 0, 0], true),
    ("sec", 1.0, [0, 1, 0, 0, 0], false),
    ("second", 1.0, [0, 1, 0, 0, 0], false),
    ("seconds", 1.0, [0, 1, 0, 0, 0], false),
    ("min", 60.0, [0, 1, 0, 0, 0], false),
    ("minute", 60.0, [0, 1, 0, 0, 0], false),
    ("h", 3600.0, [0, 1, 0, 0, 0], false),
    ("hr", 3600.0, [0, 1, 0, 0, 0], false),
    ("hour", 3600.0, [0, 1, 0, 0, 0], false),
    ("d", 86400.0, [0, 1, 0, 0, 0], false),
    ("day", 86400.0, [0, 1, 0, 0, 0], false),
    ("days", 86400.0, [0, 1, 0, 0, 0], false),
    ("yr", 31_557_600.0, [0, 1, 0, 0, 0], true),
    ("Hz", 1.0, [0, -1, 0, 0, 0], true),
    ("g", 1e-3, [0, 0, 1, 0, 0], true),
    ("J", 1.0, [2, -2, 1, 0, 0], true),
    ("erg", 1e-7, [2, -2, 1, 0, 0], false),
    ("ergs", 1e-7, [2, -2, 1, 0, 0], false),
    ("eV", 1.602_176_634e-19, [2, -2, 1, 0, 0], true),
    ("W", 1.0, [2, -3, 1, 0, 0], true),
    ("Jy", 1e-26, [0, -2, 1, 0, 0], true),
    ("mgy", 3631e-26, [0, -2, 1, 0, 0], true),
    ("maggy", 3631e-26, [0, -2, 1, 0, 0], true),
    ("maggies", 3631e-26, [0, -2, 1, 0, 0], true),
    ("deg", 1.0, [0, 0, 0, 1, 0], false),
    ("degree", 1.0, [0, 0, 0, 1, 0], false),
    ("degrees", 1.0, [0, 0, 0, 1, 0], false),
    ("rad", 180.0 / std::f64::consts::PI, [0, 0, 0, 1, 0], true),
    ("hourangle", 15.0, [0, 0, 0, 1, 0], false),
    ("arcmin", 1.0 / 60.0, [0, 0, 0, 1, 0], false),
    ("arcsec", 1.0 / 3600.0, [0, 0, 0, 1, 0], true),
    ("as", 1.0 / 3600.0, [0, 0, 0, 1, 0], true),
    ("V", 1.0, [0, 0, 0, 0, 1], true),
];

/// Prefixes.
const PREFIXES: [(&str, f64); 13] = [
    ("n", 1e-9),
    ("u", 1e-6),
    ("µ", 1e-6),
    ("μ", 1e-6),
    ("m", 1e-3),
    ("c", 1e-2),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("p", 1e-12),
    ("nano", 1e-9),
    ("micro", 1e-6),
];

/// Names of the base quantities in [`SYMBOLS`].
const BASE: [&str; 5] = ["m", "s", "kg", "deg", "V"];

/// A number times powers of quantities.
#[derive(Clone, Debug, PartialEq)]
struct Unit {
    size: f64,
    powers: BTreeMap<String, i32>,
}

impl Unit {
    fn number(size: f64) -> Self {
        Self { size, powers: BTreeMap::new() }
    }

    /// Times another to a power.
    fn times(mut self, other: &Self, power: i32) -> Self {
        self.size *= other.size.powi(power);
        for (name, own) in &other.powers {
            *self.powers.entry(name.clone()).or_default() += own * power;
        }
        self.powers.retain(|_, power| *power != 0);
        self
    }

    fn symbol(text: &str) -> Self {
        let find = |name: &str| {
            let exact = SYMBOLS.iter().find(|s| s.0 == name);
            // `ANGSTROM` and `Sec`, but not `MIN` for anything short.
            exact.or_else(|| SYMBOLS.iter().find(|s| s.0.len() > 2 && s.0.eq_ignore_ascii_case(name)))
        };
        let known = |&(_, size, powers, _): &(&str, f64, [i32; 5], bool), by: f64| {
            let powers = BASE.iter().zip(powers).filter(|(_, p)| *p != 0);
            Self { size: size * by, powers: powers.map(|(name, p)| ((*name).to_owned(), p)).collect() }
        };
        if let Some(found) = find(text) {
            return known(found, 1.0);
        }
        let with_prefix = PREFIXES.iter().find_map(|(prefix, by)| {
            let found = find(text.strip_prefix(prefix)?).filter(|found| found.3)?;
            Some(known(found, *by))
        });
        with_prefix.unwrap_or_else(|| Self { size: 1.0, powers: BTreeMap::from([(text.to_owned(), 1)]) })
    }
}

/// Reads a unit from its characters.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, blanks: &[char]) {
        self.rest = self.rest.trim_start_matches(blanks);
    }

    /// Takes `text` if it comes next.
    fn take(&mut self, text: &str) -> bool {
        let found = self.rest.strip_prefix(text);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn while_(&mut self, inside: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !inside(c)).unwrap_or(self.rest.len());
        let (found, rest) = self.rest.split_at(end);
        self.rest = rest;
        found
    }

    /// Factors until the end or a closing bracket.
    fn product(&mut self) -> Option<Unit> {
        let mut unit = Unit::number(1.0);
        let mut sign = 1;
        loop {
            self.skip(&[' ', '\t']);
            if self.rest.is_empty() || self.rest.starts_with(')') {
                return Some(unit);
            }
            if self.take("/") {
                sign = -1;
                continue;
            }
            // A dot or star between factors; `**` belongs to a power.
            if self.take(".") || self.take("*") || self.take("·") {
                continue;
            }
            let factor = self.factor()?;
            let power = self.power()?;
            unit = unit.times(&factor, sign * power);
            sign = 1;
        }
    }

    fn factor(&mut self) -> Option<Unit> {
        if self.take("(") {
            let inside = self.product()?;
            return self.take(")").then_some(inside);
        }
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return self.number();
        }
        let symbol = self.while_(|c| c.is_alphabetic() || c == '_' || c == '%');
        (!symbol.is_empty()).then(|| Unit::symbol(symbol))
    }

    /// `1e-17`, or a power of ten: `10^-17`, `10**(-17)`, `10-17`.
    fn number(&mut self) -> Option<Unit> {
        let digits = self.while_(|c| c.is_ascii_digit() || c == '.');
        // A dot that ends a number parts it from the next factor.
        let plain = digits.trim_end_matches('.');
        let exponent = self.rest.strip_prefix(['e', 'E']).and_then(|rest| {
            let sign = usize::from(rest.starts_with(['-', '+']));
            let digits = rest.get(sign..)?.chars().take_while(char::is_ascii_digit).count();
            let (text, rest) = (digits > 0).then(|| rest.split_at(sign + digits))?;
            Some((text.parse::<i32>().ok()?, rest))
        });
        let value: f64 = plain.parse().ok()?;
        match exponent {
            Some((exponent, rest)) => {
                self.rest = rest;
                Some(Unit::number(format!("{plain}e{exponent}").parse().ok()?))
            }
            None if plain == "10" && self.rest.starts_with(['^', '*', '-', '+']) => {
                // Exactly, which powers of 10 by multiplication are not.
                let power = self.power()?;
                Some(Unit::number(format!("1e{power}").parse().ok()?))
            }
            None => Some(Unit::number(value)),
        }
    }

    /// `2`, `-2`, `^-2`, `**(-2)`; 1 if there is none.
    fn power(&mut self) -> Option<i32> {
        let marked = self.take("**") || self.take("^");
        let bracket = marked && self.take("(");
        let start = self.rest;
        let sign = if self.take("-") { -1 } else { 1 };
        let _ = sign == 1 && self.take("+");
        let digits = self.while_(|c| c.is_ascii_digit());
        if digits.is_empty() {
            self.rest = start;
            return (!marked).then_some(1);
        }
        if bracket && !self.take(")") {
            return None;
        }
        Some(sign * digits.parse::<i32>().ok()?)
    }
}

fn read(text: &str) -> Option<Unit> {
    let mut reader = Reader { rest: text.trim() };
    let unit = reader.product()?;
    reader.rest.is_empty().then_some(unit)
}

/// What numbers in `from` are multiplied by to be in `to`; none if the two are not of one kind.
pub(crate) fn factor(from: &str, to: &str) -> Option<f64> {
    if from.trim() == to.trim() {
        return Some(1.0);
    }
    let (from, to) = (read(from)?, read(to)?);
    let factor = from.size / to.size;
    // 1e-10 and 1e-9 are not exact, their ratio is meant to be.
    let near = factor.recip().round();
    let exact = if (factor * near - 1.0).abs() < 1e-14 && near > 0.0 { near.recip() } else { factor };
    let exact = if (factor / factor.round() - 1.0).abs() < 1e-14 { factor.round() } else { exact };
    (from.powers == to.powers).then_some(exact)
}

#[cfg(test)]
mod tests {
    use super::factor;

    fn close(from: &str, to: &str, expected: f64) {
        let found = factor(from, to).unwrap_or(f64::NAN);
        assert!((found / expected - 1.0).abs() < 1e-12, "{from} to {to}: {found}");
    }

    #[test]
    fn units_of_one_kind_convert_and_others_do_not() {
        close("nm", "Angstrom", 10.0);
        close("Angstrom", "um", 1e-4);
        close("hourangle", "deg", 15.0);
        close("day", "s", 86400.0);
        close("mas", "arcsec", 1e-3);
        close("nanomaggy", "Jy", 3.631e-6);
        close("Ms", "s", 1e6);
        close("ms", "s", 1e-3);
        close("MJy", "mJy", 1e9);
        close("uV", "mV", 1e-3);
        close("count", "count", 1.0);
        close("count/s", "count/min", 60.0);
        for (from, to) in [("nm", "s"), ("mag", "Jy"), ("Jy", "erg/s/cm2/Angstrom"), ("erg/(s", "erg/s"), ("", "m")] {
            assert_eq!(factor(from, to), None, "{from} to {to}");
        }
    }

    #[test]
    fn flux_densities_are_read_however_they_are_written() {
        for text in [
            "1e-17 erg/s/cm^2/Ang",
            "1E-17 erg/cm^2/s/Ang",
            "1e-17 erg / (Angstrom s cm2)",
            "1e-17 Angstrom-1 cm-2 erg s-1",
            "10**(-17).erg.cm**(-2).s**(-1).Angstrom**(-1)",
            "10^-17 erg/s/cm2/A",
            "10-17 ergs s^-1 cm^-2 ANGSTROM^-1",
            "1.0e-17*erg/(s*cm**2*AA)",
        ] {
            close(text, "erg/s/cm^2/Angstrom", 1e-17);
        }
        // astropy 8.0: (1 * u.W / u.m**2 / u.um).to(u.erg / u.s / u.cm**2 / u.AA)
        close("W m-2 um-1", "erg/s/cm2/Angstrom", 0.1);
        close("W/m2/nm", "erg/s/cm2/Angstrom", 100.0);
        // Inverse variances and the like.
        close("(Jy)^-2", "mJy^-2", 1e-6);
    }

    #[test]
    fn ratios_that_are_whole_are_exact() {
        assert_eq!(factor("nm", "Angstrom"), Some(10.0));
        assert_eq!(factor("Angstrom", "nm"), Some(0.1));
        assert_eq!(factor("1e-17 erg/s/cm2/Angstrom", "erg/s/cm2/Angstrom"), Some(1e-17));
    }
}
