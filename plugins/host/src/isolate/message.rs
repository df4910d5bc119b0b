//! What parent and child say to each other.

use super::pack::{PackedArrays, PackedBatch, PackedBuffers, PackedTokenBuffers, PackedTokens};
use crate::arrays::Spec;
use crate::call::Fault;
use crate::library::{About, Kind};
use crate::{codec, modality};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{Read, Result, Write};
use std::path::PathBuf;

/// Longest message: more is not one.
const LONGEST: u32 = 64 << 20;

/// From the parent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Load a library; the first message. `memory` is the file that both map.
    Load {
        library: PathBuf,
        /// Of the library, as the parent knows it.
        sha256: String,
        memory: PathBuf,
    },
    /// Make an instance, of which a child has one.
    Create {
        kind: Kind,
        component: String,
        config: Value,
        name: String,
        arrays: Option<Spec>,
    },
    /// Learn; without rows that was all.
    Fit {
        batch: Option<PackedBatch>,
    },
    Fitted,
    Restore {
        fitted: Value,
    },
    Prepare {
        batch: PackedBatch,
    },
    Encode {
        arrays: PackedArrays,
    },
    Decode {
        tokens: PackedTokens,
        like: Option<PackedArrays>,
        lengths: Vec<usize>,
    },
}

/// From the child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Loaded {
        plugin: Plugin,
        components: Vec<About>,
    },
    Modality(modality::Described),
    Codec(codec::Described),
    /// Done, with nothing to give.
    Done,
    Learned(Value),
    Arrays(PackedBuffers),
    Tokens(PackedTokenBuffers),
    /// A call failed.
    Failed(Fault),
    /// Anything else did.
    Error(String),
}

/// What a library says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plugin {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: String,
    pub(super) publisher: String,
}

/// Sends a message.
pub(super) fn send(to: &mut impl Write, message: &impl Serialize) -> Result<()> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - 4).ok().filter(|n| *n <= LONGEST);
    let length = length.ok_or_else(|| std::io::Error::other("a message is too long"))?;
    if let Some(head) = bytes.get_mut(..4) {
        head.copy_from_slice(&length.to_le_bytes());
    }
    to.write_all(&bytes)
}

/// Receives a message.
pub(super) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> Result<T> {
    let mut head = [0; 4];
    from.read_exact(&mut head)?;
    let length = u32::from_le_bytes(head);
    if length > LONGEST {
        return Err(std::io::Error::other("what came is no message"));
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}
