//! Plugins in child processes: one that crashes or hangs costs a process, not the run.
//!
//! A child is this program again, with a hidden command. Short messages go through a socket; rows and arrays lie in memory that both
//! processes map, and are copied there once on the way in and once on the way out. What comes back is checked in the parent as if
//! the call had been made there. Each loader thread that is in a call has a child of its own.
//!
//! This keeps a run from the faults of a plugin, not from the malice of one: a child may do whatever the user may.

mod message;
mod pack;
mod region;
mod serve;
mod worker;

pub use serve::{own_output, serve};

pub use worker::own_program;
pub(crate) use worker::{Made, Outside, describe};

use crate::arrays::{ArraysView, Buffers};
use crate::call::{Fault, Function};
use crate::codec::Encode;
use crate::modality::Prepare;
use crate::rows::Batch;
use crate::tokens::{TokenBuffers, TokensView};
use message::{Reply, Request};
use pack::Packer;
use serde_json::Value;

/// The command that children are started with.
pub const COMMAND: [&str; 2] = ["plugins", "serve"];

impl Prepare for Outside {
    fn prepare(&self, batch: &Batch<'_>) -> Result<Buffers, Fault> {
        let mut packer = Packer::new();
        let packed = packer.batch(batch);
        self.call(Function::Run, batch.hurry, &packer, &Request::Prepare { batch: packed }, |region, reply| match reply
        {
            Reply::Arrays(packed) => packed.read(region).map(Some),
            _ => Ok(None),
        })
    }

    fn renew(&mut self) -> Result<(), Fault> {
        self.begin_anew()
    }

    fn fit(&mut self, batch: Option<&Batch<'_>>) -> Result<(), Fault> {
        let mut packer = Packer::new();
        let hurry = batch.is_some_and(|batch| batch.hurry);
        let batch = batch.map(|batch| packer.batch(batch));
        self.call(Function::Fit, hurry, &packer, &Request::Fit { batch }, |_, reply| Ok(done(reply)))
    }

    fn fitted(&mut self) -> Result<Value, Fault> {
        let learned = self.call(Function::Fitted, false, &Packer::new(), &Request::Fitted, |_, reply| match reply {
            Reply::Learned(learned) => Ok(Some(learned.clone())),
            _ => Ok(None),
        })?;
        self.remember(learned.clone());
        Ok(learned)
    }

    fn restore(&mut self, fitted: &Value) -> Result<(), Fault> {
        let request = Request::Restore { fitted: fitted.clone() };
        self.call(Function::Restore, false, &Packer::new(), &request, |_, reply| Ok(done(reply)))?;
        self.remember(fitted.clone());
        Ok(())
    }
}

fn done(reply: &Reply) -> Option<()> {
    matches!(reply, Reply::Done).then_some(())
}

impl Encode for Outside {
    fn encode(&self, arrays: &ArraysView<'_>) -> Result<TokenBuffers, Fault> {
        let mut packer = Packer::new();
        let packed = packer.arrays(arrays);
        self.call(Function::Encode, false, &packer, &Request::Encode { arrays: packed }, |region, reply| match reply {
            Reply::Tokens(packed) => packed.read(region).map(Some),
            _ => Ok(None),
        })
    }

    fn decode(
        &self,
        tokens: &TokensView<'_>,
        like: Option<&ArraysView<'_>>,
        lengths: &[usize],
    ) -> Result<Buffers, Fault> {
        let mut packer = Packer::new();
        let like = like.map(|like| packer.arrays(like));
        let request = Request::Decode { tokens: packer.tokens(tokens), like, lengths: lengths.to_vec() };
        self.call(Function::Decode, false, &packer, &request, |region, reply| match reply {
            Reply::Arrays(packed) => packed.read(region).map(Some),
            _ => Ok(None),
        })
    }
}
