//! What an instance's end means to people: from a trap to an error of the job.

use drover_api::{ErrorCode, JobError};
use serde_json::json;
use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::Limits;
use crate::limits::megabytes;
use crate::records::cut;

/// Frames of a backtrace that are passed on, and the length of each.
const FRAMES: usize = 64;
const FRAME: usize = 256;
/// The longest text of a plugin's own that goes into an error's message.
const WORDS: usize = 4 << 10;

/// Explains why a call into a plugin did not return.
///
/// `subject` is who was called, such as `hello.greet`; `stderr` is what the
/// instance wrote there, where languages put their last words; `has_refused`
/// tells whether it was denied memory before.
pub(crate) fn explain(
    subject: &str,
    error: &wasmtime::Error,
    stderr: &str,
    has_refused: bool,
    limits: &Limits,
) -> JobError {
    let cause = cause(error);
    let backtrace = backtrace(error);
    let last_words = last_words(stderr);
    let detail = json!({ "cause": cause, "backtrace": backtrace });
    if is_too_long(error) {
        let message = format!(
            "`{subject}` handed over more than {} bytes in one call; answer with less, or raise the limit",
            limits.answer_bytes
        );
        return JobError::new(ErrorCode::InvalidAnswer, message).with_detail(detail);
    }
    if is_full(error) {
        let message = format!(
            "`{subject}` crashed: it holds {} files, streams and other things open, and may hold no more at once; have it close what it no longer needs, or raise the limit `handles`",
            limits.handles
        );
        return JobError::new(ErrorCode::Trapped, message).with_detail(detail);
    }
    if has_refused {
        let message = format!(
            "`{subject}` asked for more than its {} of memory and crashed; give it less to do at once, or raise the limit",
            megabytes(limits.memory_bytes)
        );
        return JobError::new(ErrorCode::OutOfMemory, message).with_detail(detail);
    }
    let message = match last_words {
        Some(words) => format!("`{subject}` crashed: {words}"),
        None => format!("`{subject}` crashed: {cause}"),
    };
    JobError::new(ErrorCode::Trapped, message).with_detail(detail)
}

fn cause(error: &wasmtime::Error) -> String {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return format!("it called exit({}) instead of returning", exit.0);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => "its stack is exhausted: it calls itself too deeply".into(),
        Some(Trap::AsyncDeadlock) => {
            "it waits for what can never come, as nobody is left to bring it".into()
        }
        Some(trap) => trap.to_string(),
        None => plain(&error.root_cause().to_string()),
    }
}

/// Whether the instance handed over more data than one call may have. Wasmtime
/// has no type for it, only words.
fn is_too_long(error: &wasmtime::Error) -> bool {
    error.root_cause().to_string().contains("fuel allocated for hostcalls")
}

/// Whether the instance wanted one more handle than it may have.
fn is_full(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(ResourceTableError::Full))
}

fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let text = backtrace.to_string();
    let frames = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty());
    frames.take(FRAMES).map(|line| plain(cut(line, FRAME))).collect()
}

/// The message of a panic; without one, the last line that was written.
fn last_words(stderr: &str) -> Option<String> {
    let panic = stderr.rfind(" panicked at ").map(|index| {
        let words = stderr[index..].trim_start();
        // Rust adds advice that is of no use here.
        words.split("\nnote: run with").next().unwrap_or(words)
    });
    let words = panic.or_else(|| stderr.lines().rfind(|line| !line.trim().is_empty()))?;
    let words = words.lines().map(str::trim).filter(|line| !line.is_empty());
    let words = words.collect::<Vec<_>>().join(" ");
    Some(plain(&words))
}

/// A plugin's words as they may be shown: not too long, and without the
/// characters that make a terminal do things.
pub(crate) fn plain(words: &str) -> String {
    let show = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    cut(words, WORDS).chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_quoted_with_its_place() {
        let stderr = "starting\n\nthread '<unnamed>' (1) panicked at src/lib.rs:7:5:\nno such disk: sda\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        assert_eq!(last_words(stderr).unwrap(), "panicked at src/lib.rs:7:5: no such disk: sda");
    }

    #[test]
    fn other_languages_have_their_last_line_quoted() {
        assert_eq!(
            last_words("a\nmemory allocation failed\n\n").unwrap(),
            "memory allocation failed"
        );
        assert_eq!(last_words("\n"), None);
    }

    #[test]
    fn a_trap_without_words_is_named() {
        let error = wasmtime::Error::from(Trap::IntegerDivisionByZero);
        let error = explain("a.b", &error, "", false, &Limits::default());
        assert_eq!(error.code, ErrorCode::Trapped);
        assert!(
            error.message.contains("`a.b` crashed: wasm trap: integer divide by zero"),
            "{error}"
        );
    }

    #[test]
    fn a_crash_after_a_refusal_is_for_lack_of_memory() {
        let error = wasmtime::Error::from(Trap::UnreachableCodeReached);
        let error = explain("a.b", &error, "memory allocation failed", true, &Limits::default());
        assert_eq!(error.code, ErrorCode::OutOfMemory);
        assert!(error.message.contains("64 MiB"), "{error}");
    }

    #[test]
    fn a_handle_too_many_is_told_with_the_limits_name() {
        let error = wasmtime::Error::from(ResourceTableError::Full);
        let error = explain("a.b", &error.context("opening"), "", false, &Limits::default());
        assert!(error.message.contains("holds 1000") && error.message.contains("`handles`"));
    }

    #[test]
    fn words_cannot_steer_a_terminal() {
        assert_eq!(plain("\u{1b}[31mred\nnext"), "\u{fffd}[31mred\nnext");
        assert_eq!(plain(&"ä".repeat(WORDS)).len(), WORDS);
    }

    #[test]
    fn an_exit_is_no_panic() {
        let error = wasmtime::Error::from(I32Exit(3));
        let error = explain("a.b", &error, "", false, &Limits::default());
        assert!(error.message.contains("exit(3)"), "{error}");
    }
}
