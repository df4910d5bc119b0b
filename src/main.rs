//! The command `panchroma`.

fn main() -> std::process::ExitCode {
    panchroma::main()
}
