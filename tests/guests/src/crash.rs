//! Operations that end their instance.

use std::hint::black_box;

use drover_sdk::task;

const CHUNK: usize = 1024 * 1024;

/// Panics.
#[task]
pub(crate) fn panic(
    /// What it says.
    message: String,
) {
    panic!("{message}");
}

/// Calls itself until the stack is used up.
#[task]
pub(crate) fn recurse() -> u64 {
    descend(0)
}

#[expect(unconditional_recursion, reason = "that is the point")]
fn descend(depth: u64) -> u64 {
    // What happens after the call keeps it from being made a loop.
    black_box(descend(black_box(depth + 1)) + depth)
}

/// Takes memory, writes to it and keeps it, until there is none.
#[task]
pub(crate) fn allocate() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; CHUNK]));
    }
}

/// Ends the program, as if it were one.
#[task]
#[expect(clippy::disallowed_methods, reason = "the host must survive it")]
pub(crate) fn exit(
    /// The status.
    status: u8,
) {
    std::process::exit(status.into());
}
