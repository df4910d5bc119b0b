//! `config.json` of a published transformer.

use crate::modalities::{AION_KINDS, AionKind};
use panchroma_core::trunk::Nonlinearity;
use panchroma_core::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Sizes and switches of the transformer. A key that is not here is refused: it could change what the weights mean.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AionConfig {
    /// Kinds of tokens that the encoder knows.
    pub domains_in: Vec<String>,
    /// Kinds of tokens that the decoder predicts.
    pub domains_out: Vec<String>,
    /// Width D.
    #[serde(default = "dim")]
    pub dim: usize,
    /// Blocks of the encoder.
    #[serde(default = "depth")]
    pub encoder_depth: usize,
    /// Blocks of the decoder.
    #[serde(default = "depth")]
    pub decoder_depth: usize,
    /// Attention heads.
    #[serde(default = "depth")]
    pub num_heads: usize,
    /// Width of the MLPs' hidden layers, as a multiple of `dim`.
    #[serde(default = "mlp_ratio")]
    pub mlp_ratio: f64,
    /// Biases of queries, keys and values.
    #[serde(default = "yes")]
    pub qkv_bias: bool,
    /// Biases behind attention.
    #[serde(default = "yes")]
    pub proj_bias: bool,
    /// Biases of the MLPs.
    #[serde(default = "yes")]
    pub mlp_bias: bool,
    /// Biases of the norms.
    pub norm_bias: bool,
    /// What PyTorch calls the nonlinearity: `SiLU`, `GELU` or `ReLU`.
    pub act_layer: String,
    /// Whether the MLPs have gates.
    #[serde(default)]
    pub gated_mlp: bool,
    /// Norms of queries and keys.
    #[serde(default)]
    pub qk_norm: bool,
    /// Whether tokens that are predicted see only those before them.
    #[serde(default)]
    pub decoder_causal_mask: bool,
    /// Whether they see only those of their own kind.
    #[serde(default = "yes")]
    pub decoder_sep_mask: bool,
    /// Register tokens of the encoder.
    #[serde(default)]
    pub num_register_tokens: usize,
    /// Memory against time, in training alone.
    #[serde(default)]
    pub use_act_checkpoint: bool,
    /// Whether encoder and decoder have one vector per kind.
    #[serde(default = "yes")]
    pub share_modality_embeddings: bool,
    /// Stochastic depth of the encoder's training.
    #[serde(default)]
    pub drop_path_rate_encoder: f64,
    /// And of the decoder's.
    #[serde(default)]
    pub drop_path_rate_decoder: f64,
    /// Whether the two count as one stack for that.
    #[serde(default)]
    pub shared_drop_path: bool,
}

fn dim() -> usize {
    768
}
fn depth() -> usize {
    12
}
fn mlp_ratio() -> f64 {
    4.0
}
fn yes() -> bool {
    true
}

/// Why a config is refused: key and reason.
type Wrong = (&'static str, String);

impl AionConfig {
    /// Reads `config.json` of `folder`.
    ///
    /// # Errors
    /// If it can't be read, has a key that is not known, or makes no sense; with the file and the key.
    pub fn read(folder: &Path) -> Result<Self> {
        let file = folder.join("config.json");
        let text = std::fs::read_to_string(&file).map_err(Error::io("read", &file))?;
        let refused = |reason: String| unfit(&file, &reason);
        let json: Value = serde_json::from_str(&text).map_err(|e| refused(e.to_string()))?;
        // The package keeps the arguments of its class, of which there is one: `config`.
        let own = match json.as_object() {
            Some(object) if object.contains_key("config") => {
                if let Some(key) = object.keys().find(|key| *key != "config") {
                    return Err(refused(format!("unknown key `{key}` beside `config`")));
                }
                json["config"].clone()
            }
            _ => json,
        };
        let config: Self = serde_json::from_value(own).map_err(|e| refused(e.to_string()))?;
        config.check().map_err(|(key, reason)| refused(format!("`{key}`: {reason}")))?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Wrong> {
        for (key, domains) in [("domains_in", &self.domains_in), ("domains_out", &self.domains_out)] {
            if let Some(stranger) = domains.iter().find(|domain| AionKind::of(domain).is_none()) {
                let known: Vec<&str> = AION_KINDS.iter().map(|kind| kind.key).collect();
                return Err((key, format!("no kind of tokens is called `{stranger}`; known are {}", known.join(", "))));
            }
            if domains.is_empty() {
                return Err((key, "must name at least one kind of tokens".into()));
            }
            for (place, domain) in domains.iter().enumerate() {
                if domains.iter().take(place).any(|earlier| earlier == domain) {
                    return Err((key, format!("`{domain}` is named twice")));
                }
            }
        }
        for (key, value) in [
            ("dim", self.dim),
            ("encoder_depth", self.encoder_depth),
            ("decoder_depth", self.decoder_depth),
            ("num_heads", self.num_heads),
        ] {
            if value == 0 {
                return Err((key, "must be at least 1".into()));
            }
        }
        if !self.dim.is_multiple_of(self.num_heads) {
            return Err(("dim", format!("{} is not a multiple of `num_heads`, {}", self.dim, self.num_heads)));
        }
        if self.nonlinearity()? == Nonlinearity::Relu && self.gated_mlp {
            return Err(("act_layer", "`ReLU` with `gated_mlp` is not supported; `SiLU` and `GELU` are".into()));
        }
        Ok(())
    }

    fn nonlinearity(&self) -> Result<Nonlinearity, Wrong> {
        match self.act_layer.as_str() {
            "SiLU" => Ok(Nonlinearity::Silu),
            "GELU" => Ok(Nonlinearity::Gelu),
            "ReLU" => Ok(Nonlinearity::Relu),
            other => Err(("act_layer", format!("`{other}` is not supported; `SiLU`, `GELU` and `ReLU` are"))),
        }
    }

    /// All kinds of tokens, those of the encoder first.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static AionKind> {
        let more = self.domains_out.iter().filter(|domain| !self.domains_in.contains(domain));
        self.domains_in.iter().chain(more).filter_map(|domain| AionKind::of(domain)).collect()
    }

    /// Whether the encoder knows `kind`.
    #[must_use]
    pub fn encodes(&self, kind: &AionKind) -> bool {
        self.domains_in.iter().any(|domain| domain == kind.key)
    }

    /// Whether the decoder knows `kind`.
    #[must_use]
    pub fn decodes(&self, kind: &AionKind) -> bool {
        self.domains_out.iter().any(|domain| domain == kind.key)
    }

    /// The kinds that our decoder predicts: all of `domains_out` but sequences, which the published decoder predicts token by token
    /// from those before, by another embedding.
    #[must_use]
    pub fn targets(&self) -> Vec<&'static AionKind> {
        self.kinds().into_iter().filter(|kind| self.decodes(kind) && !kind.is_sequence()).collect()
    }

    /// The table `[trunk]` of the same architecture.
    #[must_use]
    pub fn trunk(&self) -> String {
        let activation = match self.nonlinearity() {
            Ok(Nonlinearity::Gelu) => "gelu",
            Ok(Nonlinearity::Relu) => "relu",
            _ => "silu",
        };
        format!(
            "kind = \"encoder_decoder\"\nwidth = {}\nencoder_depth = {}\ndecoder_depth = {}\nheads = {}\nmlp_ratio = {:?}\n\
             activation = \"{activation}\"\ngated = {}\nqkv_bias = {}\nprojection_bias = {}\nmlp_bias = {}\nnorm_bias = {}\n\
             qk_norm = {}\nregisters = {}\ndecoder_separate = {}\ndecoder_causal = {}\nshare_modality_embeddings = {}\n",
            self.dim,
            self.encoder_depth,
            self.decoder_depth,
            self.num_heads,
            self.mlp_ratio,
            self.gated_mlp,
            self.qkv_bias,
            self.proj_bias,
            self.mlp_bias,
            self.norm_bias,
            self.qk_norm,
            self.num_register_tokens,
            self.decoder_sep_mask,
            self.decoder_causal_mask,
            self.share_modality_embeddings,
        )
    }
}

/// A file that can't be used as it is.
pub(crate) fn unfit(file: &Path, reason: &str) -> Error {
    Error::Plugin { kind: "file", name: PathBuf::from(file).display().to_string(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AionConfig> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("config.json"), text).expect("written");
        AionConfig::read(folder.path())
    }

    const SMALL: &str =
        r#""domains_in": ["tok_z"], "domains_out": ["tok_z", "tok_ra"], "norm_bias": false, "act_layer": "SiLU""#;

    #[test]
    fn what_is_left_out_has_the_defaults_of_the_package() -> Result<()> {
        let config = read(&format!("{{\"config\": {{{SMALL}}}}}"))?;
        assert_eq!((config.dim, config.num_heads, config.decoder_sep_mask, config.qkv_bias), (768, 12, true, true));
        assert_eq!(config, read(&format!("{{{SMALL}}}"))?);
        let names: Vec<&str> = config.kinds().into_iter().map(AionKind::name).collect();
        assert_eq!(names, ["z", "ra"]);
        Ok(())
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (more, parts) in [
            (r#", "dims": 4"#, &["dims", "unknown"][..]),
            (r#", "dim": 10, "num_heads": 4"#, &["`dim`", "10", "4"]),
            (r#", "act_layer": "Tanh""#, &["act_layer"]),
            (r#", "encoder_depth": 0"#, &["encoder_depth", "at least 1"]),
            (r#", "gated_mlp": "yes""#, &["invalid type"]),
        ] {
            let error = read(&format!("{{\"config\": {{{SMALL}{more}}}}}")).expect_err("refused").to_string();
            assert!(parts.iter().all(|part| error.contains(part)) && error.contains("config.json"), "{error}");
        }
        let unknown = SMALL.replace("tok_ra", "tok_rar");
        let error = read(&format!("{{\"config\": {{{unknown}}}}}")).expect_err("refused").to_string();
        assert!(
            error.contains("domains_out") && error.contains("`tok_rar`") && error.contains("tok_image_hsc"),
            "{error}"
        );
        let error = read(&format!("{{\"config\": {{{SMALL}}}, \"more\": 1}}")).expect_err("refused").to_string();
        assert!(error.contains("`more`"), "{error}");
    }
}
