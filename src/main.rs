//! The `portcullis` program: arguments, the act, the exit code. All of it is in [`portcullis::cli`].

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match portcullis::cli::Arguments::of_process() {
        Ok(arguments) => arguments,
        Err(ended) => return ended.report().into(),
    };
    match portcullis::cli::act(&arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => portcullis::cli::report(&failure, &arguments.global).into(),
    }
}
