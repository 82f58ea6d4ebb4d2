//! WAMP clients that are not ours: one process, any number of sessions.
//!
//! `tests/interop/peers/README.md` has the language of orders and reports.

use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::{Process, installed};

/// A process that holds sessions of a foreign WAMP client.
pub struct Peer {
    process: Process,
    orders: Mutex<ChildStdin>,
    last_order: AtomicU64,
}

/// One session of a [`Peer`].
pub struct PeerSession<'a> {
    peer: &'a Peer,
    name: String,
    /// What the peer said of its welcome: `id`, `role`, `login`, `serializer`.
    pub welcome: Value,
}

/// The number of an order whose reports are still to come.
#[derive(Debug, Clone, Copy)]
pub struct Order(u64);

/// An error as the peer's library shows it to its user.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerError {
    /// The error's URI.
    pub uri: String,
    /// Its positional arguments.
    pub args: Value,
    /// Its keyword arguments.
    pub kwargs: Value,
}

impl Peer {
    /// Starts autobahn-python.
    #[must_use]
    pub fn python() -> Self {
        Self::start(Command::new(installed("venv/bin/python")).arg("-u").arg(script("peer.py")))
    }

    /// Starts autobahn-js in Node.js.
    #[must_use]
    pub fn javascript() -> Self {
        let packages = installed("node/node_modules/autobahn");
        let folder = packages.ancestors().nth(2).unwrap();
        Self::start(Command::new("node").arg(script("peer.js")).arg(folder))
    }

    fn start(command: &mut Command) -> Self {
        let (process, orders) = Process::spawn_listening(command);
        let peer = Self { process, orders: Mutex::new(orders), last_order: AtomicU64::new(0) };
        peer.wait_for("its first report", |report| report.get("ready").cloned());
        peer
    }

    /// Joins `realm` with one serializer, anonymously, and waits until that is
    /// done.
    ///
    /// # Panics
    ///
    /// If the router refuses.
    #[must_use]
    pub fn join(&self, url: &str, realm: &str, serializer: &str) -> PeerSession<'_> {
        self.try_join(url, realm, serializer, &Value::Null).unwrap()
    }

    /// Joins `realm` with a login if it is not null.
    ///
    /// # Errors
    ///
    /// If the router refuses: its reason, and its text as the argument.
    pub fn try_join(
        &self,
        url: &str,
        realm: &str,
        serializer: &str,
        login: &Value,
    ) -> Result<PeerSession<'_>, PeerError> {
        let fields = [
            ("url", url.into()),
            ("realm", realm.into()),
            ("serializer", serializer.into()),
            ("login", login.clone()),
        ];
        let name = format!("session {}", self.last_order.load(Ordering::Relaxed) + 1);
        let order = self.order("join", &name, fields);
        let welcome = self.answer(order)?;
        Ok(PeerSession { peer: self, name, welcome })
    }

    /// Waits for a report that answers no order, such as `interrupted`.
    pub fn wait_for_note(&self, kind: &str) -> Value {
        self.wait_for(kind, |report| report.get(kind).cloned())
    }

    fn order<const N: usize>(
        &self,
        what: &str,
        session: &str,
        fields: [(&str, Value); N],
    ) -> Order {
        let id = self.last_order.fetch_add(1, Ordering::Relaxed) + 1;
        let mut order = json!({"id": id, "do": what, "session": session});
        for (name, value) in fields {
            order[name] = value;
        }
        let mut orders = self.orders.lock().unwrap();
        writeln!(orders, "{order}").unwrap();
        orders.flush().unwrap();
        Order(id)
    }

    fn answer(&self, order: Order) -> Result<Value, PeerError> {
        let what = format!("the answer to order {}", order.0);
        self.wait_for(&what, |report| {
            if report["re"] != order.0 {
                return None;
            }
            if let Some(error) = report.get("error") {
                return Some(Err(PeerError::read(error)));
            }
            report.get("done").cloned().map(Ok)
        })
    }

    fn wait_for<T>(&self, what: &str, pick: impl Fn(&Value) -> Option<T>) -> T {
        self.process.wait_for_output(what, |line| pick(&serde_json::from_str(line).ok()?))
    }
}

impl PeerSession<'_> {
    /// Offers a procedure that behaves as `does` says.
    ///
    /// # Errors
    ///
    /// If the router refuses.
    pub fn register(
        &self,
        procedure: &str,
        does: &str,
        options: Value,
    ) -> Result<Order, PeerError> {
        let fields = [("procedure", procedure.into()), ("does", does.into()), ("options", options)];
        self.done("register", fields)
    }

    /// Subscribes; [`PeerSession::events`] has what comes.
    ///
    /// # Errors
    ///
    /// If the router refuses.
    pub fn subscribe(&self, topic: &str, options: Value) -> Result<Order, PeerError> {
        self.done("subscribe", [("topic", topic.into()), ("options", options)])
    }

    /// Takes back a registration or a subscription.
    ///
    /// # Errors
    ///
    /// If the router refuses.
    pub fn undo(&self, order: Order) -> Result<Order, PeerError> {
        self.done("undo", [("of", order.0.into())])
    }

    /// Publishes and waits for the acknowledgement.
    ///
    /// # Errors
    ///
    /// If the router refuses.
    pub fn publish(
        &self,
        topic: &str,
        args: Value,
        kwargs: Value,
        options: Value,
    ) -> Result<Order, PeerError> {
        let fields =
            [("topic", topic.into()), ("args", args), ("kwargs", kwargs), ("options", options)];
        self.done("publish", fields)
    }

    /// Calls and waits for the result: `args` and `kwargs`.
    ///
    /// # Errors
    ///
    /// If the call does.
    pub fn call(&self, procedure: &str, args: Value, kwargs: Value) -> Result<Value, PeerError> {
        self.result(self.begin(procedure, args, kwargs, json!({})))
    }

    /// Begins a call that wants progressive results.
    pub fn begin(&self, procedure: &str, args: Value, kwargs: Value, options: Value) -> Order {
        let fields = [
            ("procedure", procedure.into()),
            ("args", args),
            ("kwargs", kwargs),
            ("options", options),
            ("progress", true.into()),
        ];
        self.peer.order("call", &self.name, fields)
    }

    /// Cancels a call.
    ///
    /// # Errors
    ///
    /// If the peer knows of no such call.
    pub fn cancel(&self, call: Order) -> Result<Order, PeerError> {
        self.done("cancel", [("of", call.0.into())])
    }

    /// Waits for the result of a call.
    ///
    /// # Errors
    ///
    /// If the call failed.
    pub fn result(&self, call: Order) -> Result<Value, PeerError> {
        self.peer.answer(call)
    }

    /// Says goodbye.
    pub fn leave(&self) {
        self.done("leave", []).unwrap();
    }

    /// The progressive results of a call until now.
    #[must_use]
    pub fn progress(&self, call: Order) -> Vec<Value> {
        self.reports(call, "progress")
    }

    /// Waits until a subscription has had so many events, and returns them.
    #[must_use]
    pub fn events(&self, subscription: Order, count: usize) -> Vec<Value> {
        let what = format!("{count} events of {subscription:?} at {}", self.name);
        crate::wait_for(&what, || {
            let events = self.reports(subscription, "event");
            if events.len() >= count { Ok(events) } else { Err(self.peer.process.last_words()) }
        })
    }

    fn reports(&self, order: Order, kind: &str) -> Vec<Value> {
        let lines = self.peer.process.output();
        let reports = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        reports
            .filter(|report| report["re"] == order.0)
            .filter_map(|report| report.get(kind).cloned())
            .collect()
    }

    fn done<const N: usize>(
        &self,
        what: &str,
        fields: [(&str, Value); N],
    ) -> Result<Order, PeerError> {
        let order = self.peer.order(what, &self.name, fields);
        self.peer.answer(order).map(|_| order)
    }
}

impl PeerError {
    fn read(error: &Value) -> Self {
        Self {
            uri: error["uri"].as_str().unwrap_or_default().to_owned(),
            args: error["args"].clone(),
            kwargs: error["kwargs"].clone(),
        }
    }
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/peers").join(name)
}
