//! A Docker Engine that runs nothing.
//!
//! A thread of its own serves the HTTP interface on a unix socket ([`server`]),
//! looks for faults that are due ([`fault`]), and answers from the [`model`]. What
//! runs in a container is a simulated [`program`]: `sleep`, `echo`, `cat`, `sh -c`
//! with a few constructs. What differs from a real engine: without an `Upgrade`
//! header, attach and exec give output only, as nothing can follow the request;
//! archives must not be compressed; a build has one stage and tells no events of
//! its intermediate containers.

mod answer;
mod api;
mod call;
mod fault;
mod model;
mod program;
mod server;
mod shared;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;

pub use fault::{Fault, FaultKind};

use model::{Files, Model, Node, Reference, digest};
use server::Order;
use shared::Shared;

/// How many orders to the server may wait: who gives one waits for it, so there
/// are as many as threads of a test.
const ORDERS: usize = 64;

/// A simulated Docker Engine on a unix socket. It ends when it is dropped, with
/// all connections.
pub struct Engine {
    socket: PathBuf,
    shared: Arc<Shared>,
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts an engine without containers and images, ready when this returns.
    ///
    /// # Errors
    ///
    /// If nobody can listen at `socket`.
    pub fn start(socket: impl Into<PathBuf>) -> io::Result<Self> {
        let socket = socket.into();
        let listener = std::os::unix::net::UnixListener::bind(&socket)?;
        listener.set_nonblocking(true)?;
        let seed = format!("{} {}", socket.display(), Timestamp::now());
        let root = socket.parent().unwrap_or(Path::new("/")).join("data");
        let shared = Arc::new(Shared::new(Model::new(&seed, root, Timestamp::now())));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, inbox) = mpsc::channel(ORDERS);
        let thread = std::thread::Builder::new().name("engine".to_owned()).spawn({
            let (shared, socket, orders) = (shared.clone(), socket.clone(), orders.downgrade());
            move || runtime.block_on(server::serve(listener, socket, shared, orders, inbox))
        })?;
        Ok(Self { socket, shared, orders: Some(orders), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes requests fail from now on. Of several faults that fit a request, the
    /// first one counts.
    pub fn fail(&self, fault: Fault) {
        self.shared.faults().add(fault);
    }

    /// Ends all faults, and comes back if the engine was gone.
    ///
    /// # Errors
    ///
    /// If nobody can listen at the socket any more.
    pub fn recover(&self) -> io::Result<()> {
        self.shared.faults().clear();
        self.order(Order::ComeBack)
    }

    /// Vanishes as a killed engine does: connections break, the socket stays and
    /// refuses. [`Engine::recover`] ends it. Containers go on; past events are
    /// forgotten.
    pub fn go_away(&self) {
        // Going away cannot fail; an error means that it is gone for good.
        let _ = self.order(Order::GoAway);
    }

    /// The requests until now, such as `POST /containers/create`: without API
    /// version and query, those that failed included.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests()
    }

    /// Adds an image under a name such as `busybox:1`, with the known programs.
    ///
    /// # Panics
    ///
    /// If the name is malformed.
    pub fn add_image(&self, name: &str) {
        let name = Reference::read(name).unwrap_or_else(|refusal| panic!("{}", refusal.message));
        self.shared.with(|model, now| model.import(programs(), Some(name), "", now));
    }

    /// Makes an image available for pulls, at the registry that its name says.
    ///
    /// # Panics
    ///
    /// If the name is malformed.
    pub fn publish(&self, name: &str) {
        let name = Reference::read(name).unwrap_or_else(|refusal| panic!("{}", refusal.message));
        self.shared.with(|model, now| {
            let mut scratch = Model::new(&name.to_string(), PathBuf::new(), now);
            let id = scratch.import(programs(), None, &name.to_string(), now);
            if let Some(image) = scratch.images.remove(&id) {
                let digest = format!("sha256:{}", digest(id.as_bytes()));
                model.registry.put(name, image, digest);
            }
        });
    }

    /// Adds an empty registry, such as `127.0.0.1:5000`: it can be pushed to.
    pub fn add_registry(&self, address: &str) {
        self.shared.with(|model, _| model.registry.add(address));
    }

    /// Makes a registry ask for a login, for pushes and pulls.
    pub fn guard_registry(&self, address: &str, user: &str, password: &str) {
        self.shared.with(|model, _| model.registry.guard(address, user, password));
    }

    /// Waits for what the server says; a blocking channel, as a test may call this
    /// from within a runtime.
    fn order(&self, order: impl FnOnce(SyncSender<io::Result<()>>) -> Order) -> io::Result<()> {
        let ended = || io::Error::other("the simulated engine has ended");
        let (reply, answer) = sync_channel(1);
        let orders = self.orders.as_ref().ok_or_else(ended)?;
        orders.try_send(order(reply)).map_err(io::Error::other)?;
        answer.recv().map_err(|_| ended())?
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was printed; the test fails by what it did not answer.
            let _ = thread.join();
        }
        // It may be gone with its folder.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// The files of a small image: the known programs, as links to one file.
fn programs() -> Files {
    let mut files = Files::default();
    files.0.insert("/bin".to_owned(), Node::Folder);
    files.0.insert("/bin/busybox".to_owned(), Node::File(Bytes::from_static(b"simulated")));
    for name in ["cat", "echo", "env", "false", "sh", "sleep", "touch", "true"] {
        files.0.insert(format!("/bin/{name}"), Node::Link("busybox".to_owned()));
    }
    files
}
