//! Real catalogues, against what pyarrow 20 or later finds in the same files.

use super::*;

fn real(name: &str, columns: &[Column]) -> Rows {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data").join(name);
    let catalogue = Catalogue::open(&DataConfig::at(path), columns).unwrap();
    catalogue.read(&(0..catalogue.len() as u32).collect::<Vec<_>>()).unwrap()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-9 * expected.abs(), "expected {expected}, got {found}");
}

#[test]
fn supernovae_read_as_pyarrow_reads_them() {
    let rows = real(
        "supernovae",
        &[
            Column::number("lightcurve.flux").list(),
            Column::number("lightcurve.flux_err").list(),
            Column::number("lightcurve.time").list(),
            Column::text("lightcurve.band").list(),
            Column::number("spectrum.ivar").list(),
            Column::number("spectrum.flux").list(),
            Column::flag("spectrum.mask").list(),
            Column::number("host_logmass"),
            Column::text("type"),
        ],
    );
    assert_eq!(rows.len(), 2771);
    let flux = rows.ragged_f32("lightcurve.flux").unwrap();
    let spectrum = rows.ragged_f32("spectrum.flux").unwrap();
    let count = |present: &[bool]| present.iter().filter(|p| **p).count();
    assert_eq!((count(&flux.present), count(&spectrum.present)), (1952, 1773));
    assert_eq!(flux.present.iter().zip(&spectrum.present).filter(|(a, b)| **a && **b).count(), 954);

    assert_eq!(flux.values.len(), 128_441);
    close(flux.values.iter().map(|&v| f64::from(v)).sum(), 20_372_679_562.913643);
    let errors = rows.ragged_f64("lightcurve.flux_err").unwrap().values;
    assert_eq!(errors.iter().filter(|v| v.is_nan()).count(), 7493);
    close(errors.iter().filter(|v| !v.is_nan()).sum(), 231_088_919.945_774_2);
    close(rows.ragged_f64("lightcurve.time").unwrap().values.iter().sum(), 6_940_950_842.071738);
    let bands = rows.ragged_text("lightcurve.band").unwrap().values;
    assert_eq!(bands.iter().filter(|b| *b == "B").count(), 17_827);
    let ivar = rows.ragged_f64("spectrum.ivar").unwrap();
    assert_eq!((count(&ivar.present), ivar.values.len()), (537, 526_410));
    close(ivar.values.iter().sum(), 389_057_088_502.258_6);
    let mask = rows.ragged_flags("spectrum.mask").unwrap().values;
    assert_eq!((mask.len(), mask.iter().filter(|m| **m).count()), (1_838_480, 0));
    let mass: Vec<f64> = rows.numbers("host_logmass").unwrap().into_iter().flatten().collect();
    assert_eq!(mass.len(), 459);
    close(mass.iter().sum(), 4487.341970443726);
    assert!(rows.texts("type").unwrap().iter().all(Option::is_some));
}

#[test]
fn images_of_alerts_have_three_axes() {
    let rows = real("ztf_alerts", &[Column::number("image.flux").depth(3), Column::text("image.view").list()]);
    let images = rows.ragged_f32("image.flux").unwrap();
    assert!((0..309).all(|i| images.shape(i) == Some(vec![3, 63, 63])));
    let first = rows.ids().iter().position(|id| id == "ZTF20abfcszi").unwrap();
    assert_eq!(images.row(first)[(63 + 2) * 63 + 3], 152.90332);
    assert_eq!(rows.ragged_text("image.view").unwrap().row(0), ["science", "template", "difference"]);
}
