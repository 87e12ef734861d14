//! The binary: everything is in the library.
//!
//! Exit codes (`tidings::ops::exit::Exit`): 0 ok, 1 a negative result, 2 usage or
//! configuration, 3 log unavailable, 4 taken over by another process, 5 data folder
//! held by another process, 6 a live set runs already, 7 HTTP address in use,
//! 8 failed (a restart may help), 9 killed after the grace period.

use std::process::ExitCode;

/// Records are made on one thread and dropped on another, which glibc's allocator pays
/// for with locks: a third of the pipeline's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidings::ops::small_pages();
    tidings::cli::main()
}
