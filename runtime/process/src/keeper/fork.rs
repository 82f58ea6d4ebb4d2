//! The one unsafe step: two processes out of one.
//!
//! `Command::spawn` can put a child neither into a cgroup before it runs nor into
//! a session of its own. The keeper is small and has one thread, so for it a fork
//! is cheap and its child may run any code before it becomes the program.
//!
//! A child can be made in its cgroup by `clone3` alone, which kernels before 5.7
//! and the system call filters of many containers do not know: see
//! [`Groups`](super::groups::Groups) for what is done then.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use rustix::process::{Pid, WaitOptions, waitpid};

/// Proof that this process has one thread, and will have no other.
#[derive(Debug)]
pub(crate) struct SingleThread(());

/// Which of the two processes this is.
#[derive(Debug)]
pub(crate) enum Side {
    Child,
    Parent { child: u32 },
}

/// The arguments of `clone3`, as the kernel's `linux/sched.h` has them.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The status of a child that did not do what it was made for.
pub(crate) const FAILED: i32 = 127;

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

impl SingleThread {
    /// Looks that this process has one thread. The caller starts no other from
    /// then on.
    ///
    /// # Errors
    /// It has several.
    pub(crate) fn check() -> io::Result<Self> {
        match fs::read_dir("/proc/self/task")?.count() {
            1 => Ok(Self(())),
            count => Err(io::Error::other(format!("the keeper must have one thread, not {count}"))),
        }
    }

    /// Makes a child that goes on from here with a copy of everything, in `cgroup`
    /// if there is one. The child must end in `exec` or [`exit_child`].
    ///
    /// # Errors
    /// There is no room for another process, or the cgroup takes none.
    #[expect(unsafe_code, reason = "no safe wrapper of fork or clone3 exists")]
    pub(crate) fn fork(&self, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
        let child = match cgroup {
            Some(cgroup) => {
                let arguments = CloneArgs {
                    flags: CLONE_INTO_CGROUP,
                    exit_signal: libc::SIGCHLD as u64,
                    cgroup: cgroup.as_raw_fd() as u64,
                    ..CloneArgs::default()
                };
                // SAFETY: without CLONE_VM the child has a copy of the memory and
                // goes on on its own copy of the stack, as after fork. `self` says
                // that no other thread could hold a lock (that of malloc) at this
                // instant, so the child may run any code. The kernel reads as much
                // of `arguments` as it is told of, and writes nothing.
                unsafe {
                    libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArgs>())
                }
            }
            // SAFETY: as above; fork takes no arguments.
            None => unsafe { libc::fork() }.into(),
        };
        match u32::try_from(child) {
            Ok(0) => Ok(Side::Child),
            Ok(child) => Ok(Side::Parent { child }),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// Makes a child, in `cgroup` if there is one, that does this and ends, and waits
    /// for it. Gives whether it went well.
    ///
    /// # Errors
    /// As [`fork`](Self::fork).
    pub(crate) fn try_child(
        &self,
        cgroup: Option<BorrowedFd<'_>>,
        does: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<bool> {
        match self.fork(cgroup)? {
            Side::Child => exit_child(if does().is_ok() { 0 } else { FAILED }),
            Side::Parent { child } => {
                let child = i32::try_from(child).ok().and_then(Pid::from_raw);
                let ended = waitpid(child, WaitOptions::empty())?;
                Ok(ended.is_some_and(|(_, status)| status.exit_status() == Some(0)))
            }
        }
    }
}

/// Ends a forked child without running what its parent wants to run at its end.
#[expect(unsafe_code, reason = "no safe wrapper of _exit exists")]
pub(crate) fn exit_child(status: i32) -> ! {
    // SAFETY: it ends this process and touches no memory.
    unsafe { libc::_exit(status) }
}
