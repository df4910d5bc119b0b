//! The child's side: loads one library, makes one instance, and answers until the parent is gone.

use super::message::{Plugin, Reply, Request, receive, send};
use super::pack::Packer;
use super::region::Region;
use crate::call::Function;
use crate::codec::Encode;
use crate::instance::{Chosen, Request as Making};
use crate::library::{Kind, Loaded, load};
use crate::modality::Prepare;
use crate::{codec, modality};
use panchroma_core::{Error, Result};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// How often the child looks whether its parent still lives.
const LOOK: Duration = Duration::from_secs(2);

/// Answers the parent whose socket is standard input, until that is closed.
///
/// # Errors
/// If standard input is no socket, or the first message doesn't come.
pub fn serve() -> Result<()> {
    end_with_parent();
    // SAFETY: interrupting from the keyboard reaches the whole group of processes; the parent decides what becomes of a run.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
    // SAFETY: nothing else in this process reads standard input.
    let mut socket = unsafe { UnixStream::from_raw_fd(libc::STDIN_FILENO) };
    let io = Error::io("read from the parent at", std::path::Path::new("standard input"));
    let Request::Load { library, memory } = receive(&mut socket).map_err(io)? else { return Ok(()) };
    let opened = Region::open(&memory).map_err(|error| error.to_string());
    let loaded = load(&library, None).map_err(|error| error.to_string());
    let (loaded, mut region) = match loaded.and_then(|loaded| Ok((loaded, opened?))) {
        Ok(both) => both,
        Err(reason) => {
            let _ = send(&mut socket, &Reply::Error(reason));
            return Ok(());
        }
    };
    let about = loaded.components.iter().map(|component| component.about.clone()).collect();
    let own = &*loaded.library;
    let plugin = Plugin {
        name: own.name.clone(),
        version: own.version.clone(),
        license: own.license.clone(),
        publisher: own.publisher.clone(),
    };
    // A parent that is gone has no use for an answer.
    if send(&mut socket, &Reply::Loaded { plugin, components: about }).is_err() {
        return Ok(());
    }
    let mut instance = None;
    while let Ok(request) = receive(&mut socket) {
        let reply = answer(&loaded, &mut instance, &mut region, request);
        if send(&mut socket, &reply).is_err() {
            break;
        }
    }
    Ok(())
}

/// Ends this process when the parent is gone, even if a plugin never returns.
fn end_with_parent() {
    let parent = std::os::unix::process::parent_id();
    std::thread::spawn(move || {
        while std::os::unix::process::parent_id() == parent {
            std::thread::sleep(LOOK);
        }
        std::process::exit(1);
    });
}

enum Made {
    Modality(modality::Local),
    Codec(codec::Local),
}

fn answer(loaded: &Arc<Loaded>, made: &mut Option<Made>, region: &mut Region, request: Request) -> Reply {
    if let Err(error) = region.follow() {
        return Reply::Error(error.to_string());
    }
    let packed = match request {
        Request::Load { .. } => return Reply::Error("it is loaded already".into()),
        Request::Create { kind, component, config, name, arrays } => {
            let number = loaded.components.iter().position(|c| c.about.kind == kind && c.about.name == component);
            let Some(chosen) = number.and_then(|number| Chosen::new(loaded, number)) else {
                return Reply::Error(format!("the library has no `{component}` any more"));
            };
            let making = Making { config: &config, name: &name, arrays: arrays.as_ref(), modalities: &[], width: 0 };
            let result = match (kind, &arrays) {
                (Kind::Modality, _) => modality::Local::new(chosen, &making).map(|(local, described)| {
                    *made = Some(Made::Modality(local));
                    Reply::Modality(described)
                }),
                (Kind::Codec, Some(arrays)) => codec::Local::new(chosen, &making, arrays).map(|(local, described)| {
                    *made = Some(Made::Codec(local));
                    Reply::Codec(described)
                }),
                _ => Err(Function::Create.fault("it can't run in a child process")),
            };
            return result.unwrap_or_else(Reply::Failed);
        }
        Request::Fit { batch } => {
            let Some(Made::Modality(local)) = made else { return Reply::Error("there is no modality".into()) };
            let batch = batch.as_ref().map(|batch| batch.view(region)).transpose();
            let fitted = match batch {
                Err(error) => return Reply::Error(error.to_string()),
                Ok(batch) => local.fit(batch.as_ref()),
            };
            return fitted.map_or_else(Reply::Failed, |()| Reply::Done);
        }
        Request::Fitted => {
            let Some(Made::Modality(local)) = made else { return Reply::Error("there is no modality".into()) };
            return local.fitted().map_or_else(Reply::Failed, Reply::Learned);
        }
        Request::Restore { fitted } => {
            let Some(Made::Modality(local)) = made else { return Reply::Error("there is no modality".into()) };
            return local.restore(&fitted).map_or_else(Reply::Failed, |()| Reply::Done);
        }
        Request::Prepare { batch } => {
            let Some(Made::Modality(local)) = made else { return Reply::Error("there is no modality".into()) };
            batch.view(region).map(|batch| local.prepare(&batch).map(Given::Arrays))
        }
        Request::Encode { arrays } => {
            let Some(Made::Codec(local)) = made else { return Reply::Error("there is no codec".into()) };
            arrays.view(region).map(|arrays| local.encode(&arrays).map(Given::Tokens))
        }
        Request::Decode { tokens, like, lengths } => {
            let Some(Made::Codec(local)) = made else { return Reply::Error("there is no codec".into()) };
            let views = tokens.view(region).and_then(|t| Ok((t, like.map(|like| like.view(region)).transpose()?)));
            views.map(|(tokens, like)| local.decode(&tokens, like.as_ref(), &lengths).map(Given::Arrays))
        }
    };
    match packed {
        Err(error) => Reply::Error(error.to_string()),
        Ok(Err(fault)) => Reply::Failed(fault),
        Ok(Ok(given)) => given.reply(region).unwrap_or_else(|error| Reply::Error(error.to_string())),
    }
}

enum Given {
    Arrays(crate::arrays::Buffers),
    Tokens(crate::tokens::TokenBuffers),
}

impl Given {
    /// Copies it to shared memory, where the request was.
    fn reply(&self, region: &mut Region) -> std::io::Result<Reply> {
        let mut packer = Packer::new();
        let reply = match self {
            Self::Arrays(buffers) => Reply::Arrays(packer.buffers(buffers)),
            Self::Tokens(buffers) => Reply::Tokens(packer.token_buffers(buffers)),
        };
        packer.write(region)?;
        Ok(reply)
    }
}
