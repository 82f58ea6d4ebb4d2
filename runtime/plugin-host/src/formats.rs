//! Asking a plugin which log lines it parses, and checking what it says.

use std::collections::BTreeMap;
use std::sync::Arc;

use drover_api::LogFormat;
use tokio::time::{Instant, timeout_at};
use wasmtime::component::InstancePre;
use wasmtime::{Engine, Store};

use crate::Limits;
use crate::bindings::packing::{PackedLineParser, PackedLineParserPre};
use crate::bindings::parsing::exports::drover::plugin::line_parsing;
use crate::bindings::parsing::{LineParser, LineParserPre};
use crate::describe::{DescribeError, Describing, check_length, check_name, compile, parse_schema};
use crate::host::Shared;
use crate::instance::{Base, State};
use crate::schema::ArgumentSchema;

/// Formats of one plugin.
const FORMATS: usize = 256;
/// The longest doc text, in bytes.
const DOC: usize = 16 << 10;

/// A component that parses log lines, ready to be instantiated.
#[derive(Clone)]
pub(crate) struct Parsing {
    lines: LineParserPre<State>,
    is_packed: bool,
}

/// What an instance of one exports.
pub(crate) struct Exports {
    pub(crate) lines: LineParser,
    /// None if its answers are records.
    pub(crate) packed: Option<PackedLineParser>,
}

impl Parsing {
    /// # Errors
    ///
    /// If what it exports has other types than it should.
    pub(crate) fn new(component: InstancePre<State>, is_packed: bool) -> wasmtime::Result<Self> {
        if is_packed {
            PackedLineParserPre::new(component.clone())?;
        }
        Ok(Self { lines: LineParserPre::new(component)?, is_packed })
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.lines.engine()
    }

    pub(crate) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Exports> {
        let instance = self.lines.instance_pre().instantiate_async(&mut *store).await?;
        let lines = LineParser::new(&mut *store, &instance)?;
        let packed = self.is_packed.then(|| PackedLineParser::new(store, &instance)).transpose()?;
        Ok(Exports { lines, packed })
    }
}

/// How a plugin parses log lines.
pub(crate) struct Formats {
    pub(crate) parsing: Parsing,
    /// The schema of each format's options, by the format's name.
    pub(crate) options: BTreeMap<String, ArgumentSchema>,
}

/// Calls `describe` in an instance of its own. The formats come in the order
/// of their names.
pub(crate) async fn describe(
    shared: &Shared,
    plugin: Arc<str>,
    parsing: Parsing,
    limits: &Limits,
) -> Result<(Vec<LogFormat>, Formats), DescribeError> {
    // The semaphore is never closed, and instances are limited anyway.
    let _turn = shared.describing.acquire().await;
    let limit = limits.describe_deadline;
    let deadline = Instant::now() + limit;
    let base = Base { shared, engine: parsing.engine(), limits };
    let call = call(base, plugin, &parsing, deadline);
    let formats = timeout_at(deadline, call)
        .await
        .unwrap_or(Err(DescribeError::TooSlow(limit.as_millis())))?;
    let (formats, options) = check(formats)?;
    Ok((formats, Formats { parsing, options }))
}

async fn call(
    base: Base<'_>,
    plugin: Arc<str>,
    parsing: &Parsing,
    deadline: Instant,
) -> Result<Vec<line_parsing::Format>, DescribeError> {
    let mut describing = Describing::new(base, plugin, deadline)?;
    let store = &mut describing.store;
    let work = async {
        let exports = parsing.instantiate(store).await?;
        exports.lines.drover_plugin_line_parsing().call_describe(store).await
    };
    let result = base.shared.ticker.while_polled(work).await;
    result.map_err(|error| describing.crashed(&error))
}

type Checked = (Vec<LogFormat>, BTreeMap<String, ArgumentSchema>);

fn check(formats: Vec<line_parsing::Format>) -> Result<Checked, DescribeError> {
    if formats.len() > FORMATS {
        return Err(DescribeError::TooManyFormats(formats.len()));
    }
    let (mut checked, mut schemas) = (Vec::new(), BTreeMap::new());
    for line_parsing::Format { name, doc, options } in formats {
        check_name(&name)
            .map_err(|_| DescribeError::FormatName(name.chars().take(64).collect()))?;
        check_length(&name, "doc text", &doc, DOC)?;
        let options = parse_schema(&name, "options", &options)?;
        let schema = compile(&name, "options", options.clone())?;
        if schemas.insert(name.clone(), schema).is_some() {
            return Err(DescribeError::DuplicateFormat(name));
        }
        checked.push(LogFormat { name, doc, options });
    }
    checked.sort_by(|one, other| one.name.cmp(&other.name));
    Ok((checked, schemas))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(name: &str, options: &str) -> line_parsing::Format {
        line_parsing::Format { name: name.into(), doc: "Lines.".into(), options: options.into() }
    }

    #[test]
    fn formats_are_listed_by_name() {
        let (formats, schemas) = check(vec![format("b", "true"), format("a", "{}")]).unwrap();
        let names: Vec<_> = formats.iter().map(|format| format.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(schemas.len(), 2);
    }

    #[test]
    fn what_breaks_a_rule_of_the_contract_is_refused() {
        let many = (0..=FORMATS).map(|index| format(&format!("a{index}"), "{}")).collect();
        for (formats, words) in [
            (vec![format("A", "{}")], "format \"A\" is no name"),
            (vec![format("a", "{}"), format("a", "{}")], "two formats `a`"),
            (vec![format("a", "{")], "the schema of the options of `a` is wrong"),
            (vec![format("a", r#"{"type":7}"#)], "the schema of the options of `a` is wrong"),
            (many, "257 formats"),
        ] {
            let error = check(formats).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
