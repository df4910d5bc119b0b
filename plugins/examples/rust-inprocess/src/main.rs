//! The command `my-panchroma`: everything that `panchroma` does, and the plugins of this crate.

use panchroma_visibilities as _; // A crate that nobody names registers nothing.

fn main() -> std::process::ExitCode {
    panchroma::main()
}
