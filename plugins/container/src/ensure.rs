//! Containers as they are described: made so, and only as far as they differ.

mod plan;

use drover_sdk::{Failure, data, job, task};
use serde_json::{Map, Value, json};

use self::plan::{Difference, LABEL, Plan, Step, Wish};
use crate::container::life_cycle::{
    connect, create_with, remove_forcibly, rename_one, start_one, stop_one, update_with,
};
use crate::container::{container_path, details};
use crate::description::{self, Description};
use crate::engine::{Engine, failure};
use crate::image::{image_id, transfer};
use crate::models::ContainerDetails;
use crate::network::disconnect;

/// When an image is pulled.
#[data]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pull {
    /// If it is not there.
    #[default]
    Missing,
    /// Each time; a newer one of the same name is a difference.
    Always,
    /// Never; one that is not there is `not-found`.
    Never,
}

/// What was done, or would be.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Ensured {
    /// The container's id; none in a dry run that would create it.
    pub(crate) id: Option<String>,
    /// Whether something was changed, or would be.
    pub(crate) changed: bool,
    /// What was done, in order: `pull`, `create`, `replace`, `update`,
    /// `disconnect NETWORK`, `connect NETWORK`, `unpause`, `start`, `stop`,
    /// `remove`.
    pub(crate) actions: Vec<String>,
    /// What was not as it is described.
    pub(crate) differences: Vec<Difference>,
}

/// Makes a container as it is described: creates it, changes it, or puts
/// another one in its place, whichever is the least.
///
/// Idempotent: the second time nothing is done. Limits, networks and whether it
/// runs are changed in place; everything else needs another container, which
/// is created before the old one is stopped, so a description that the engine
/// does not take leaves the old one running. What is in named volumes stays.
/// The description is kept in the label `io.drover.described`. With `dry_run`
/// nothing is done, and the answer says what would be.
#[task]
pub(crate) fn ensure(
    /// Its name.
    #[schemars(length(min = 1))]
    name: String,
    /// What it should be like.
    container: Description,
    /// Whether it should run.
    #[default(true)]
    running: bool,
    /// When its image is pulled.
    #[serde(default)]
    pull: Pull,
    /// Seconds from asking an old one to end until it is killed; as its creator
    /// said, or 10, if left out.
    timeout: Option<u32>,
    /// Whether to do nothing and only say what would be done.
    #[default(false)]
    dry_run: bool,
) -> Result<Ensured, Failure> {
    let engine = Engine::connect()?;
    let mut actions = Vec::new();
    let mut image = image_id(&engine, &container.image)?;
    if pull == Pull::Always || pull == Pull::Missing && image.is_none() {
        actions.push("pull".to_owned());
        if !dry_run {
            let pulled = transfer::pull(&engine, &container.image, None, None)?;
            image = Some(pulled.id);
            if !pulled.changed {
                actions.pop();
            }
        }
    }
    let wish = Wish {
        body: description::body(&container),
        networks: container.networks,
        is_running: running,
        image_id: image,
    };
    let found = find(&engine, &name)?;
    let Plan { steps, differences } = plan::plan(&wish, found.as_ref());
    let mut work = Work {
        engine: &engine,
        name: &name,
        wish: &wish,
        timeout,
        id: found.map(|found| found.id),
    };
    for step in &steps {
        actions.push(word(step));
        if !dry_run {
            work.perform(step)?;
        }
    }
    Ok(Ensured { id: work.id, changed: !actions.is_empty(), actions, differences })
}

/// Makes sure that there is no container of a name.
///
/// Idempotent. One that runs is stopped first. With `dry_run` nothing is done,
/// and the answer says what would be.
#[task]
pub(crate) fn absent(
    /// Its name or id.
    #[schemars(length(min = 1))]
    name: String,
    /// Seconds from asking it to end until it is killed; as its creator said,
    /// or 10, if left out.
    timeout: Option<u32>,
    /// Whether to remove its volumes that have no name.
    #[default(false)]
    volumes: bool,
    /// Whether to do nothing and only say what would be done.
    #[default(false)]
    dry_run: bool,
) -> Result<Ensured, Failure> {
    let engine = Engine::connect()?;
    let Some(found) = find(&engine, &name)? else {
        return Ok(Ensured {
            id: None,
            changed: false,
            actions: Vec::new(),
            differences: Vec::new(),
        });
    };
    let mut actions = Vec::new();
    if found.state.running {
        actions.push("stop".to_owned());
    }
    actions.push("remove".to_owned());
    if !dry_run {
        if found.state.running {
            gone_is_fine(stop_one(&engine, &found.id, timeout).map(drop))?;
        }
        let what = format!("remove container {name}");
        let call = engine.delete(container_path(&found.id, "")?, what).query("force", true);
        gone_is_fine(call.query_if("v", volumes.then_some(true)).send().map(drop))?;
    }
    let difference =
        Difference { field: "container".to_owned(), from: json!("present"), to: json!("absent") };
    Ok(Ensured { id: Some(found.id), changed: true, actions, differences: vec![difference] })
}

/// Somebody else, or the engine itself, may have removed it in between.
pub(crate) fn gone_is_fine(result: Result<(), Failure>) -> Result<(), Failure> {
    result.or_else(|failure| if failure.code == failure::NOT_FOUND { Ok(()) } else { Err(failure) })
}

/// The container of a name, if there is one.
pub(crate) fn find(engine: &Engine, name: &str) -> Result<Option<ContainerDetails>, Failure> {
    match details(engine, name) {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.code == failure::NOT_FOUND => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn word(step: &Step) -> String {
    match step {
        Step::Create => "create".to_owned(),
        Step::Replace => "replace".to_owned(),
        Step::Update(_) => "update".to_owned(),
        Step::Disconnect(network) => format!("disconnect {network}"),
        Step::Connect(network) => format!("connect {}", network.name),
        Step::Unpause => "unpause".to_owned(),
        Step::Start => "start".to_owned(),
        Step::Stop => "stop".to_owned(),
    }
}

/// The steps of a plan, on their way.
struct Work<'a> {
    engine: &'a Engine,
    name: &'a str,
    wish: &'a Wish,
    timeout: Option<u32>,
    id: Option<String>,
}

impl Work<'_> {
    fn perform(&mut self, step: &Step) -> Result<(), Failure> {
        // A report that nobody can read is not worth the job.
        let _ = job::progress(&json!({ "action": word(step), "container": self.name }));
        let id = self.id.clone().unwrap_or_else(|| self.name.to_owned());
        let engine = self.engine;
        match step {
            Step::Create => self.id = Some(self.create(self.name)?),
            Step::Replace => self.replace(&id)?,
            Step::Update(body) => drop(update_with(engine, &id, body)?),
            Step::Disconnect(network) => disconnect(engine, &id, network, false)?,
            Step::Connect(network) => connect(engine, &id, network)?,
            Step::Unpause => {
                let what = format!("unpause container {}", self.name);
                engine.post(container_path(&id, "/unpause")?, what).send()?;
            }
            Step::Start => drop(start_one(engine, &id)?),
            Step::Stop => drop(stop_one(engine, &id, self.timeout)?),
        }
        Ok(())
    }

    /// Creates the container under a name, in all its networks.
    fn create(&self, name: &str) -> Result<String, Failure> {
        // One that an earlier attempt left behind.
        gone_is_fine(remove_forcibly(self.engine, &self.new_name()))?;
        let body = labelled(&self.wish.body);
        let id = create_with(self.engine, Some(name), &body)?.id;
        for network in self.wish.networks.iter().skip(1) {
            if let Err(failure) = connect(self.engine, &id, network) {
                // Half a container would be in the way of the next attempt.
                let _ = remove_forcibly(self.engine, &id);
                return Err(failure);
            }
        }
        Ok(id)
    }

    /// The new container is there before the old one goes. It gets its name,
    /// and is started, only then; so what is found under the other name never
    /// ran.
    fn replace(&mut self, old: &str) -> Result<(), Failure> {
        let new = self.create(&self.new_name())?;
        gone_is_fine(stop_one(self.engine, old, self.timeout).map(drop))?;
        gone_is_fine(remove_forcibly(self.engine, old))?;
        rename_one(self.engine, &new, self.name)?;
        self.id = Some(new);
        Ok(())
    }

    fn new_name(&self) -> String {
        format!("{}.drover-new", self.name)
    }
}

/// The body with itself in a label.
fn labelled(body: &Map<String, Value>) -> Map<String, Value> {
    let label = Value::Object(body.clone()).to_string();
    let mut body = body.clone();
    let labels = body.entry("Labels").or_insert_with(|| json!({}));
    if let Value::Object(labels) = labels {
        labels.insert(LABEL.to_owned(), json!(label));
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Exchange, on, run};

    const IMAGE: &str = "GET /images/app/json";
    const INSPECT: &str = "GET /containers/web/json";
    const PULL: &str = "POST /images/create?fromImage=app&tag=latest";

    fn image() -> Exchange {
        on(IMAGE, 200, r#"{"Id":"sha256:a"}"#)
    }

    fn missing(request: &'static str) -> Exchange {
        on(request, 404, r#"{"message":"no such thing"}"#)
    }

    fn running() -> String {
        json!({
            "Id": "0a", "Name": "/web", "Image": "sha256:a", "Config": { "Image": "app" },
            "State": { "Running": true, "Status": "running" },
        })
        .to_string()
    }

    fn arguments(more: &Value) -> Value {
        let mut arguments = json!({ "name": "web", "container": { "image": "app" } });
        description::merge(arguments.as_object_mut().unwrap(), more.as_object().unwrap());
        arguments
    }

    #[test]
    fn a_container_that_is_not_there_is_pulled_created_and_started() {
        let exchanges = vec![
            missing(IMAGE),
            missing(IMAGE),
            on(PULL, 200, "{}"),
            image(),
            missing(INSPECT),
            missing("DELETE /containers/web.drover-new?force=true"),
            on("POST /containers/create?name=web", 201, r#"{"Id":"0a"}"#),
            on("POST /containers/0a/start", 204, ""),
        ];
        let outcome = run("ensure", &arguments(&json!({})), exchanges);
        let body = outcome.body(6);
        assert_eq!(body["Labels"][LABEL], r#"{"Image":"app"}"#);
        let answer = outcome.answer.unwrap();
        assert_eq!(answer["actions"], json!(["pull", "create", "start"]));
        assert_eq!((&answer["id"], &answer["changed"]), (&json!("0a"), &json!(true)));
    }

    #[test]
    fn a_container_that_is_as_described_is_left_alone() {
        let exchanges = vec![image(), on(INSPECT, 200, running())];
        let outcome = run("ensure", &arguments(&json!({})), exchanges);
        let expected = json!({ "id": "0a", "changed": false, "actions": [], "differences": [] });
        assert_eq!(outcome.answer.unwrap(), expected);
    }

    #[test]
    fn another_container_is_there_before_the_old_one_goes() {
        let exchanges = vec![
            image(),
            on(INSPECT, 200, running()),
            missing("DELETE /containers/web.drover-new?force=true"),
            on("POST /containers/create?name=web.drover-new", 201, r#"{"Id":"0b"}"#),
            on("POST /containers/0a/stop?t=3", 204, ""),
            on("DELETE /containers/0a?force=true", 204, ""),
            on("POST /containers/0b/rename?name=web", 204, ""),
            on("POST /containers/0b/start", 204, ""),
        ];
        let more = json!({ "container": { "command": ["x"] }, "timeout": 3 });
        let answer = run("ensure", &arguments(&more), exchanges).answer.unwrap();
        assert_eq!(answer["actions"], json!(["replace", "start"]));
        assert_eq!(answer["differences"], json!([{ "field": "Cmd", "from": null, "to": ["x"] }]));
        assert_eq!(answer["id"], "0b");
    }

    #[test]
    fn a_description_that_the_engine_refuses_leaves_the_old_one_running() {
        let exchanges = vec![
            image(),
            on(INSPECT, 200, running()),
            missing("DELETE /containers/web.drover-new?force=true"),
            on("POST /containers/create?name=web.drover-new", 400, r#"{"message":"bad"}"#),
        ];
        let more = json!({ "container": { "user": "?" } });
        assert_eq!(run("ensure", &arguments(&more), exchanges).code(), failure::INVALID);
    }

    #[test]
    fn a_dry_run_says_what_would_be_done() {
        let exchanges = vec![missing(IMAGE), missing(INSPECT)];
        let answer =
            run("ensure", &arguments(&json!({ "dry_run": true })), exchanges).answer.unwrap();
        assert_eq!(answer["actions"], json!(["pull", "create", "start"]));
        assert_eq!(answer["id"], Value::Null);

        let arguments = json!({ "name": "web", "dry_run": true });
        let answer = run("absent", &arguments, vec![on(INSPECT, 200, running())]).answer.unwrap();
        assert_eq!(answer["actions"], json!(["stop", "remove"]));
    }

    #[test]
    fn what_is_absent_stays_so_and_what_runs_is_stopped_first() {
        let answer =
            run("absent", &json!({ "name": "web" }), vec![missing(INSPECT)]).answer.unwrap();
        assert_eq!(answer["changed"], false);

        let exchanges = vec![
            on(INSPECT, 200, running()),
            on("POST /containers/0a/stop", 204, ""),
            // The engine removed it by itself when it ended.
            missing("DELETE /containers/0a?force=true&v=true"),
        ];
        let outcome = run("absent", &json!({ "name": "web", "volumes": true }), exchanges);
        assert_eq!(outcome.answer.unwrap()["changed"], true);
    }
}
