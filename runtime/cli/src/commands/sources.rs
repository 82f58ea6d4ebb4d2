//! `drover sources`: the log files that a node follows.

use clap::Args;
use drover_api::{SourceState, SourceStatus};
use serde_json::json;

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{controller, output, render};

/// Lists the log files that a node follows: how far each has been read, how
/// many lines did not parse, what a source waits for.
#[derive(Debug, Args)]
pub(crate) struct Sources {
    /// The node, by name or id
    node: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

pub(crate) fn run(command: &Sources) -> Result<Exit, Failure> {
    controller::runtime()?.block_on(async {
        let session = command.address.connect().await?;
        let nodes = controller::nodes(&session).await?;
        let node = controller::find_present(&nodes, &command.node)?;
        let sources: Vec<SourceStatus> =
            controller::ask(&session, node, "source.list", &json!({})).await?;
        session.close().await;
        show(command, &sources)
    })
}

fn show(command: &Sources, sources: &[SourceStatus]) -> Result<Exit, Failure> {
    if command.json {
        output::json(&sources)?;
        return Ok(Exit::Done);
    }
    if sources.is_empty() {
        output::note("no sources; name log files in the node's configuration, as [sources.NAME]");
        return Ok(Exit::Done);
    }
    output::answer(&render::table(
        &["source", "state", "parser", "file", "read", "of", "lines", "unparsed"],
        sources.iter().flat_map(rows),
    ))?;
    sources.iter().flat_map(notes).for_each(|note| output::note(&note));
    Ok(Exit::Done)
}

/// A row for each file; what is said of the source is in the first.
fn rows(source: &SourceStatus) -> Vec<[String; 8]> {
    let state = match source.state {
        SourceState::Starting => "starting",
        SourceState::Following => "following",
        SourceState::Waiting => "WAITING",
        SourceState::Unknown => "unknown",
    };
    let none = || "-".to_owned();
    let head = [source.name.clone(), state.to_owned(), source.parser.clone().unwrap_or_else(none)];
    let counts = [source.lines.to_string(), source.unparsed.to_string()];
    let mut files = source
        .files
        .iter()
        .map(|file| [file.path.clone(), render::bytes(file.offset), render::bytes(file.size)]);
    let [name, state, parser] = head;
    let [lines, unparsed] = counts;
    let [path, offset, size] = files.next().unwrap_or_else(|| [none(), none(), none()]);
    let mut rows = vec![[name, state, parser, path, offset, size, lines, unparsed]];
    rows.extend(files.map(|[path, offset, size]| {
        let empty = String::new;
        [empty(), empty(), empty(), path, offset, size, empty(), empty()]
    }));
    rows
}

/// What the rows have no room for.
fn notes(source: &SourceStatus) -> Vec<String> {
    let name = &source.name;
    let mut notes = Vec::new();
    if let Some(why) = &source.waits_for {
        notes.push(format!("{name} waits, and its lines wait in their files: {why}"));
    }
    notes.extend(source.troubles.iter().map(|trouble| format!("{name} cannot read {trouble}")));
    if let Some(error) = &source.last_error {
        notes.push(format!("the parser of {name} failed last with: {error}"));
    }
    if source.gaps > 0 {
        notes.push(format!(
            "{name} lost lines {} times before they could be read; the node's log says where",
            source.gaps
        ));
    }
    if source.cut > 0 {
        notes.push(format!("{} lines of {name} were longer than 64 KiB and are cut", source.cut));
    }
    notes
}

#[cfg(test)]
mod tests {
    use drover_api::SourceFile;

    use super::*;

    #[test]
    fn a_source_has_a_row_for_each_file_and_says_what_is_wrong() {
        let file =
            |path: &str| SourceFile { path: path.to_owned(), offset: 10, size: 20, has_name: true };
        let source = SourceStatus {
            name: "web".to_owned(),
            state: SourceState::Waiting,
            waits_for: Some("there is no plugin `logparse`".to_owned()),
            files: vec![file("/a"), file("/b")],
            troubles: vec!["/c: Permission denied".to_owned()],
            gaps: 1,
            ..SourceStatus::default()
        };
        let rows = rows(&source);
        assert_eq!((rows.len(), rows[0][0].as_str(), rows[1][3].as_str()), (2, "web", "/b"));
        let notes = notes(&source).join("\n");
        for part in ["no plugin `logparse`", "cannot read /c", "lost lines 1 times"] {
            assert!(notes.contains(part), "{notes}");
        }
    }
}
