//! The kinds of tokens that AION-1 knows: which codec makes them, how many there are, and how many codes they have.
//!
//! Source: the tables of the Python package `polymathic-aion` 0.0.2 (`fourm/modality_info.py`, `modalities.py`,
//! `codecs/config.py`), as data.

/// What makes the tokens of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecClass {
    /// Images of several bands: an autoencoder of convolutions.
    Image,
    /// Spectra: an autoencoder of convolutions.
    Spectrum,
    /// Maps of one value per pixel: an autoencoder of convolutions.
    Field,
    /// Quantiles of a number.
    Quantiles,
    /// Quantiles of a number's logarithm.
    LogQuantiles,
    /// Several numbers, each with quantiles of its own.
    Several,
    /// Equal steps of a number.
    Grid,
    /// A list of sources: places and shapes.
    Catalogue,
}

/// How the tokens of an object lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// So many lines and columns, row by row; a number is one of each.
    Grid(usize, usize),
    /// One behind the other, at most so many; places are counted among those that are given.
    Sequence(usize),
}

/// One kind of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AionKind {
    /// What the weights call it.
    pub key: &'static str,
    /// The folder of its codec below `codecs`.
    pub codec: &'static str,
    /// The class of its codec.
    pub class: CodecClass,
    /// Number of different codes.
    pub vocabulary: usize,
    /// How many tokens, and how they lie.
    pub layout: Layout,
    /// The number by which the Python package marks its tokens.
    pub id: u16,
}

impl AionKind {
    /// The kind that the weights call `key`.
    #[must_use]
    pub fn of(key: &str) -> Option<&'static Self> {
        AION_KINDS.iter().find(|kind| kind.key == key)
    }

    /// What we call it: `key` without `tok_`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.key.strip_prefix("tok_").unwrap_or(self.key)
    }

    /// Most tokens per object.
    #[must_use]
    pub fn tokens(&self) -> usize {
        match self.layout {
            Layout::Grid(lines, columns) => lines * columns,
            Layout::Sequence(most) => most,
        }
    }

    /// Whether its tokens are a sequence: a decoder predicts the next from those before it, not all from nothing.
    #[must_use]
    pub fn is_sequence(&self) -> bool {
        matches!(self.layout, Layout::Sequence(_))
    }
}

/// A single number with 1024 codes.
const fn one(key: &'static str, codec: &'static str, class: CodecClass, id: u16) -> AionKind {
    AionKind { key, codec, class, vocabulary: 1024, layout: Layout::Grid(1, 1), id }
}

const fn many(
    key: &'static str,
    codec: &'static str,
    class: CodecClass,
    vocabulary: usize,
    layout: Layout,
    id: u16,
) -> AionKind {
    AionKind { key, codec, class, vocabulary, layout, id }
}

/// All kinds, in the order of the package.
pub const AION_KINDS: [AionKind; 40] = [
    many("tok_image_hsc", "image", CodecClass::Image, 4375, Layout::Grid(24, 24), 13799),
    one("tok_mag_g", "g_cmodel_mag", CodecClass::Quantiles, 28104),
    one("tok_mag_r", "r_cmodel_mag", CodecClass::Quantiles, 25658),
    one("tok_mag_i", "i_cmodel_mag", CodecClass::Quantiles, 32529),
    one("tok_mag_z", "z_cmodel_mag", CodecClass::Quantiles, 23041),
    one("tok_mag_y", "y_cmodel_mag", CodecClass::Quantiles, 6731),
    one("tok_a_g", "a_g", CodecClass::Quantiles, 17883),
    one("tok_a_r", "a_r", CodecClass::Quantiles, 1702),
    one("tok_a_i", "a_i", CodecClass::Quantiles, 25778),
    one("tok_a_z", "a_z", CodecClass::Quantiles, 21929),
    one("tok_a_y", "a_y", CodecClass::Quantiles, 21195),
    one("tok_shape11", "i_sdssshape_shape11", CodecClass::Quantiles, 19508),
    one("tok_shape12", "i_sdssshape_shape12", CodecClass::Quantiles, 31216),
    one("tok_shape22", "i_sdssshape_shape22", CodecClass::Quantiles, 24183),
    many("tok_image", "image", CodecClass::Image, 4375, Layout::Grid(24, 24), 18665),
    many("tok_segmap", "segmentation_map", CodecClass::Field, 1000, Layout::Grid(12, 12), 11864),
    one("tok_ebv", "EBV", CodecClass::Quantiles, 20985),
    one("tok_flux_g", "FLUX_G", CodecClass::LogQuantiles, 14685),
    one("tok_flux_r", "FLUX_R", CodecClass::LogQuantiles, 27058),
    one("tok_flux_i", "FLUX_I", CodecClass::LogQuantiles, 7805),
    one("tok_flux_z", "FLUX_Z", CodecClass::LogQuantiles, 9109),
    one("tok_flux_w1", "FLUX_W1", CodecClass::LogQuantiles, 23337),
    one("tok_flux_w2", "FLUX_W2", CodecClass::LogQuantiles, 12933),
    one("tok_flux_w3", "FLUX_W3", CodecClass::LogQuantiles, 23208),
    one("tok_flux_w4", "FLUX_W4", CodecClass::LogQuantiles, 14980),
    one("tok_shape_r", "SHAPE_R", CodecClass::LogQuantiles, 19813),
    one("tok_shape_e1", "SHAPE_E1", CodecClass::Quantiles, 14025),
    one("tok_shape_e2", "SHAPE_E2", CodecClass::Quantiles, 16284),
    many("tok_spectrum_desi", "spectrum", CodecClass::Spectrum, 1024, Layout::Grid(273, 1), 289),
    many("tok_spectrum_sdss", "spectrum", CodecClass::Spectrum, 1024, Layout::Grid(273, 1), 2489),
    many("tok_z", "Z", CodecClass::Grid, 1025, Layout::Grid(1, 1), 9755),
    many("catalog", "catalog", CodecClass::Catalogue, 3468, Layout::Sequence(512), 12119),
    many("tok_xp_bp", "bp_coefficients", CodecClass::Several, 1024, Layout::Grid(55, 1), 14064),
    many("tok_xp_rp", "rp_coefficients", CodecClass::Several, 1024, Layout::Grid(55, 1), 13385),
    one("tok_flux_g_gaia", "phot_g_mean_flux", CodecClass::LogQuantiles, 13180),
    one("tok_flux_bp_gaia", "phot_bp_mean_flux", CodecClass::LogQuantiles, 19762),
    one("tok_flux_rp_gaia", "phot_rp_mean_flux", CodecClass::LogQuantiles, 29689),
    one("tok_parallax", "parallax", CodecClass::LogQuantiles, 2340),
    one("tok_ra", "ra", CodecClass::Quantiles, 17409),
    one("tok_dec", "dec", CodecClass::Quantiles, 12082),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_and_numbers_are_each_kinds_own() {
        let keys: BTreeSet<&str> = AION_KINDS.iter().map(|kind| kind.key).collect();
        let numbers: BTreeSet<u16> = AION_KINDS.iter().map(|kind| kind.id).collect();
        assert_eq!((keys.len(), numbers.len()), (AION_KINDS.len(), AION_KINDS.len()));
        assert!(numbers.iter().all(|id| *id < 1 << 15));
    }

    #[test]
    fn numbers_of_tokens_are_those_of_the_published_codecs() {
        let tokens = |key: &str| AionKind::of(key).map(AionKind::tokens);
        for (key, expected) in [("tok_image", 576), ("tok_spectrum_sdss", 273), ("tok_segmap", 144), ("tok_xp_rp", 55)]
        {
            assert_eq!(tokens(key), Some(expected), "{key}");
        }
        assert_eq!(tokens("tok_flux"), None);
    }
}
