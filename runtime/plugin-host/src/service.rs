//! Services: operations that keep their instance until they are stopped.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drover_api::{ErrorCode, JobError, OperationKind};
use drover_grants::Allowance;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::Published;
use crate::engine::service_slots;
use crate::feed::Feed;
use crate::host::Host;
use crate::job::{Job, Outcome};
use crate::plugin::Loaded;
use crate::queue::Entrance;
use crate::run::{Run, check_arguments};
use crate::terms::{Bounds, Felt, Terms};
use crate::threads::Start;

/// What a service runs on: the plugin's code, what that may touch and use up. One that
/// differs from the one that a service began with is a reason to begin anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Footing {
    /// SHA-256 of the plugin's file, in hexadecimal.
    pub hash: String,
    allowance: Arc<Allowance>,
    felt: Felt,
}

/// A service that has its place. It runs while [`RunningService::ended`] is
/// awaited, and dropping that ends it at once.
pub struct RunningService {
    /// What it runs on.
    pub footing: Footing,
    /// The version of the plugin's file; none of one that is not in a folder of
    /// versions.
    pub version: Option<String>,
    memory: Arc<AtomicU64>,
    ending: Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

/// Shows how much memory an instance has.
#[derive(Debug, Clone)]
pub struct Memory(Arc<AtomicU64>);

impl Memory {
    /// The most that it has had: a memory never shrinks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Footing {
    fn new(plugin: &Loaded, allowance: Arc<Allowance>, terms: &Terms) -> Self {
        let hash = plugin.description.hash.clone();
        Self { hash, allowance, felt: Felt::of(&terms.limits) }
    }
}

impl RunningService {
    /// Shows how much memory its instance has, in bytes, while it runs and after.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory(Arc::clone(&self.memory))
    }

    /// Runs it, and waits for its end: that it was cancelled, or ended by
    /// itself. One that looks for its cancellation has 2 seconds to tidy up.
    pub async fn ended(self) -> Outcome {
        self.ending.await
    }
}

impl Host {
    /// What a service would run on at present, whether or not its plugin is in
    /// quarantine.
    ///
    /// # Errors
    ///
    /// If there is no such plugin or operation, it is no service, or the plugin
    /// is not granted what it asks for.
    pub fn footing(&self, plugin: &str, operation: &str) -> Result<Footing, JobError> {
        let plugin = self.find(plugin, operation, OperationKind::Service)?;
        let allowance = self.allowance(&plugin)?;
        Ok(Footing::new(&plugin, allowance, &plugin.account.terms()))
    }

    /// Checks the arguments of a service.
    ///
    /// # Errors
    ///
    /// If there is no such service, or they do not fit its schema.
    pub fn check_service(
        &self,
        plugin: &str,
        operation: &str,
        arguments: &Map<String, Value>,
    ) -> Result<(), JobError> {
        let loaded = self.find(plugin, operation, OperationKind::Service)?;
        let subject = format!("{plugin}.{operation}");
        check_arguments(&loaded, operation, arguments.clone(), &subject).map(drop)
    }

    /// Starts a service in an instance of its own, without a deadline; the
    /// job's `timeout` and `limits` count for nothing. What it publishes goes to `feed`, and
    /// it waits while that is full.
    ///
    /// # Errors
    ///
    /// Those of [`Host::footing`]; if the arguments do not fit, the plugin is in
    /// quarantine, or the node has no room for another service.
    pub fn start_service(
        &self,
        job: Job,
        feed: mpsc::Sender<Published>,
    ) -> Result<RunningService, JobError> {
        self.check_service(&job.plugin, &job.operation, &job.arguments)?;
        let plugin = self.find(&job.plugin, &job.operation, OperationKind::Service)?;
        let allowance = self.allowance(&plugin)?;
        plugin.account.admit()?;
        let shared = Arc::clone(self.shared());
        let slots = plugin.operations.get(&job.operation);
        let slots = slots.map_or(1, |found| service_slots(found.interface.component()));
        let permit = Arc::clone(&shared.services).try_acquire_many_owned(slots);
        let permit = permit.map_err(|_| {
            let message = format!(
                "`{}.{}` cannot start: the node has room for {} services (`limits.services` of \
                 the agent), and {} of it left, where this one takes {slots}",
                job.plugin,
                job.operation,
                shared.limits().services,
                shared.services.available_permits(),
            );
            JobError::new(ErrorCode::Busy, message)
        })?;
        let terms = plugin.account.terms();
        let footing = Footing::new(&plugin, Arc::clone(&allowance), &terms);
        let version = self.version(&plugin.name);
        let memory = Arc::<AtomicU64>::default();
        let run = Run {
            shared,
            plugin,
            job,
            allowance,
            bounds: Bounds::of(terms),
            entrance: Entrance::Open(Some(permit)),
            limit: None,
            feed: Some(Feed::new(feed)),
            memory: Arc::clone(&memory),
        };
        let host = self.clone();
        let ending = Box::pin(async move { host.perform(run, Start::Here).await });
        Ok(RunningService { footing, version, memory, ending })
    }
}
