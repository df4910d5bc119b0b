//! The configs of AION's sizes are read, and are what their comments say.

use panchroma_aion::modalities::{AION_KINDS, AionKind};
use panchroma_core::config::Document;
use panchroma_core::trunk::EncoderDecoderConfig;
use panchroma_core::{Experiment, Registry, Result};
use std::path::Path;

/// So that their plugins are linked.
use panchroma_heads as _;
use panchroma_image as _;
use panchroma_spectrum as _;
use panchroma_table as _;

#[test]
fn configs_of_all_sizes_are_read() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/aion");
    for (name, sizes) in [
        ("tiny", [64, 2, 2, 4]),
        ("base", [768, 12, 12, 12]),
        ("large", [1024, 24, 24, 16]),
        ("xlarge", [2048, 24, 24, 32]),
    ] {
        let document = Document::load(&folder.join(format!("{name}.toml")), &[])?;
        let experiment = Experiment::read(document, &Registry::linked()?)?;
        assert_eq!(experiment.run.name, format!("aion_{name}"));
        let trunk = EncoderDecoderConfig::read(&experiment.root().require("trunk")?.without(&["kind"]))?;
        assert_eq!([trunk.width, trunk.encoder_depth, trunk.decoder_depth, trunk.heads], sizes, "{name}");
        assert!(trunk.gated && !trunk.norm_bias && !trunk.qkv_bias);
    }
    Ok(())
}

#[test]
fn the_large_configs_have_all_kinds_but_sequences() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/aion/base.toml");
    let document = Document::load(&path, &[])?;
    let mut named: Vec<String> = document.root().sections("modality")?.into_iter().map(|(name, _)| name).collect();
    let mut kinds: Vec<&str> = AION_KINDS.iter().filter(|kind| !kind.is_sequence()).map(AionKind::name).collect();
    named.sort();
    kinds.sort_unstable();
    assert_eq!(named, kinds);
    assert_eq!(kinds.len(), 39);
    Ok(())
}
