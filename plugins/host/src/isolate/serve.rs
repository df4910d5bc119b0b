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
use std::os::fd::{AsRawFd, FromRawFd};
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
    crate::exit::leave_to_parent();
    // What asks to stop often goes to the whole group of processes; the parent decides what becomes of a run.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let mut socket = own_socket()?;
    let io = Error::io("read from the parent at", std::path::Path::new("standard input"));
    let Request::Load { library, sha256, memory } = receive(&mut socket).map_err(io)? else { return Ok(()) };
    let opened = Region::open(&memory).map_err(|error| error.to_string());
    let same = crate::facts(&library).and_then(|facts| match facts.sha256 == sha256 {
        true => load(&library, &sha256, None),
        false => Err(crate::unloadable(&library, "the file changed after the run began", None)),
    });
    let loaded = same.map_err(|error| error.to_string());
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
        // SAFETY: nothing of the plugin's may run any more, such as its destructors beside a call that is under way.
        unsafe { libc::_exit(1) };
    });
}

/// The parent's socket, at a place where a plugin that reads standard input, or a program that it starts, doesn't find it.
fn own_socket() -> Result<UnixStream> {
    let what = std::path::Path::new("standard input");
    let failed = || Error::io("read from the parent at", what)(std::io::Error::last_os_error());
    // SAFETY: plain calls on descriptors of this process.
    let own = unsafe { libc::fcntl(libc::STDIN_FILENO, libc::F_DUPFD_CLOEXEC, 3) };
    let null = std::fs::File::open("/dev/null").map_err(Error::io("read", what))?;
    // SAFETY: as above; both are open.
    if own < 0 || unsafe { libc::dup2(null.as_raw_fd(), libc::STDIN_FILENO) } < 0 {
        return Err(failed());
    }
    // SAFETY: `own` was made above and belongs to nobody else.
    Ok(unsafe { UnixStream::from_raw_fd(own) })
}

/// Standard output under another number, while what anybody prints there goes to standard error.
///
/// # Errors
/// If the system refuses.
pub fn own_output() -> std::io::Result<std::fs::File> {
    // SAFETY: plain calls on descriptors of this process.
    let own = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: as above; both are open.
    if own < 0 || unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: `own` was made above and belongs to nobody else.
    Ok(unsafe { std::fs::File::from_raw_fd(own) })
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
