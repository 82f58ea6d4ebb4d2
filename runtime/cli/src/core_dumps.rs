//! Core dumps: there are none of this program, as keys, passwords and the secrets of
//! plugins are in its memory.
//!
//! This is a mark of the process and no limit. A limit of 0 means nothing where the
//! kernel hands dumps to another program, as most distributions have it, and every
//! child would have to be given its own back; the mark ends where another program
//! begins. It also keeps the other programs of this user, and a debugger without root,
//! from the memory and the environment of this one.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Has this process leave none, whatever becomes of it.
pub(crate) fn forbid() {
    mark(DumpableBehavior::NotDumpable);
}

/// Takes that back, for somebody who looks for a fault.
pub(crate) fn allow() {
    mark(DumpableBehavior::Dumpable);
}

fn mark(behavior: DumpableBehavior) {
    // The kernel refuses neither to anybody; a filter of system calls might.
    if let Err(error) = set_dumpable_behavior(behavior) {
        crate::output::note(&format!("cannot say whether core dumps are left: {error}"));
    }
}
