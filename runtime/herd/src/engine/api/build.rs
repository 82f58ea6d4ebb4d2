//! Builds.

use serde_json::{Value, json};

use super::images::{lines, said_line};
use crate::engine::answer::{Answer, Refusal};
use crate::engine::call::Call;
use crate::engine::model::{Build, Files, Outcome, Reference};
use crate::engine::shared::Shared;

pub(super) fn build(call: &Call, shared: &Shared) -> Outcome<Answer> {
    let object = |name: &str| -> Outcome<Value> {
        let text = call.query.text(name).filter(|text| !text.is_empty()).unwrap_or("{}");
        serde_json::from_str(text).map_err(|error| Refusal::bad_request(error.to_string()))
    };
    let names = call.query.all("t").filter(|name| !name.is_empty());
    let names = names.map(Reference::read).collect::<Outcome<Vec<_>>>()?;
    let context = Files::from_tar(call.body.as_ref(), "/")
        .map_err(|error| Refusal::internal(error.to_string()))?;
    let dockerfile = call.query.text("dockerfile").filter(|path| !path.is_empty());
    let build = Build {
        context: &context,
        dockerfile: dockerfile.unwrap_or("Dockerfile"),
        names,
        labels: object("labels")?,
        arguments: object("buildargs")?,
        use_cache: !call.query.flag("nocache"),
    };
    let mut said = Vec::new();
    let built = shared.with(|model, now| model.build(&build, &mut said, now))?;
    let is_quiet = call.query.flag("q");
    let mut progress: Vec<Value> = said.iter().map(|text| said_line(text)).collect();
    match built {
        Ok(id) if is_quiet => progress = vec![said_line(&format!("{id}\n"))],
        Ok(id) => {
            // The id comes before the two last kinds of lines.
            let end = progress.len().saturating_sub(1 + build.names.len());
            progress.insert(end, json!({"aux": {"ID": id}}));
        }
        Err(failure) => {
            let mut detail = json!({"message": failure.message});
            if let Some(code) = failure.code {
                detail["code"] = json!(code);
            }
            progress.push(json!({"errorDetail": detail, "error": failure.message}));
        }
    }
    Ok(Answer::whole(200, Some("application/json"), lines(progress.into_iter())))
}
