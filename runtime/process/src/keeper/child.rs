//! What a forked child does before it is the program: limits, user, directory.

use std::ffi::CString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::SigSet;
use nix::unistd::{Gid, Group, Uid, User};
use rustix::process::{Resource, Rlimit};

use super::launch::{Launch, LaunchError, LaunchErrorKind};
use crate::tree::MARK;

/// Everything that the child needs, made before the fork.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) launch: &'a Launch,
    pub(crate) mark: &'a str,
    /// The limit of open files that the keeper itself was started with.
    pub(crate) open_files: Rlimit,
    /// `cgroup.procs` of the groups that it has to enter.
    pub(crate) enter: &'a [PathBuf],
    /// Bounds that no cgroup keeps.
    pub(crate) memory: Option<u64>,
    pub(crate) processes: Option<u64>,
}

/// The ends of the pipes that are the child's.
#[derive(Debug)]
pub(crate) struct ChildEnds {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// What the child was about when it failed. Goes over a pipe as its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Session,
    Cgroup,
    Limit,
    User,
    WorkingDir,
    Program,
}

const STEPS: [Step; 6] =
    [Step::Session, Step::Cgroup, Step::Limit, Step::User, Step::WorkingDir, Step::Program];

/// Becomes the program, or says over `report` what went wrong. A `report` that
/// ends without a word is a success: the program does not inherit it.
pub(crate) fn run(plan: &Plan<'_>, ends: ChildEnds, mut report: io::PipeWriter) {
    let (step, error) = become_program(plan, ends);
    let step = STEPS.iter().position(|&other| other == step).unwrap_or_default();
    let number = error.raw_os_error().unwrap_or(0);
    // When the keeper is gone there is nobody to tell.
    drop(report.write_all(&[&[step as u8][..], &number.to_le_bytes()].concat()));
}

/// Reads what [`run`] said: `None` when the child has become the program.
/// Waits for it, so call it when there is something to read.
pub(crate) fn outcome(mut report: io::PipeReader) -> Option<(Step, io::Error)> {
    let mut said = Vec::new();
    // The pipe cannot fail but by its end.
    drop(report.read_to_end(&mut said));
    let (&step, number) = said.split_first()?;
    let number = <[u8; 4]>::try_from(number).map_or(0, i32::from_le_bytes);
    let step = STEPS.get(usize::from(step)).copied().unwrap_or(Step::Program);
    let error = match number {
        0 => io::ErrorKind::InvalidInput.into(),
        number => io::Error::from_raw_os_error(number),
    };
    Some((step, error))
}

fn become_program(plan: &Plan<'_>, ends: ChildEnds) -> (Step, io::Error) {
    let launch = plan.launch;
    let stdin = match prepare(plan, ends.stdin) {
        Ok(stdin) => stdin,
        Err(failure) => return failure,
    };
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .env("DROVER_PROCESS", launch.id.as_str())
        .env(MARK, plan.mark)
        .stdin(stdin)
        .stdout(ends.stdout)
        .stderr(ends.stderr);
    // Undoes what Rust does with SIGPIPE as well.
    (Step::Program, command.exec())
}

/// Gives what the program is to read.
fn prepare(plan: &Plan<'_>, stdin: Option<OwnedFd>) -> Result<OwnedFd, (Step, io::Error)> {
    let at = |step| move |error: io::Error| (step, error);
    rustix::process::setsid().map_err(io::Error::from).map_err(at(Step::Session))?;
    // The keeper takes signals by a descriptor and blocks them; a program wants them.
    SigSet::empty().thread_set_mask().map_err(io::Error::from).map_err(at(Step::Session))?;
    for group in plan.enter {
        fs::write(group, "0").map_err(at(Step::Cgroup))?;
    }
    limit(plan).map_err(at(Step::Limit))?;
    become_user(plan.launch).map_err(at(Step::User))?;
    std::env::set_current_dir(&plan.launch.working_dir).map_err(at(Step::WorkingDir))?;
    let stdin = match stdin {
        Some(stdin) => stdin,
        None => fs::File::open("/dev/null").map_err(at(Step::Session))?.into(),
    };
    // Last of all: the copies of the keeper's descriptors, which may be more than
    // the program may have, are there until the program is.
    rustix::process::setrlimit(Resource::Nofile, open_files(plan))
        .map_err(io::Error::from)
        .map_err(at(Step::Limit))?;
    Ok(stdin)
}

/// What the program may open.
fn open_files(plan: &Plan<'_>) -> Rlimit {
    plan.launch.limits.open_files.map_or(plan.open_files, both)
}

fn both(bound: u64) -> Rlimit {
    Rlimit { current: Some(bound), maximum: Some(bound) }
}

/// Sets the limits that the user could not set.
fn limit(plan: &Plan<'_>) -> io::Result<()> {
    use rustix::process::{getrlimit, setpriority_process, setrlimit};
    // Only what has to be raised; it is lowered when nothing is to be opened.
    let now = getrlimit(Resource::Nofile);
    let maximum = open_files(plan).maximum;
    if let (Some(wanted), Some(most)) = (maximum, now.maximum)
        && wanted > most
    {
        setrlimit(Resource::Nofile, Rlimit { current: now.current, maximum })?;
    }
    if let Some(bytes) = plan.memory {
        setrlimit(Resource::As, both(bytes))?;
    }
    if let Some(count) = plan.processes {
        setrlimit(Resource::Nproc, both(count))?;
    }
    if let Some(nice) = plan.launch.limits.nice {
        setpriority_process(None, nice)?;
    }
    Ok(())
}

/// Takes on the user and group, with the other groups that the user is in.
/// Whoever is not found is `ErrorKind::NotFound`, told as ENOENT.
fn become_user(launch: &Launch) -> io::Result<()> {
    if launch.user.is_none() && launch.group.is_none() {
        return Ok(());
    }
    let user = launch.user.as_deref().map(find_user).transpose()?;
    let group = launch.group.as_deref().map(find_group).transpose()?;
    let gid = group.or(user.as_ref().map(|user| user.gid)).unwrap_or_else(Gid::current);
    if Uid::effective().is_root() {
        match &user {
            Some(User { name, .. }) if !name.is_empty() => {
                nix::unistd::initgroups(&CString::new(name.as_str())?, gid)?;
            }
            _ => nix::unistd::setgroups(&[gid])?,
        }
    }
    nix::unistd::setgid(gid)?;
    if let Some(user) = user {
        nix::unistd::setuid(user.uid)?;
    }
    Ok(())
}

/// By name, or by a number, which needs no entry in the machine's list.
fn find_user(text: &str) -> io::Result<User> {
    let unknown = || io::Error::from_raw_os_error(nix::libc::ENOENT);
    if let Some(user) = User::from_name(text)? {
        return Ok(user);
    }
    let uid = Uid::from_raw(text.parse().map_err(|_| unknown())?);
    Ok(User::from_uid(uid)?.unwrap_or_else(|| User {
        name: String::new(),
        passwd: CString::default(),
        uid,
        gid: Gid::from_raw(uid.as_raw()),
        gecos: CString::default(),
        dir: PathBuf::new(),
        shell: PathBuf::new(),
    }))
}

fn find_group(text: &str) -> io::Result<Gid> {
    let unknown = || io::Error::from_raw_os_error(nix::libc::ENOENT);
    match Group::from_name(text)? {
        Some(group) => Ok(group.gid),
        None => text.parse().map(Gid::from_raw).map_err(|_| unknown()),
    }
}

/// Says to a person what a failed step means and what to do.
pub(crate) fn explain(launch: &Launch, step: Step, error: &io::Error) -> LaunchError {
    use io::ErrorKind::{
        ArgumentListTooLong, InvalidInput, NotADirectory, NotFound, OutOfMemory, PermissionDenied,
        WouldBlock,
    };
    let program = &launch.program;
    let (kind, why) = match (step, error.kind()) {
        (Step::Program, NotFound | NotADirectory) if PathBuf::from(program).is_file() => (
            LaunchErrorKind::NoProgram,
            "it is there, but the interpreter that its first line or its format asks for is not; \
             install that"
                .to_owned(),
        ),
        (Step::Program, NotFound | NotADirectory) => (
            LaunchErrorKind::NoProgram,
            "there is no such program; give its full path, or a PATH in the environment that has it"
                .to_owned(),
        ),
        (Step::Program, PermissionDenied) => (
            LaunchErrorKind::NotAllowed,
            format!("{} may not run it; check the rights of the file and its directories", who(launch)),
        ),
        (Step::Program, ArgumentListTooLong) => (
            LaunchErrorKind::Other,
            "its arguments and environment are too long; pass them as data".to_owned(),
        ),
        (Step::Program, InvalidInput) => (
            LaunchErrorKind::Other,
            "an argument or a variable has a NUL byte, or a variable's name an equals sign; \
             leave it out"
                .to_owned(),
        ),
        (Step::Program, WouldBlock) => (
            LaunchErrorKind::Exhausted,
            format!("{} has as many processes as it may; end some or raise the limit", who(launch)),
        ),
        (_, OutOfMemory) => {
            (LaunchErrorKind::Exhausted, "there is no memory left; free some".to_owned())
        }
        (Step::WorkingDir, _) => (
            LaunchErrorKind::WorkingDir,
            format!(
                "its working directory {} cannot be entered by {}: {error}; make it, or name another",
                launch.working_dir.display(),
                who(launch),
            ),
        ),
        (Step::User, NotFound) => (
            LaunchErrorKind::User,
            format!("there is no {}; make it, or name another", who(launch)),
        ),
        (Step::User, _) => (
            LaunchErrorKind::User,
            format!("cannot become {}: {error}; the agent must run as root for that", who(launch)),
        ),
        (Step::Limit, _) => (
            LaunchErrorKind::Limit,
            format!(
                "its limits {} cannot be set: {error}; an agent that is not root can only lower them",
                described(launch),
            ),
        ),
        (Step::Cgroup, _) => (
            LaunchErrorKind::Limit,
            format!(
                "it cannot enter its cgroup: {error}; leave its limits out, if it has any, or try again"
            ),
        ),
        (Step::Session | Step::Program, _) => (LaunchErrorKind::Other, error.to_string()),
    };
    LaunchError { kind, message: format!("cannot start {program}: {why}") }
}

fn who(launch: &Launch) -> String {
    match (&launch.user, &launch.group) {
        (Some(user), Some(group)) => format!("user {user} with group {group}"),
        (Some(user), None) => format!("user {user}"),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "the agent's user".to_owned(),
    }
}

fn described(launch: &Launch) -> String {
    let limits = &launch.limits;
    let numbers = [
        ("memory", limits.memory.map(|bytes| bytes.to_string())),
        ("processes", limits.processes.map(|count| count.to_string())),
        ("open files", limits.open_files.map(|count| count.to_string())),
        ("nice", limits.nice.map(|nice| nice.to_string())),
    ];
    let set = numbers.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?)));
    format!("({})", set.collect::<Vec<_>>().join(", "))
}
