//! The parent's side: children, one for each call that is under way, and what becomes of one that doesn't answer.

use super::COMMAND;
use super::message::{Plugin, Reply, Request, receive, send};
use super::pack::Packer;
use super::region::Region;
use crate::arrays::Spec;
use crate::call::{Fault, Function};
use crate::library::{About, Kind};
use crate::{codec, modality, unloadable};
use panchroma_core::{Library, Result as CoreResult};
use serde_json::Value;
use std::io::{ErrorKind, Result};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A component in child processes.
pub(crate) struct Outside {
    library: PathBuf,
    sha256: String,
    limit: Duration,
    create: Create,
    /// Those that wait for work.
    idle: Mutex<Vec<Worker>>,
    /// Microseconds that a call took, at most.
    longest: AtomicU64,
}

/// What a new child has to make.
#[derive(Clone)]
struct Create {
    kind: Kind,
    component: String,
    config: Value,
    name: String,
    arrays: Option<Spec>,
    /// What the others learned.
    learned: Option<Value>,
}

/// What came of a child's first message.
pub(crate) enum Made {
    Modality(modality::Described),
    Codec(codec::Described),
}

impl Outside {
    /// Makes the component `about` of a library in a child.
    pub(crate) fn new(
        library: &Library,
        about: &About,
        config: Value,
        name: &str,
        arrays: Option<Spec>,
        limit: Duration,
    ) -> std::result::Result<(Self, Made), Fault> {
        let create = Create {
            kind: about.kind,
            component: about.name.clone(),
            config,
            name: name.into(),
            arrays,
            learned: None,
        };
        let outside = Self {
            library: library.path.clone(),
            sha256: library.sha256.clone(),
            limit,
            create,
            idle: Mutex::default(),
            longest: AtomicU64::new(0),
        };
        let (worker, made) = outside.spawn()?;
        outside.put_back(worker);
        Ok((outside, made))
    }

    fn put_back(&self, worker: Worker) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }

    fn spawn(&self) -> std::result::Result<(Worker, Made), Fault> {
        let function = Function::Create;
        let mut worker = Worker::new(self.limit).map_err(|error| cant_start(function, &error))?;
        worker
            .load(&self.library, &self.sha256)
            .map_err(|lost| lost.fault(function))?
            .map_err(|reason| function.fault(reason))?;
        let Create { kind, component, config, name, arrays, learned } = self.create.clone();
        let reply = worker.ask(&Request::Create { kind, component, config, name, arrays });
        let made = match reply.map_err(|lost| lost.fault(function))? {
            Reply::Modality(described) => Made::Modality(described),
            Reply::Codec(described) => Made::Codec(described),
            Reply::Failed(fault) => return Err(fault),
            other => return Err(function.fault(unexpected(&other))),
        };
        if let Some(fitted) = learned {
            let function = Function::Restore;
            match worker.ask(&Request::Restore { fitted }).map_err(|lost| lost.fault(function))? {
                Reply::Done => {}
                Reply::Failed(fault) => return Err(fault),
                other => return Err(function.fault(unexpected(&other))),
            }
        }
        Ok((worker, made))
    }

    /// Leaves one child that has learned nothing.
    pub(super) fn begin_anew(&mut self) -> std::result::Result<(), Fault> {
        self.create.learned = None;
        self.idle.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        let (worker, _) = self.spawn()?;
        self.put_back(worker);
        Ok(())
    }

    /// What every child that is still to come has to know. Those that there are go: each has it from its JSON.
    pub(super) fn remember(&mut self, learned: Value) {
        self.create.learned = Some(learned);
        self.idle.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Makes a call, which may take only little time in a `hurry`; `read` takes what it gave out of shared memory, `None` if that is no answer to it.
    pub(super) fn call<T>(
        &self,
        function: Function,
        hurry: bool,
        packer: &Packer<'_>,
        request: &Request,
        read: impl FnOnce(&Region, &Reply) -> Result<Option<T>>,
    ) -> std::result::Result<T, Fault> {
        let mut again = matches!(function, Function::Run | Function::Encode | Function::Decode);
        let (mut worker, reply, started) = loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut worker = match idle {
                Some(worker) => worker,
                None => self.spawn()?.0,
            };
            packer.write(&mut worker.region).map_err(|error| shared(function, &error))?;
            let started = Instant::now();
            worker.limit = if hurry { self.little() } else { self.limit };
            // A worker that fails is lost: it is not put back.
            match worker.ask(request) {
                Ok(reply) => break (worker, reply, started),
                // Somebody else ended it, perhaps for the memory that all processes took: once, another one is worth it.
                Err(lost) if lost.killed && again => again = false,
                Err(lost) => return Err(lost.fault(function)),
            }
        };
        self.longest.fetch_max(started.elapsed().as_micros() as u64, Ordering::Relaxed);
        let result = match &reply {
            Reply::Failed(fault) => Err(fault.clone()),
            reply => {
                worker.region.follow().map_err(|error| shared(function, &error))?;
                let found = read(&worker.region, reply).map_err(|error| shared(function, &error))?;
                found.ok_or_else(|| function.fault(unexpected(reply)))
            }
        };
        self.put_back(worker);
        result
    }

    /// Time for a call that is one of many in a search: a second, or a multiple of what any took.
    fn little(&self) -> Duration {
        let usual = Duration::from_micros(self.longest.load(Ordering::Relaxed).saturating_mul(20));
        usual.max(Duration::from_secs(1)).min(self.limit)
    }
}

fn cant_start(function: Function, error: &std::io::Error) -> Fault {
    function.fault(format!("a process for it can't be started: {error}"))
}

fn shared(function: Function, error: &std::io::Error) -> Fault {
    let more = if error.kind() == ErrorKind::StorageFull { "; make /dev/shm larger, or batches smaller" } else { "" };
    function.fault(format!("memory to share with its process: {error}{more}"))
}

fn unexpected(reply: &Reply) -> String {
    match reply {
        Reply::Error(reason) => reason.clone(),
        _ => "its process gave an answer to something else".into(),
    }
}

/// What a library in a child says of itself and of its components.
///
/// # Errors
/// If it can't be loaded there, or takes the process with it.
pub(crate) fn describe(path: &Path, sha256: &str, limit: Duration) -> CoreResult<(Library, Vec<About>)> {
    let failed = |reason: String| unloadable(path, reason, None);
    let mut worker = Worker::new(limit).map_err(|e| failed(format!("a process for it can't be started: {e}")))?;
    let loaded = worker.load(path, sha256).map_err(|lost| failed(lost.reason))?.map_err(failed)?;
    let (Plugin { name, version, license, publisher }, components) = loaded;
    Ok((Library { name, version, license, publisher, path: path.to_path_buf(), sha256: sha256.into() }, components))
}

/// A child.
struct Worker {
    child: Child,
    socket: UnixStream,
    region: Region,
    limit: Duration,
}

/// A child that is gone.
struct Lost {
    reason: String,
    /// Whether somebody else ended it.
    killed: bool,
}

impl Lost {
    fn fault(self, function: Function) -> Fault {
        Fault { crash: true, ..function.fault(self.reason) }
    }
}

impl Worker {
    fn new(limit: Duration) -> Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let region = Region::create()?;
        // What a plugin prints must not get among what this program prints for others to read.
        let errors: OwnedFd = std::os::fd::AsFd::as_fd(&std::io::stderr()).try_clone_to_owned()?;
        let child = Command::new(own_program()?)
            .args(COMMAND)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(errors))
            .spawn()?;
        Ok(Self { child, socket, region, limit })
    }

    /// Loads the library there; the inner error is what loading it said.
    fn load(
        &mut self,
        library: &Path,
        sha256: &str,
    ) -> std::result::Result<std::result::Result<(Plugin, Vec<About>), String>, Lost> {
        let request =
            Request::Load { library: library.to_path_buf(), sha256: sha256.into(), memory: self.region.path() };
        let reply = self.ask(&request)?;
        self.region.forget_name();
        Ok(match reply {
            Reply::Loaded { plugin, components } => Ok((plugin, components)),
            other => Err(unexpected(&other)),
        })
    }

    fn ask(&mut self, request: &Request) -> std::result::Result<Reply, Lost> {
        let times = [self.socket.set_read_timeout(Some(self.limit)), self.socket.set_write_timeout(Some(self.limit))];
        let ready = times.into_iter().collect::<Result<()>>();
        let answer = ready.and_then(|()| send(&mut self.socket, request)).and_then(|()| receive(&mut self.socket));
        answer.map_err(|error| {
            let (reason, killed) = self.end(&error);
            Lost { reason, killed }
        })
    }

    /// Why there is no answer, and whether somebody else is why.
    fn end(&mut self, error: &std::io::Error) -> (String, bool) {
        let stop = |child: &mut Child| {
            let _ = child.kill();
            let _ = child.wait();
        };
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                stop(&mut self.child);
                let limit = self.limit.as_secs_f64();
                return (
                    format!("it took longer than {limit} s (`plugins.time_limit`), and its process was stopped"),
                    false,
                );
            }
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {}
            _ => {
                stop(&mut self.child);
                return (format!("its process gave no proper answer and was stopped: {error}"), false);
            }
        }
        // It has closed its side: it is gone, or about to be. One that stays is stopped.
        let patience = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if patience.elapsed() > self.limit {
                stop(&mut self.child);
                return ("its process closed the connection and was stopped".into(), false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        match self.child.wait() {
            Ok(status) => match (status.signal(), status.code()) {
                (Some(signal), _) => {
                    let what = format!("its process was ended by signal {signal} ({})", signal_name(signal));
                    (what, signal == libc::SIGKILL)
                }
                (None, Some(code)) => (format!("its process ended by itself, with exit code {code}"), false),
                (None, None) => (format!("its process ended: {status}"), false),
            },
            Err(_) => (format!("its process does not answer: {error}"), false),
        }
    }
}

/// This program, also if its file was replaced since it was started.
pub fn own_program() -> Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_path_buf()) } else { std::env::current_exe() }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGSEGV => "a wrong address in memory",
        libc::SIGBUS => "memory that isn't there",
        libc::SIGABRT => "it called abort",
        libc::SIGFPE => "an impossible computation",
        libc::SIGILL => "an instruction that this processor does not have",
        libc::SIGKILL => "somebody killed it, perhaps for its memory",
        _ => "see `man 7 signal`",
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has nothing to finish. Without the wait its entry would stay in the table of processes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
