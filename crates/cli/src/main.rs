//! The `cofferdam` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    cofferdam_cli::main()
}
