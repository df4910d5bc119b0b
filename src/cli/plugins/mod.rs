//! `panchroma plugins`: what can be named in a config, and plugins of one's own.

mod check;
mod list;
mod new;

use clap::Subcommand;
use panchroma_core::Result;

/// Commands below `plugins`.
#[derive(Subcommand)]
pub(super) enum PluginsCommand {
    /// List every plugin: kind, name, what it is, where it comes from, the keys of its config
    List(list::ListArgs),
    /// Try a shared library against everything that the interface asks of it
    Check(check::CheckArgs),
    /// Begin a plugin of your own: a project that builds and passes its check at once
    New(new::NewArgs),
    /// What a run starts in a child process for `plugins.isolate`
    #[command(hide = true)]
    Serve,
}

impl PluginsCommand {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::List(args) => args.json(),
            Self::Check(args) => args.json(),
            Self::New(_) | Self::Serve => false,
        }
    }
}

pub(super) fn run(command: &PluginsCommand) -> Result<()> {
    match command {
        PluginsCommand::List(args) => list::run(args),
        PluginsCommand::Check(args) => check::run(args),
        PluginsCommand::New(args) => new::run(args),
        PluginsCommand::Serve => panchroma_host::serve(),
    }
}
