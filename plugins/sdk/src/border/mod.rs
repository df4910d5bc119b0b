//! The border: traits of this crate as tables of the C interface, and the host's memory as safe views.
//!
//! All unsafe code of the crate is here and in `testing`, which calls the same tables as the host does.

pub(crate) mod arrays;
pub(crate) mod codec;
pub(crate) mod guard;
pub(crate) mod head;
pub(crate) mod instance;
pub(crate) mod learn;
pub(crate) mod memory;
pub(crate) mod modality;
pub mod plugin;
pub(crate) mod rows;
pub(crate) mod tensor;
#[cfg(test)]
mod tests;
pub(crate) mod tokenizer;
pub(crate) mod tokens;
