//! The engine itself: what it is, what it uses, what happens.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::json;
use crate::engine::answer::{Answer, Refusal};
use crate::engine::call::{Call, NEWEST_API, OLDEST_API};
use crate::engine::model::{ENGINE_VERSION, Filters, Outcome, Reference};
use crate::engine::shared::Shared;

/// What `GET /info` says on every simulated engine.
const FIXED: &str = include_str!("info.json");

pub(super) fn ping() -> Answer {
    Answer::whole(200, Some("text/plain; charset=utf-8"), "OK")
        .with_header("Cache-Control", "no-cache, no-store, must-revalidate".to_owned())
        .with_header("Pragma", "no-cache".to_owned())
}

pub(super) fn version() -> Answer {
    let api = format!("1.{NEWEST_API}");
    let oldest = format!("1.{OLDEST_API}");
    let built = "2026-05-07T21:09:36.000000000+00:00";
    json(&json!({
        "Platform": {"Name": ""},
        "Components": [
            {"Name": "Engine", "Version": ENGINE_VERSION, "Details": {
                "ApiVersion": api,
                "Arch": "amd64",
                "BuildTime": built,
                "Experimental": "false",
                "GitCommit": "simulated",
                "GoVersion": "go1.19.8",
                "KernelVersion": "6.1.0",
                "MinAPIVersion": oldest,
                "Os": "linux",
            }},
            {"Name": "containerd", "Version": "1.6.20", "Details": {"GitCommit": "simulated"}},
            {"Name": "runc", "Version": "1.1.5", "Details": {"GitCommit": "simulated"}},
            {"Name": "docker-init", "Version": "0.19.0", "Details": {"GitCommit": ""}},
        ],
        "Version": ENGINE_VERSION,
        "ApiVersion": api,
        "MinAPIVersion": oldest,
        "GitCommit": "simulated",
        "GoVersion": "go1.19.8",
        "Os": "linux",
        "Arch": "amd64",
        "KernelVersion": "6.1.0",
        "BuildTime": built,
    }))
}

pub(super) fn info(shared: &Shared) -> Answer {
    let (mut info, root) =
        shared.look(|model, _| (model.totals(), model.root.display().to_string()));
    let fixed = serde_json::from_str(FIXED).unwrap_or_default();
    crate::engine::model::merge(&mut info, fixed);
    info["SystemTime"] = json!(Timestamp::now().to_string());
    info["DockerRootDir"] = json!(root);
    info["ServerVersion"] = json!(ENGINE_VERSION);
    json(&info)
}

pub(super) fn disk_use(shared: &Shared) -> Answer {
    let found = shared.look(|model, now| {
        let users = |id: &str| model.containers.values().filter(|one| one.image == id).count();
        let images = model.images.values().map(|image| {
            model.image_row(image, i64::try_from(users(&image.id)).unwrap_or(i64::MAX), 0)
        });
        let images: Value = images.collect();
        let size: usize = model.images.values().map(|image| image.files.size()).sum();
        let containers: Value =
            model.containers.values().map(|container| model.row(container, true, now)).collect();
        let mut volumes = model.list_volumes(&Filters::default());
        for volume in &mut volumes {
            let name = volume["Name"].as_str().unwrap_or_default();
            volume["UsageData"] = json!({"RefCount": model.users_of(name).len(), "Size": 0});
        }
        json!({
            "LayersSize": size,
            "Images": images,
            "Containers": containers,
            "Volumes": volumes,
            "BuildCache": null,
            "BuilderSize": 0,
        })
    });
    json(&found)
}

/// Checks a login with a registry.
pub(super) fn login(call: &Call, shared: &Shared) -> Outcome<Answer> {
    let login = call.json()?;
    let address = login["serveraddress"].as_str().unwrap_or_default();
    let name = Reference::read(&format!("{address}/any"))?;
    if shared.look(|model, _| model.registry.lets_in(&name, &login)) {
        return Ok(json(&json!({"IdentityToken": "", "Status": "Login Succeeded"})));
    }
    let text =
        format!("login attempt to http://{address}/v2/ failed with status: 401 Unauthorized");
    Err(Refusal::new(401, text))
}

/// Events since a time, and then as they happen, until a time.
pub(super) fn events(call: &Call, shared: &Arc<Shared>) -> Outcome<Answer> {
    let since = time(call.query.text("since"))?;
    let until = time(call.query.text("until"))?;
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        let shown = |name| call.query.text(name).unwrap_or_default();
        return Err(Refusal::bad_request(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            shown("since"),
            shown("until")
        )));
    }
    // A name that is not known lets everything pass here.
    let filters = Filters::read(call.query.text("filters"))?;
    let position = match (since, until) {
        (None, None) => shared.look(|model, _| model.events.next()),
        _ => 0,
    };
    let wants = move |time: Timestamp| {
        since.is_none_or(|since| time >= since) && until.is_none_or(|until| time <= until)
    };
    let listener = Listener { shared: shared.clone(), position, filters };
    let lines = stream::unfold(listener, move |mut listener| async move {
        let text = tokio::select! {
            biased;
            text = listener.next(wants) => text,
            () = over(until) => return None,
        };
        Some((Bytes::from(text), listener))
    });
    Ok(Answer::chunks(Some("application/json"), lines))
}

struct Listener {
    shared: Arc<Shared>,
    position: u64,
    filters: Filters,
}

impl Listener {
    /// The next events, each as a line.
    async fn next(&mut self, wants: impl Fn(Timestamp) -> bool) -> String {
        let Self { shared, position, filters } = self;
        let look = |model: &mut crate::engine::model::Model, _: Timestamp| {
            let events = model.events.from(*position).filter(|event| wants(event.time));
            let events = events.filter(|event| event.passes(filters));
            let lines: String = events.map(|event| format!("{}\n", event.to_json())).collect();
            *position = model.events.next();
            (!lines.is_empty()).then_some(lines)
        };
        shared.until(look).await
    }
}

/// Returns at a time; never without one.
async fn over(until: Option<Timestamp>) {
    let Some(until) = until else { return std::future::pending().await };
    let left = until.duration_since(Timestamp::now());
    tokio::time::sleep(std::time::Duration::try_from(left).unwrap_or_default()).await;
}

/// A time as seconds since 1970, with a fraction or without, or in RFC 3339.
pub(super) fn time(text: Option<&str>) -> Outcome<Option<Timestamp>> {
    let Some(text) = text.filter(|text| !text.is_empty() && *text != "0") else {
        return Ok(None);
    };
    if let Ok(time) = text.parse() {
        return Ok(Some(time));
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds = format!("{fraction:0<9}");
    let parsed = seconds.parse().ok().zip(nanoseconds.get(..9).and_then(|text| text.parse().ok()));
    let time = parsed.and_then(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds).ok());
    let broken =
        || Refusal::internal(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"));
    time.map(Some).ok_or_else(broken)
}
