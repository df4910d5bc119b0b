//! The published transformer as ours: embeddings, trunk `encoder_decoder` and head `masked` with its weights.
//!
//! What lies where:
//!
//! | published, for a kind of tokens `M` | ours, for the modality `NAME` (`M` without `tok_`) |
//! |---|---|
//! | `encoder_embeddings.M.token_emb` | `embed.NAME.codes`; zeros for a kind that is only predicted |
//! | `encoder_embeddings.M.mod_emb` (if shared, under the decoder's name) | `embed.NAME.modality` |
//! | `decoder_embeddings.M.mod_emb`, where it is the decoder's own | that plus `trunk.decoder_modality.NAME` |
//! | `encoder_embeddings.M.pos_emb`, `decoder_embeddings.M.pos_emb` | `embed.NAME.index.table`; both must be equal |
//! | `decoder_embeddings.M.to_logits` | `head.masked.NAME.weight`; a kind that is only given has none |
//! | `decoder_embeddings.M.token_emb` | none: mask tokens take its place, also in the Python package |
//! | `register_tokens`, `mask_token`, `decoder_proj_context` | `trunk.registers`, `trunk.mask_token`, `trunk.context` |
//! | `fc1` and `fc3` of a gated MLP | the halves of `mlp.in` |
//!
//! Sequences (`catalog`) are given and not predicted: the published decoder predicts each of their tokens from those before it.

use crate::config::AionConfig;
use crate::modalities::AionKind;
use crate::weights::Weights;
use candle_core::{DType, Device, Tensor};
use panchroma_core::embed::Embed;
use panchroma_core::trunk::EncoderDecoder;
use panchroma_core::{Error, HeadContext, Parameter, Parameters, Result, Section, TokenSpec, TrunkContext};
use panchroma_heads::masked::Masked;
use std::collections::BTreeMap;
use std::path::Path;

/// What the head is called in configs and parameters.
pub const HEAD: &str = "masked";

/// The transformer of a published folder.
pub struct AionModel {
    /// Its sizes and switches.
    pub config: AionConfig,
    /// All kinds of tokens, each with its embedding.
    pub embed: Vec<(&'static AionKind, Embed)>,
    /// Encoder and decoder.
    pub trunk: EncoderDecoder,
    /// Logits and the mean of each kind's loss.
    pub head: Masked,
    /// All its parameters, under the names that a run has them.
    pub parameters: Parameters,
}

/// What the tokens of a kind look like here.
#[must_use]
pub fn token_spec(kind: &AionKind) -> TokenSpec {
    TokenSpec::codes(kind.vocabulary, kind.tokens())
}

impl AionModel {
    /// Reads `config.json` and `model.safetensors` of `folder`.
    ///
    /// # Errors
    /// If a file can't be read, or a tensor is missing, left over, or of another shape than the config says; with the file, the tensor
    /// and both shapes.
    pub fn read(folder: &Path, device: &Device) -> Result<Self> {
        let config = AionConfig::read(folder)?;
        let model = Self::new(config, device)?;
        let mut filling = Filling::new(&model, Weights::open(&folder.join("model.safetensors"))?);
        filling.trunk(&model.config)?;
        for (kind, _) in &model.embed {
            filling.kind(kind, &model.config)?;
        }
        filling.finish()?;
        Ok(model)
    }

    /// The same architecture with values of its own.
    ///
    /// # Errors
    /// If the sizes are too large or small.
    pub fn new(config: AionConfig, device: &Device) -> Result<Self> {
        let parameters = Parameters::new(0, device);
        let kinds = config.kinds();
        let specs: Vec<(String, TokenSpec)> =
            kinds.iter().map(|kind| (kind.name().to_owned(), token_spec(kind))).collect();
        let section = Section::from_toml("trunk", &config.trunk())?;
        let context = TrunkContext { modalities: &specs, parameters: &parameters.pp("trunk") };
        let trunk = EncoderDecoder::new(&section, &context)?;
        let below = parameters.pp("embed");
        let embed = kinds.iter().map(|kind| {
            let name = kind.name();
            Ok((*kind, Embed::new(name, &token_spec(kind), config.dim, &below.pp(name))?))
        });
        let embed = embed.collect::<Result<_>>()?;
        let head = head(&config, &specs, "modality", &parameters)?;
        Ok(Self { embed, trunk, head, parameters, config })
    }

    /// The head with another average of its losses, and the same weights.
    ///
    /// # Errors
    /// If a tensor can't be made.
    pub fn head_with(&self, loss: &str) -> Result<Masked> {
        let specs: Vec<(String, TokenSpec)> =
            self.embed.iter().map(|(kind, _)| (kind.name().to_owned(), token_spec(kind))).collect();
        let own = Parameters::new(0, self.parameters.device());
        let head = head(&self.config, &specs, loss, &own)?;
        let all: BTreeMap<String, Parameter> = self.parameters.all().into_iter().collect();
        for (name, parameter) in own.all() {
            if let Some(from) = all.get(&name) {
                parameter.var.set(from.var.as_tensor())?;
            }
        }
        Ok(head)
    }

    /// The kind and the embedding of the kind with this key.
    #[must_use]
    pub fn kind(&self, key: &str) -> Option<&(&'static AionKind, Embed)> {
        self.embed.iter().find(|(kind, _)| kind.key == key)
    }
}

fn head(config: &AionConfig, specs: &[(String, TokenSpec)], loss: &str, parameters: &Parameters) -> Result<Masked> {
    let targets: Vec<&str> = config.targets().into_iter().map(AionKind::name).collect();
    let section = Section::from_toml(&format!("head.{HEAD}"), &format!("targets = {targets:?}\nloss = {loss:?}\n"))?;
    let names: Vec<String> = specs.iter().map(|(name, _)| name.clone()).collect();
    let context = HeadContext {
        name: HEAD,
        modalities: &names,
        tokens: specs,
        width: config.dim,
        parameters: &parameters.pp("head").pp(HEAD),
    };
    Masked::new(&section, &context)
}

/// Gives parameters the values of a file, each once.
struct Filling {
    parameters: BTreeMap<String, Parameter>,
    weights: Weights,
    width: usize,
}

impl Filling {
    fn new(model: &AionModel, weights: Weights) -> Self {
        Self { parameters: model.parameters.all().into_iter().collect(), weights, width: model.config.dim }
    }

    /// A tensor as f32.
    fn real(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        Ok(self.weights.take(name, shape)?.to_dtype(DType::F32)?)
    }

    fn shape(&self, own: &str) -> Result<Vec<usize>> {
        let parameter = self.parameters.get(own).ok_or_else(|| unplaced(own))?;
        Ok(parameter.var.dims().to_vec())
    }

    fn set(&mut self, own: &str, value: &Tensor) -> Result<()> {
        let var = self.parameters.remove(own).ok_or_else(|| unplaced(own))?.var;
        Ok(var.set(&value.reshape(var.dims())?.to_device(var.device())?)?)
    }

    /// Parameter `own` from the tensor `name` of the same shape.
    fn same(&mut self, own: &str, name: &str) -> Result<()> {
        let shape = self.shape(own)?;
        let value = self.real(name, &shape)?;
        self.set(own, &value)
    }

    /// From a tensor with so many axes of one in front.
    fn behind_ones(&mut self, own: &str, name: &str, ones: usize) -> Result<()> {
        let shape = [vec![1; ones], self.shape(own)?].concat();
        let value = self.real(name, &shape)?;
        self.set(own, &value)
    }

    /// Weight and, where the config has one, bias of a linear map.
    fn linear(&mut self, own: &str, name: &str, bias: bool) -> Result<()> {
        self.same(&format!("{own}.weight"), &format!("{name}.weight"))?;
        if bias { self.same(&format!("{own}.bias"), &format!("{name}.bias")) } else { Ok(()) }
    }

    /// A norm. Where the config says that it has no bias, the file holds a buffer of zeros in its place.
    fn norm(&mut self, own: &str, name: &str, bias: bool) -> Result<()> {
        self.linear(own, name, bias)?;
        let zeros = format!("{name}.bias");
        if bias || !self.weights.has(&zeros) {
            return Ok(());
        }
        let found = self.weights.take_any(&zeros)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        match found.iter().find(|value| **value != 0.0) {
            None => Ok(()),
            Some(value) => Err(self.unfit(&zeros, "zeros, as `norm_bias` is false", value.to_string())),
        }
    }

    fn unfit(&self, name: &str, expected: &str, found: String) -> Error {
        let part = format!("`{}`, tensor `{name}`", self.weights.path().display());
        Error::Shape { part, expected: expected.into(), found }
    }

    fn trunk(&mut self, config: &AionConfig) -> Result<()> {
        for block in 0..config.encoder_depth {
            let (own, name) = (format!("trunk.encoder.block{block:02}"), format!("encoder.{block}"));
            self.norm(&format!("{own}.norm1"), &format!("{name}.norm1"), config.norm_bias)?;
            self.attention(&format!("{own}.attention"), &format!("{name}.attn"), &["qkv"], config)?;
            self.mlp(&own, &name, config)?;
        }
        for block in 0..config.decoder_depth {
            let (own, name) = (format!("trunk.decoder.block{block:02}"), format!("decoder.{block}"));
            for (ours, theirs) in [("norm1", "norm1"), ("norm_query", "query_norm"), ("norm_context", "context_norm")] {
                self.norm(&format!("{own}.{ours}"), &format!("{name}.{theirs}"), config.norm_bias)?;
            }
            self.attention(&format!("{own}.attention"), &format!("{name}.self_attn"), &["qkv"], config)?;
            self.attention(&format!("{own}.cross_attention"), &format!("{name}.cross_attn"), &["q", "kv"], config)?;
            self.mlp(&own, &name, config)?;
        }
        for half in ["encoder_norm", "decoder_norm"] {
            self.norm(&format!("trunk.{half}"), half, config.norm_bias)?;
        }
        self.linear("trunk.context", "decoder_proj_context", true)?;
        self.behind_ones("trunk.mask_token", "mask_token", 2)?;
        if config.num_register_tokens > 0 {
            self.behind_ones("trunk.registers", "register_tokens", 1)?;
        }
        Ok(())
    }

    fn attention(&mut self, own: &str, name: &str, maps: &[&str], config: &AionConfig) -> Result<()> {
        for map in maps {
            self.linear(&format!("{own}.{map}"), &format!("{name}.{map}"), config.qkv_bias)?;
        }
        if config.qk_norm {
            self.norm(&format!("{own}.query_norm"), &format!("{name}.q_norm"), config.norm_bias)?;
            self.norm(&format!("{own}.key_norm"), &format!("{name}.k_norm"), config.norm_bias)?;
        }
        self.linear(&format!("{own}.out"), &format!("{name}.proj"), config.proj_bias)
    }

    fn mlp(&mut self, own: &str, name: &str, config: &AionConfig) -> Result<()> {
        self.norm(&format!("{own}.norm2"), &format!("{name}.norm2"), config.norm_bias)?;
        let (own, name) = (format!("{own}.mlp"), format!("{name}.mlp"));
        if !config.gated_mlp {
            self.linear(&format!("{own}.in"), &format!("{name}.fc1"), config.mlp_bias)?;
        } else {
            let parts: &[&str] = if config.mlp_bias { &["weight", "bias"] } else { &["weight"] };
            for part in parts {
                let ours = format!("{own}.in.{part}");
                let mut shape = self.shape(&ours)?;
                shape[0] /= 2;
                let activated = self.real(&format!("{name}.fc1.{part}"), &shape)?;
                let gate = self.real(&format!("{name}.fc3.{part}"), &shape)?;
                self.set(&ours, &Tensor::cat(&[activated, gate], 0)?)?;
            }
        }
        self.linear(&format!("{own}.out"), &format!("{name}.fc2"), config.mlp_bias)
    }

    fn kind(&mut self, kind: &AionKind, config: &AionConfig) -> Result<()> {
        let (name, key) = (kind.name(), kind.key);
        let [encoder, decoder] = ["encoder", "decoder"].map(|half| format!("{half}_embeddings.{key}"));
        let (encodes, decodes) = (config.encodes(kind), config.decodes(kind));
        let codes = format!("embed.{name}.codes");
        if encodes {
            self.same(&codes, &format!("{encoder}.token_emb.weight"))?;
        } else {
            // Nobody gives such tokens.
            let zeros = Tensor::zeros((kind.vocabulary, self.width), DType::F32, &Device::Cpu)?;
            self.set(&codes, &zeros)?;
        }
        let shape = [1, kind.tokens(), self.width];
        let places = |half: &String| format!("{half}.pos_emb");
        let halves = [(encodes, &encoder), (decodes, &decoder)].into_iter().filter(|(known, _)| *known);
        let mut found: Option<Tensor> = None;
        for (_, half) in halves {
            let table = self.real(&places(half), &shape)?;
            if let Some(first) = &found
                && !same(first, &table)?
            {
                return Err(self.unfit(
                    &places(half),
                    &format!("what `{}` holds", places(&encoder)),
                    "other values".into(),
                ));
            }
            found = Some(table);
        }
        if let Some(table) = found {
            self.set(&format!("embed.{name}.index.table"), &table)?;
        }
        self.modality(kind, config, [&encoder, &decoder])?;
        if decodes {
            let shape = [kind.vocabulary, self.width];
            self.real(&format!("{decoder}.token_emb.weight"), &shape)?;
            let logits = self.real(&format!("{decoder}.to_logits.weight"), &shape)?;
            if !kind.is_sequence() {
                self.set(&format!("head.{HEAD}.{name}.weight"), &logits)?;
            }
        }
        Ok(())
    }

    /// The vector of a kind, of which a file holds one copy where both halves share it.
    fn modality(&mut self, kind: &AionKind, config: &AionConfig, [encoder, decoder]: [&str; 2]) -> Result<()> {
        let (encodes, decodes) = (config.encodes(kind), config.decodes(kind));
        let shape = [1, 1, self.width];
        let [of_encoder, of_decoder] = [encoder, decoder].map(|half| format!("{half}.mod_emb"));
        let shared = config.share_modality_embeddings && encodes && decodes;
        let take = |filling: &mut Self, known: bool, name: &str| -> Result<Option<Tensor>> {
            if known && (!shared || filling.weights.has(name)) {
                filling.real(name, &shape).map(Some)
            } else {
                Ok(None)
            }
        };
        let first = take(self, encodes, &of_encoder)?;
        let second = take(self, decodes, &of_decoder)?;
        let own = match (&first, &second) {
            (Some(first), Some(second)) if shared && !same(first, second)? => {
                let expected = format!("what `{of_encoder}` holds, as `share_modality_embeddings` is true");
                return Err(self.unfit(&of_decoder, &expected, "other values".into()));
            }
            (Some(own), _) | (None, Some(own)) => own.clone(),
            // Says what is missing.
            (None, None) => self.real(&of_decoder, &shape)?,
        };
        self.set(&format!("embed.{}.modality", kind.name()), &own)?;
        if config.share_modality_embeddings {
            return Ok(());
        }
        let more = match (first, second) {
            (Some(first), Some(second)) => (second - first)?,
            _ => own.zeros_like()?,
        };
        self.set(&format!("trunk.decoder_modality.{}", kind.name()), &more)
    }

    /// Refuses what is left on either side.
    fn finish(self) -> Result<()> {
        match self.parameters.into_keys().next() {
            Some(own) => Err(unplaced(&own)),
            None => self.weights.finish(),
        }
    }
}

fn unplaced(own: &str) -> Error {
    Error::Shape {
        part: format!("parameter `{own}`"),
        expected: "one that the published layout fills, once".into(),
        found: "none".into(),
    }
}

fn same(a: &Tensor, b: &Tensor) -> Result<bool> {
    let values = |t: &Tensor| Ok::<_, Error>(t.flatten_all()?.to_vec1::<f32>()?);
    Ok(values(a)? == values(b)?)
}
