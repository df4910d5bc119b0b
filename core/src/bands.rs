//! Effective wavelengths of common photometric bands, so that a model sees where a band lies
//! instead of an arbitrary number: bands it has never seen are then close to those it has. And how
//! much the dust of the Galaxy takes there.
//!
//! Values are rounded to about 10 Å, which is far below a band's width. Sources: SVO Filter Profile
//! Service (Rodrigo et al. 2012, ivoa.rept 1015; Rodrigo & Solano 2020), for JWST and WISE its pivot wavelengths;
//! Bessell 1990, PASP 102, 1181; Fukugita et al. 1996, AJ 111, 1748 (SDSS); Tonry et al. 2012, ApJ 750, 99
//! (Pan-STARRS1); Cohen et al. 2003, AJ 126, 1090 (2MASS); Poole et al. 2008, MNRAS 383, 627 (Swift UVOT). Those of HSC
//! (Kawanomoto et al. 2018, PASJ 70, 66), DECam and Euclid are pivot wavelengths, computed from the transmission curves
//! of the package speclite. Photographic and unfiltered magnitudes have no standard band; theirs is the middle of the
//! emulsion's or detector's range.

use crate::{Result, Section};
use std::collections::BTreeMap;

/// Band and effective wavelength, Angstrom. Names are case-sensitive: `r` is SDSS, `R` is Bessell.
const BANDS: &[(&str, f64)] = &[
    // Johnson, Cousins, Bessell.
    ("U", 3600.0),
    ("B", 4400.0),
    ("V", 5500.0),
    ("R", 6500.0),
    ("Rc", 6500.0),
    ("R_c", 6500.0),
    ("I", 8000.0),
    ("Ic", 8000.0),
    ("I_c", 8000.0),
    // SDSS, Pan-STARRS, DES, LSST, ZTF.
    ("u", 3560.0),
    ("g", 4720.0),
    ("r", 6190.0),
    ("i", 7500.0),
    ("z", 8960.0),
    ("y", 9620.0),
    ("w", 6080.0),
    ("u'", 3560.0),
    ("g'", 4720.0),
    ("r'", 6190.0),
    ("i'", 7500.0),
    ("z'", 8960.0),
    ("gP1", 4810.0),
    ("rP1", 6170.0),
    ("iP1", 7520.0),
    ("zP1", 8660.0),
    ("yP1", 9620.0),
    ("wP1", 6080.0),
    // Wide bands: La Silla-QUEST, Gaia, ATLAS.
    ("gr", 5500.0),
    ("g+r", 5500.0),
    ("LSQGR", 5500.0),
    ("G", 6220.0),
    ("G_BP", 5110.0),
    ("G_RP", 7770.0),
    ("BP", 5110.0),
    ("RP", 7770.0),
    ("c", 5330.0),
    ("o", 6790.0),
    // Near and mid infrared.
    ("Z", 8780.0),
    ("Y", 10_300.0),
    ("J", 12_400.0),
    ("H", 16_500.0),
    ("K", 21_900.0),
    ("Ks", 21_600.0),
    ("K_s", 21_600.0),
    ("I1", 35_500.0),
    ("I2", 44_900.0),
    // WISE. `W1` and `W2` alone are as often those of Swift, in the ultraviolet: they need the survey's name.
    ("W3", 115_610.0),
    ("W4", 220_880.0),
    // Euclid.
    ("VIS", 7250.0),
    ("I_E", 7250.0),
    ("Y_E", 10_800.0),
    ("J_E", 13_640.0),
    ("H_E", 17_680.0),
    // JWST NIRCam.
    ("F090W", 9020.0),
    ("F115W", 11_540.0),
    ("F150W", 15_010.0),
    ("F200W", 19_890.0),
    ("F277W", 27_620.0),
    ("F356W", 35_680.0),
    ("F410M", 40_820.0),
    ("F444W", 44_040.0),
    // Ultraviolet: Swift UVOT, GALEX.
    ("UVW1", 2580.0),
    ("UVM2", 2250.0),
    ("UVW2", 2050.0),
    ("M2", 2250.0),
    ("b", 4350.0),
    ("v", 5430.0),
    ("NUV", 2300.0),
    ("FUV", 1540.0),
    // Hubble.
    ("F275W", 2710.0),
    ("F336W", 3350.0),
    ("F350LP", 5850.0),
    ("F435W", 4330.0),
    ("F438W", 4330.0),
    ("F475W", 4770.0),
    ("F555W", 5310.0),
    ("F606W", 5890.0),
    ("F625W", 6240.0),
    ("F775W", 7650.0),
    ("F814W", 8040.0),
    ("F850LP", 9170.0),
    ("F105W", 10_550.0),
    ("F110W", 11_530.0),
    ("F125W", 12_490.0),
    ("125W", 12_490.0),
    ("F140W", 13_920.0),
    ("F160W", 15_370.0),
    ("160W", 15_370.0),
    // Photographic, photovisual, unfiltered.
    ("pg", 4300.0),
    ("Bj", 4600.0),
    ("pv", 5500.0),
    ("C", 6000.0),
    ("clear", 6000.0),
    ("Clear", 6000.0),
    ("CLEAR", 6000.0),
];

/// Surveys and instruments that catalogues put before a band's name, as in `ztfg`, `hsc-r` or `ps1::r`, each with those of its
/// bands that are not the ones of that name above. Behind the survey's name case tells them apart no more: `hsc-g` is `HSC-G`.
const SURVEYS: &[(&str, Bands)] = &[
    ("ztf", SLOAN),
    ("lsst", SLOAN),
    ("sdss", SLOAN),
    ("ps1", SLOAN),
    ("panstarrs", SLOAN),
    ("atlas", &[]),
    ("kids", SLOAN),
    ("bessell", &[]),
    ("uvot", &[]),
    ("swift", &[]),
    ("jwst", &[]),
    ("nircam", &[]),
    ("hst", &[]),
    ("acs", &[]),
    ("wfc3", &[]),
    ("hsc", HSC),
    ("desi", DECAM),
    ("des", DECAM),
    ("decam", DECAM),
    ("legacysurvey", DECAM),
    ("legacy", DECAM),
    ("ls", DECAM),
    ("2mass", TWO_MASS),
    ("galex", GALEX),
    ("gaia", GAIA),
    ("wise", WISE),
    ("allwise", WISE),
    ("unwise", WISE),
    ("euclid", EUCLID),
];

type Bands = &'static [(&'static str, f64)];
/// As above: behind the survey's name `G` is not that of Gaia, nor `R` that of Bessell.
const SLOAN: Bands =
    &[("u", 3560.0), ("g", 4720.0), ("r", 6190.0), ("i", 7500.0), ("z", 8960.0), ("y", 9620.0), ("w", 6080.0)];
const HSC: Bands = &[("g", 4790.0), ("r", 6210.0), ("i", 7730.0), ("z", 8900.0), ("y", 9770.0)];
const DECAM: Bands = &[("u", 3860.0), ("g", 4810.0), ("r", 6420.0), ("i", 7810.0), ("z", 9170.0), ("y", 9900.0)];
const TWO_MASS: Bands = &[("j", 12_400.0), ("h", 16_500.0), ("k", 21_600.0), ("ks", 21_600.0)];
const GALEX: Bands = &[("fuv", 1540.0), ("nuv", 2300.0)];
const GAIA: Bands = &[("g", 6220.0), ("bp", 5110.0), ("rp", 7770.0)];
const WISE: Bands = &[("w1", 33_530.0), ("w2", 46_030.0), ("w3", 115_610.0), ("w4", 220_880.0)];
const EUCLID: Bands = &[("vis", 7250.0), ("y", 10_800.0), ("j", 13_640.0), ("h", 17_680.0)];

/// Effective wavelength of a band, Angstrom: from `own` if it is there, else from the built-in
/// table, with or without a survey's name before it; `None` if neither knows it.
#[must_use]
pub fn wavelength_angstrom(band: &str, own: &BTreeMap<String, f64>) -> Option<f64> {
    let band = band.trim();
    own.get(band).copied().or_else(|| built_in(band)).or_else(|| {
        SURVEYS.iter().find_map(|(survey, bands)| {
            let (head, rest) = band.split_at_checked(survey.len())?;
            let rest = rest.trim_start_matches([':', '_', '-', '.', '/', ' ']);
            let of_survey = bands.iter().find(|(known, _)| known.eq_ignore_ascii_case(rest));
            let found = of_survey.map(|(_, angstrom)| *angstrom).or_else(|| built_in(rest));
            found.filter(|_| head.eq_ignore_ascii_case(survey))
        })
    })
}

/// Wavelength of a name in the table.
fn built_in(name: &str) -> Option<f64> {
    let find = |name: &str| BANDS.iter().find(|(known, _)| *known == name).map(|(_, angstrom)| *angstrom);
    // `f444w` is no other filter than `F444W`: behind an F and digits case tells nothing apart.
    let is_filter = name.strip_prefix(['f', 'F']).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if is_filter { find(&name.to_ascii_uppercase()) } else { find(name) }
}

/// Checks the wavelengths that a config gives under `bands`.
///
/// # Errors
/// If one is not above 0; the error points at the key.
pub fn check_wavelengths(section: &Section, own: &BTreeMap<String, f64>) -> Result<()> {
    match own.iter().find(|(_, angstrom)| !(angstrom.is_finite() && **angstrom > 0.0)) {
        None => Ok(()),
        Some((band, angstrom)) => {
            let reason = format!("wavelength of band `{band}` must be above 0 Angstrom, got {angstrom}");
            Err(section.reject("bands", reason))
        }
    }
}

/// Wavelength in Angstrom and A / E(B-V).
const EXTINCTION: &[(f64, f64)] = &[
    (1540.0, 7.01),
    (2050.0, 7.93),
    (2300.0, 7.67),
    (2700.0, 5.54),
    (3000.0, 4.93),
    (3508.2, 4.334),
    (3586.8, 4.239),
    (4329.0, 3.626),
    (4716.7, 3.303),
    (5421.7, 2.742),
    (6165.1, 2.285),
    (6427.8, 2.169),
    (7475.9, 1.698),
    (8048.4, 1.505),
    (8922.9, 1.263),
    (9710.3, 1.088),
    (12_388.0, 0.723),
    (16_457.8, 0.460),
    (21_603.8, 0.310),
];

/// Extinction of the Galaxy's dust in magnitudes per magnitude of E(B-V), as that of Schlegel, Finkbeiner & Davis (1998), at
/// a wavelength in Angstrom.
///
/// From 3500 Angstrom on it joins the values for bands of Schlafly & Finkbeiner (2011, ApJ 737, 103, table 6, R_V = 3.1) by straight lines
/// in 1 / wavelength; below are values of the law that they use (Fitzpatrick 1999, PASP 111, 63) at their normalisation. Below
/// 1540 Angstrom it stays what it is there, behind 2.2 micrometres it falls as 1 / wavelength.
#[must_use]
pub fn extinction(angstrom: f64) -> f64 {
    let right = EXTINCTION.partition_point(|(w, _)| *w <= angstrom);
    match (right.checked_sub(1).and_then(|left| EXTINCTION.get(left)), EXTINCTION.get(right)) {
        (Some((w0, a0)), Some((w1, a1))) => {
            let t = (1.0 / angstrom - 1.0 / w0) / (1.0 / w1 - 1.0 / w0);
            a0 + t * (a1 - a0)
        }
        (Some((w, a)), None) => a * w / angstrom,
        (None, first) => first.map_or(0.0, |(_, a)| *a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extinction_agrees_with_the_law_it_follows() {
        // 0.885 times Fitzpatrick (1999), R_V = 3.1, by the package dust_extinction 1.7.
        for (angstrom, law) in [(4000.0, 4.412), (5000.0, 3.477), (7000.0, 2.133), (10_000.0, 1.168), (14_000.0, 0.661)]
        {
            let ours = extinction(angstrom) / 0.885;
            assert!((ours / law - 1.0).abs() < 0.05, "{angstrom}: {ours} {law}");
        }
        let steps: Vec<f64> = (0..400).map(|i| extinction(2100.0 + 100.0 * f64::from(i))).collect();
        assert!(steps.windows(2).all(|pair| pair[1] < pair[0] && pair[1] > 0.0));
        assert!(extinction(500.0) > 7.0);
    }

    #[test]
    fn bands_are_found_with_and_without_survey() {
        let own = BTreeMap::new();
        for name in ["g", "ztfg", "ps1::g", "LSST_g", "sdss g", " g "] {
            assert_eq!(wavelength_angstrom(name, &own), Some(4720.0), "{name}");
        }
        assert_eq!(wavelength_angstrom("UVOT:UVW1", &own), Some(2580.0));
    }

    #[test]
    fn bands_are_those_of_the_survey_before_them_whatever_its_case() {
        let own = BTreeMap::new();
        // As the Multimodal Universe has them, and others.
        for (name, angstrom) in [
            ("hsc-g", 4790.0),
            ("PS1-G", 4720.0),
            ("SDSS_R", 6190.0),
            ("ztf-R", 6190.0),
            ("HSC-Y", 9770.0),
            ("des-g", 4810.0),
            ("DES-R", 6420.0),
            ("desi", 7810.0),
            ("desi_z", 9170.0),
            ("legacy-z", 9170.0),
            ("ls_r", 6420.0),
            ("euclid-VIS", 7250.0),
            ("euclid-y", 10_800.0),
            ("Euclid_H", 17_680.0),
            ("gaia-G", 6220.0),
            ("gaia-g", 6220.0),
            ("Gaia_BP", 5110.0),
            ("2mass-j", 12_400.0),
            ("2MASS_Ks", 21_600.0),
            ("galex-nuv", 2300.0),
            ("wise-w1", 33_530.0),
            ("WISE_W4", 220_880.0),
            ("unWISE W2", 46_030.0),
            ("f090w", 9020.0),
            ("f277w", 27_620.0),
            ("F444W", 44_040.0),
            ("jwst-f356w", 35_680.0),
            ("acs_f606w", 5890.0),
            ("f814w", 8040.0),
        ] {
            assert_eq!(wavelength_angstrom(name, &own), Some(angstrom), "{name}");
        }
        // Swift has a `W1` and a `W2` (supernovae of the bundled data do), and its white light is no band.
        for name in ["W1", "W2", "UVOT:W", "hsc-w1", "euclid-g2", "f", "F1W"] {
            assert_eq!(wavelength_angstrom(name, &own), None, "{name}");
        }
    }

    #[test]
    fn case_tells_systems_apart() {
        let own = BTreeMap::new();
        assert_ne!(wavelength_angstrom("r", &own), wavelength_angstrom("R", &own));
    }

    #[test]
    fn own_bands_come_first_and_unknown_ones_are_none() {
        let own = BTreeMap::from([("g".to_owned(), 4900.0)]);
        assert_eq!(wavelength_angstrom("g", &own), Some(4900.0));
        for name in ["", "UVOT:X", "é", "ztf", "ztf€"] {
            assert_eq!(wavelength_angstrom(name, &own), None, "{name}");
        }
    }

    #[test]
    fn no_band_stands_twice_in_the_table() {
        let all: Vec<_> = SURVEYS.iter().map(|(_, bands)| *bands).chain([BANDS]).collect();
        for bands in all {
            let names: std::collections::BTreeSet<_> = bands.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), bands.len());
        }
        let surveys: std::collections::BTreeSet<_> = SURVEYS.iter().map(|(survey, _)| survey).collect();
        assert_eq!(surveys.len(), SURVEYS.len());
    }
}
