//! The kinds of components: implement one of these traits, and name the type in [`plugin!`](crate::plugin).
//!
//! What a call gives may depend on its arguments alone, and many threads call one instance at once: keep state out.

use crate::{
    Array, ArrayMut, Arrays, ArraysMut, ArraysSpec, Column, Compute, Coordinate, Error, Gradients, HeadInput,
    Parameter, Parameters, Request, Result, Rows, Tokens, TokensMut, View,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// A kind of measurement: rows of the catalogue become arrays.
pub trait Modality: Sized + Send + Sync + 'static {
    /// What users write as `kind`: letters, digits and underscores.
    const NAME: &'static str;
    /// One line for lists.
    const SUMMARY: &'static str;
    /// Body of a TOML table that works, without header and `kind`.
    const EXAMPLE: &'static str = "";
    /// Whether the same rows give the same bits; the host holds the modality to it.
    const DETERMINISTIC: bool = true;
    /// Whether it wants [`Rows::random`] in training.
    const RANDOM: bool = false;
    /// Whether it learns from the training split: [`Self::fit`], [`Self::fitted`] and [`Self::restore`].
    const FITS: bool = false;
    /// The keys of its table. Doc comments of the fields are the user's manual.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes it. Costs little and reads no data.
    ///
    /// # Errors
    /// If the config makes no sense.
    fn new(config: Self::Config, request: &Request) -> Result<Self>;

    /// The columns that it reads.
    fn columns(&self) -> Vec<Column>;

    /// What its arrays look like.
    fn arrays(&self) -> ArraysSpec;

    /// How long each axis must be for these rows: `lengths` holds the longest, and may be lowered down to 1.
    ///
    /// # Errors
    /// If the rows make no sense.
    fn plan(&self, rows: &Rows, lengths: &mut [usize]) -> Result<()> {
        let _ = (rows, lengths);
        Ok(())
    }

    /// Fills the arrays: row `i` of the arrays from row `i` of the rows alone.
    ///
    /// # Errors
    /// If the rows make no sense: [`Error::row`] says which.
    fn prepare(&self, rows: &Rows, arrays: &mut ArraysMut) -> Result<()>;

    /// Learns from the training split, before anything is prepared: `rows` are a part of it, `None` says that it was all.
    ///
    /// # Errors
    /// If the rows make no sense, or hold nothing to learn from.
    fn fit(&mut self, rows: Option<&Rows>) -> Result<()> {
        let _ = rows;
        Ok(())
    }

    /// What [`Self::fit`] learned, for checkpoints; `Null` if nothing.
    fn fitted(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Takes back what [`Self::fitted`] gave.
    ///
    /// # Errors
    /// If it is something else.
    fn restore(&mut self, fitted: &serde_json::Value) -> Result<()> {
        let _ = fitted;
        Ok(())
    }
}

/// Arrays become codes of a fixed vocabulary, and perhaps arrays again. It learns nothing.
pub trait Codec: Sized + Send + Sync + 'static {
    /// What users write as `kind`: letters, digits and underscores.
    const NAME: &'static str;
    /// One line for lists.
    const SUMMARY: &'static str;
    /// Body of a TOML table that works, without header and `kind`.
    const EXAMPLE: &'static str = "";
    /// Whether the same arrays give the same bits; the host holds the codec to it.
    const DETERMINISTIC: bool = true;
    /// Whether [`Self::decode`] is there.
    const DECODES: bool = false;
    /// The keys of its table. Doc comments of the fields are the user's manual.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes it for the arrays of one modality, [`Request::arrays`].
    ///
    /// # Errors
    /// If the config makes no sense, or if these arrays aren't what it can read.
    fn new(config: Self::Config, request: &Request) -> Result<Self>;

    /// Codes are below it.
    fn vocabulary(&self) -> u32;

    /// Most tokens of an object.
    fn max_tokens(&self) -> usize;

    /// Coordinates of its tokens; without any, tokens are numbered.
    fn coordinates(&self) -> Vec<Coordinate> {
        Vec::new()
    }

    /// How many tokens these arrays need, from 1 to [`Self::max_tokens`].
    ///
    /// # Errors
    /// If the arrays make no sense.
    fn plan(&self, arrays: &Arrays) -> Result<usize> {
        let _ = arrays;
        Ok(self.max_tokens())
    }

    /// Arrays to codes.
    ///
    /// # Errors
    /// If the arrays make no sense.
    fn encode(&self, arrays: &Arrays, tokens: &mut TokensMut) -> Result<()>;

    /// Codes to arrays. `like` holds the measurement that is asked for, if there is one.
    ///
    /// # Errors
    /// If the codes make no sense.
    fn decode(&self, tokens: &Tokens, like: Option<&Arrays>, arrays: &mut ArraysMut) -> Result<()> {
        let _ = (tokens, like, arrays);
        Err(Error::failed(format!("`{}` doesn't decode", Self::NAME)))
    }
}

/// Arrays become patches, and patches become vectors by parameters that are trained with the model.
pub trait Tokenizer: Sized + Send + Sync + 'static {
    /// What users write as `kind`: letters, digits and underscores.
    const NAME: &'static str;
    /// One line for lists.
    const SUMMARY: &'static str;
    /// Body of a TOML table that works, without header and `kind`.
    const EXAMPLE: &'static str = "";
    /// Whether the same arguments give the same bits; the host holds the tokenizer to it.
    const DETERMINISTIC: bool = true;
    /// The keys of its table. Doc comments of the fields are the user's manual.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes it for the arrays of one modality, [`Request::arrays`].
    ///
    /// # Errors
    /// If the config makes no sense, or if these arrays aren't what it can read.
    fn new(config: Self::Config, request: &Request) -> Result<Self>;

    /// Most tokens of an object.
    fn max_tokens(&self) -> usize;

    /// P: how many values a patch has.
    fn width(&self) -> usize;

    /// How many values [`Self::forward`] makes of a patch; 0: there is no `forward`, and the model takes patches.
    fn outputs(&self) -> usize {
        0
    }

    /// Coordinates of its tokens; without any, tokens are numbered.
    fn coordinates(&self) -> Vec<Coordinate> {
        Vec::new()
    }

    /// What [`Self::forward`] learns.
    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    /// How many tokens these arrays need, from 1 to [`Self::max_tokens`].
    ///
    /// # Errors
    /// If the arrays make no sense.
    fn plan(&self, arrays: &Arrays) -> Result<usize> {
        let _ = arrays;
        Ok(self.max_tokens())
    }

    /// Arrays to patches, without parameters.
    ///
    /// # Errors
    /// If the arrays make no sense.
    fn run(&self, arrays: &Arrays, tokens: &mut TokensMut) -> Result<()>;

    /// Patches `[N, P]` to `outputs` `[N, outputs]`, for all tokens of the batch.
    ///
    /// # Errors
    /// If it can't be computed.
    fn forward(
        &self,
        compute: &Compute,
        patches: &Array<f32>,
        parameters: &Parameters,
        outputs: &mut ArrayMut<f32>,
    ) -> Result<()> {
        let _ = (compute, patches, parameters, outputs);
        Err(Error::failed(format!("`{}` has no `forward`", Self::NAME)))
    }

    /// From the gradient of the outputs `[N, outputs]` to those of the patches (input 0) and the parameters, added to
    /// what stands there.
    ///
    /// # Errors
    /// If it can't be computed.
    fn backward(
        &self,
        compute: &Compute,
        patches: &Array<f32>,
        parameters: &Parameters,
        outputs_gradient: &Array<f32>,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let _ = (compute, patches, parameters, outputs_gradient, gradients);
        Err(Error::failed(format!("`{}` has no `backward`", Self::NAME)))
    }
}

/// Vectors become a loss and predictions.
pub trait Head: Sized + Send + Sync + 'static {
    /// What users write as `kind`: letters, digits and underscores.
    const NAME: &'static str;
    /// One line for lists.
    const SUMMARY: &'static str;
    /// Body of a TOML table that works, without header and `kind`.
    const EXAMPLE: &'static str = "";
    /// Whether the same arguments give the same bits; the host holds the head to it.
    const DETERMINISTIC: bool = true;
    /// The keys of its table. Doc comments of the fields are the user's manual.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes it for vectors of [`Request::width`] numbers.
    ///
    /// # Errors
    /// If the config makes no sense.
    fn new(config: Self::Config, request: &Request) -> Result<Self>;

    /// Which vectors it gets.
    fn view(&self) -> View {
        View::Joint
    }

    /// The columns that it reads.
    fn columns(&self) -> Vec<Column> {
        Vec::new()
    }

    /// What it learns.
    fn parameters(&self) -> Vec<Parameter>;

    /// How many numbers it predicts for each object.
    fn outputs(&self) -> usize {
        0
    }

    /// The loss, a mean over the rows that count, and `predictions` `[B, outputs]` in the units of the data. `None` if
    /// no row of this batch has what it learns from: predictions are filled all the same.
    ///
    /// # Errors
    /// If it can't be computed.
    fn forward(
        &self,
        compute: &Compute,
        input: &HeadInput,
        parameters: &Parameters,
        predictions: &mut ArrayMut<f32>,
    ) -> Result<Option<f32>>;

    /// Gradients of the loss in inputs and parameters, added to what stands there.
    ///
    /// # Errors
    /// If it can't be computed.
    fn backward(
        &self,
        compute: &Compute,
        input: &HeadInput,
        parameters: &Parameters,
        gradients: &mut Gradients,
    ) -> Result<()>;
}

/// The config of a component without keys.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}
