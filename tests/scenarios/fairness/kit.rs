//! Somebody who submits durable jobs, and jobs that wait until they are let go.

use std::fs;
use std::path::PathBuf;

use drover_api::{
    Command, ErrorCode, JobError, JobList, JobQuery, JobState, JobSubmit, JobSubmitted, Submission,
    procedures,
};
use drover_tests::{Site, wait_for};
use drover_wamp::{CallError, CallOptions, Client, Payload};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::wamp_callers::join;

/// Somebody with a session, who is another one for the controller than everybody else.
pub(crate) struct Submitter {
    client: Client,
}

impl Submitter {
    pub(crate) async fn join(site: &Site) -> Self {
        Self { client: join(site).await }
    }

    /// What tells this one from others.
    pub(crate) fn id(&self) -> u64 {
        self.client.session().0
    }

    /// Has nodes run a script under this id, once.
    pub(crate) async fn submit(
        &self,
        id: &str,
        nodes: &str,
        script: &str,
    ) -> Result<JobSubmitted, JobError> {
        let args = json!({ "cmd": "/bin/sh", "args": ["-c", script] });
        let args = args.as_object().unwrap().clone();
        let id = id.parse().unwrap();
        let command = Command { id, args, ..Command::new("process.execute") };
        self.ask(procedures::JOB_SUBMIT, &JobSubmit::new(command, nodes)).await
    }

    /// Submits until it is taken; how often it was not.
    pub(crate) async fn submit_until_taken(&self, id: &str, nodes: &str, script: &str) -> usize {
        for refused in 0..3000 {
            match self.submit(id, nodes, script).await {
                Ok(_) => return refused,
                Err(error) => assert_eq!(error.code, ErrorCode::Busy, "{error}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{id} was never taken");
    }

    /// Waits until all jobs of a submission have ended.
    pub(crate) async fn ended(&self, id: &str) -> Submission {
        let query = JobQuery::new(id.parse().unwrap());
        self.ask(procedures::JOB_WAIT, &query).await.unwrap()
    }

    /// Waits until nothing is left to do, and lists everything.
    pub(crate) async fn all_ended(&self) -> Vec<Submission> {
        for state in [JobState::Queued, JobState::Running] {
            loop {
                let wanted = JobList { state: Some(state), limit: Some(1), ..JobList::default() };
                let left: Vec<Submission> = self.ask(procedures::JOB_LIST, &wanted).await.unwrap();
                let Some(one) = left.first() else { break };
                self.ended(one.id.as_str()).await;
            }
        }
        let wanted = JobList { limit: Some(10_000), ..JobList::default() };
        self.ask(procedures::JOB_LIST, &wanted).await.unwrap()
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        procedure: &str,
        argument: &impl Serialize,
    ) -> Result<T, JobError> {
        let options = CallOptions { disclose_me: true, ..CallOptions::default() };
        let payload = Payload::one(argument).unwrap();
        match self.client.call(procedure, payload, options).await {
            Ok(answer) => Ok(answer.first().unwrap()),
            Err(CallError::Application(error)) => {
                let (_, error) = error.payload.args::<(String, JobError)>().unwrap();
                Err(error)
            }
            Err(error) => panic!("{procedure}: {error}"),
        }
    }
}

/// How long somebody who was refused is to wait.
pub(crate) fn told_to_wait(error: &JobError) -> u64 {
    assert_eq!(error.code, ErrorCode::Busy, "{error}");
    error.detail["retry_after_ms"].as_u64().unwrap_or_else(|| panic!("no time in {error:?}"))
}

/// Where scripts say that they have begun, and wait until they are let go.
pub(crate) struct Gates {
    dir: PathBuf,
}

impl Gates {
    pub(crate) fn new(site: &Site) -> Self {
        let dir = site.path("gates");
        fs::create_dir_all(&dir).unwrap();
        Self { dir }
    }

    /// A script that says its name and waits.
    pub(crate) fn script(&self, name: &str) -> String {
        let dir = self.dir.display();
        format!(
            "echo {name} >> {dir}/begun
             until [ -e {dir}/{name}.open ] || [ -e {dir}/all.open ]; do sleep 0.02; done"
        )
    }

    /// Lets one go.
    pub(crate) fn open(&self, name: &str) {
        fs::write(self.dir.join(format!("{name}.open")), "").unwrap();
    }

    /// Lets everybody go.
    pub(crate) fn open_all(&self) {
        self.open("all");
    }

    /// Who has begun, in order.
    pub(crate) fn begun(&self) -> Vec<String> {
        let begun = fs::read_to_string(self.dir.join("begun")).unwrap_or_default();
        begun.lines().map(str::to_owned).collect()
    }

    /// Waits until so many have begun.
    pub(crate) fn wait_until_begun(&self, count: usize) -> Vec<String> {
        tokio::task::block_in_place(|| {
            wait_for(&format!("{count} that have begun"), || {
                let begun = self.begun();
                if begun.len() >= count { Ok(begun) } else { Err(begun) }
            })
        })
    }
}
