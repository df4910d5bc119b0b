//! What the names of expected tensors say.

use crate::modalities::AionKind;

/// What a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage<'a> {
    /// `model.encoded_GIVEN`: what the encoder makes of these kinds.
    Encoded(&'a str),
    /// `model.logits_TARGET_from_GIVEN`.
    Logits { target: &'a str, given: &'a str },
    /// `loss.AVERAGE` or `loss.AVERAGE.KIND`.
    Loss { average: &'a str, kind: Option<&'a str> },
    /// `MEASUREMENT.PART`: what a codec gives.
    Codec { name: &'a str, part: Part },
    /// `MEASUREMENT.decoded.FIELD`: one field of what a codec gives.
    Field { name: &'a str, field: &'a str },
}

/// What a codec gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Tokens,
    Decoded,
    /// Which of `Decoded` are good.
    Mask,
    /// On the codec's own wavelengths.
    LatentGrid,
    LatentGridMask,
}

impl Part {
    fn of(text: &str) -> Option<Self> {
        Some(match text {
            "tokens" => Self::Tokens,
            "decoded" => Self::Decoded,
            "decoded_mask" => Self::Mask,
            "decoded_latent_grid" => Self::LatentGrid,
            "decoded_latent_grid_mask" => Self::LatentGridMask,
            _ => return None,
        })
    }
}

/// The stage that gives the tensor `name`.
pub(super) fn stage(name: &str) -> Option<Stage<'_>> {
    if let Some(given) = name.strip_prefix("model.encoded_") {
        return Some(Stage::Encoded(given));
    }
    if let Some(rest) = name.strip_prefix("model.logits_") {
        let (target, given) = rest.split_once("_from_")?;
        return Some(Stage::Logits { target, given });
    }
    if let Some((name, part)) = name.rsplit_once('.').and_then(|(name, part)| Some((name, Part::of(part)?))) {
        return Some(Stage::Codec { name, part });
    }
    if let Some((name, field)) = name.split_once(".decoded.") {
        return Some(Stage::Field { name, field });
    }
    let rest = name.strip_prefix("loss.")?;
    Some(match rest.split_once('.') {
        Some((average, kind)) => Stage::Loss { average, kind: Some(kind) },
        None => Stage::Loss { average: rest, kind: None },
    })
}

/// The kinds that `text` names, joined by underscores: by key, by key without `tok_`, or by the folder of their codec (`spectrum`).
/// `None` unless all of it is understood.
pub(super) fn kinds(text: &str, known: &[&'static AionKind]) -> Option<Vec<&'static AionKind>> {
    let mut aliases: Vec<(&str, &'static AionKind)> = Vec::new();
    // A kind's own name goes before a folder that several kinds share.
    for alias in [AionKind::name as fn(&AionKind) -> &'static str, |kind| kind.key, |kind| kind.codec] {
        aliases.extend(known.iter().map(|kind| (alias(kind), *kind)));
    }
    // The longest first: `flux_g` begins `flux_g_gaia`.
    aliases.sort_by_key(|(alias, _)| std::cmp::Reverse(alias.len()));
    parse(text, &aliases)
}

fn parse(text: &str, aliases: &[(&str, &'static AionKind)]) -> Option<Vec<&'static AionKind>> {
    aliases.iter().find_map(|(alias, kind)| {
        let rest = text.strip_prefix(alias)?;
        if rest.is_empty() {
            return Some(vec![*kind]);
        }
        let mut more = parse(rest.strip_prefix('_')?, aliases)?;
        more.insert(0, kind);
        Some(more)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_joined_by_underscores() {
        let keys =
            ["tok_image_hsc", "tok_image", "tok_spectrum_sdss", "tok_flux_g", "tok_flux_g_gaia", "tok_z", "catalog"];
        let known: Vec<_> = keys.iter().filter_map(|key| AionKind::of(key)).collect();
        for (text, expected) in [
            ("z", &["tok_z"][..]),
            ("image", &["tok_image"]),
            ("image_hsc_spectrum", &["tok_image_hsc", "tok_spectrum_sdss"]),
            ("spectrum_flux_g", &["tok_spectrum_sdss", "tok_flux_g"]),
            ("flux_g_gaia_z", &["tok_flux_g_gaia", "tok_z"]),
            ("flux_g_z_catalog", &["tok_flux_g", "tok_z", "catalog"]),
            ("tok_flux_g", &["tok_flux_g"]),
        ] {
            let found: Option<Vec<&str>> = kinds(text, &known).map(|kinds| kinds.iter().map(|kind| kind.key).collect());
            assert_eq!(found.as_deref(), Some(expected), "{text}");
        }
        for text in ["flux", "z_", "image_mass", ""] {
            assert_eq!(kinds(text, &known), None, "{text}");
        }
    }

    #[test]
    fn stages_are_told_apart_by_their_names() {
        assert_eq!(stage("model.encoded_masked_image"), Some(Stage::Encoded("masked_image")));
        let logits = Stage::Logits { target: "flux_r", given: "spectrum" };
        assert_eq!(stage("model.logits_flux_r_from_spectrum"), Some(logits));
        assert_eq!(stage("loss.token"), Some(Stage::Loss { average: "token", kind: None }));
        assert_eq!(stage("loss.mod.tok_z"), Some(Stage::Loss { average: "mod", kind: Some("tok_z") }));
        assert_eq!(stage("model.logits_z"), None);
        let grid = Stage::Codec { name: "spectrum", part: Part::LatentGrid };
        assert_eq!(stage("spectrum.decoded_latent_grid"), Some(grid));
        assert_eq!(stage("tok_z.tokens"), Some(Stage::Codec { name: "tok_z", part: Part::Tokens }));
        assert_eq!(stage("catalog.decoded.X"), Some(Stage::Field { name: "catalog", field: "X" }));
        assert_eq!(stage("image.other"), None);
        assert_eq!(stage("other"), None);
    }
}
