//! `panchroma completions SHELL`.

use super::{Cli, print};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use panchroma_core::Result;

/// Arguments of `completions`.
#[derive(Args)]
#[command(after_help = "Example: panchroma completions bash > ~/.local/share/bash-completion/completions/panchroma")]
pub(super) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "panchroma", &mut text);
    print(&String::from_utf8_lossy(&text))
}
