//! A real Docker Engine of the test's own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Client;
use crate::image::import_busybox;

/// The registry that a [`RealEngine`] can reach, for push and pull.
pub const REGISTRY: &str = "127.0.0.1:5000";

/// A registry that wants a login, [`LOGIN`].
pub const GUARDED: &str = "127.0.0.1:5001";

/// The user and the password that [`GUARDED`] lets in.
pub const LOGIN: (&str, &str) = ("drover", "hay");

/// How long an engine may take to answer. Generous: only a failing test waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// A dockerd with its own namespaces of processes, mounts and networks, and a
/// registry beside it. It starts with the image `busybox:1`. It ends when this is
/// dropped or the program ends, with all that it started.
pub struct RealEngine {
    folder: TempDir,
    process: Child,
    /// Orders, and their acknowledgements. The engine ends with its input.
    line: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
}

impl RealEngine {
    /// Starts an engine, ready when this returns.
    ///
    /// # Panics
    ///
    /// If nothing is installed, the caller is not root, or the engine does not
    /// answer in 30 seconds.
    #[must_use]
    pub fn start() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "a Docker Engine needs root: run the tests as root, or leave out what has one with \
             `--exclude drover-engine-tests` and `--skip real_engine`"
        );
        let folder = tempfile::Builder::new().prefix("engine-").tempdir().unwrap();
        let group = folder.path().file_name().unwrap().to_string_lossy().into_owned();
        // The outer shell cleans up what is not in a namespace, whatever becomes of us.
        let script = "unshare --net --mount --pid --fork --kill-child --mount-proc \
                      sh \"$1\" \"$2\" \"$3\"; \
                      find /sys/fs/cgroup -depth -type d -path \"*/$3*\" -exec rmdir {} + \
                      2>/dev/null; rm -rf \"$2\"";
        let mut process = Command::new("setsid")
            .args(["sh", "-c", script, "engine"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine.sh"))
            .arg(folder.path())
            .arg(group)
            .env("PATH", search_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let done = BufReader::new(process.stdout.take().unwrap());
        let engine = Self { folder, process, line: Mutex::new(Some((orders, done))) };
        engine.wait_until_ready();
        import_busybox(&engine.client());
        engine
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    /// A client of it.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.socket())
    }

    /// Has it take connections and answer nobody until [`RealEngine::kill`].
    pub fn freeze(&self) {
        self.order("freeze");
    }

    /// Kills it, and waits until it is dead. Its containers go on.
    pub fn kill(&self) {
        self.order("kill");
    }

    /// Starts it again after [`RealEngine::kill`], ready when this returns.
    pub fn start_again(&self) {
        self.order("start");
        self.wait_until_ready();
    }

    fn order(&self, order: &str) {
        let mut line = self.line.lock().unwrap();
        let (orders, done) = line.as_mut().unwrap();
        writeln!(orders, "{order}").unwrap();
        let mut answer = String::new();
        done.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), order, "the engine's keeper has ended: {}", self.log());
    }

    #[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition")]
    fn wait_until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready().unwrap_or(false) {
            assert!(Instant::now() < deadline, "no engine answers: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it answers. One that starts may take a connection and drop it.
    fn is_ready(&self) -> io::Result<bool> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.ends_with("OK"))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RealEngine {
    fn drop(&mut self) {
        // The end of its input ends the engine, and the shell cleans up.
        self.line.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let _ = self.process.wait();
    }
}

/// A file of the unpacked packages.
pub(crate) fn installed(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root.join(folder),
        None => root.join("target"),
    };
    let full = target.join("docker").join(path);
    assert!(full.exists(), "there is no {}: run `cargo xtask setup`", full.display());
    full
}

fn search_path() -> String {
    let own = ["usr/sbin", "usr/bin", "bin"].map(|path| installed(path).display().to_string());
    format!("{}:{}", own.join(":"), std::env::var("PATH").unwrap_or_default())
}
