//! The contract keeps its promise, which `wit/package.wit` makes: what is
//! recorded in `tests/contract` only grew, plugins of each recorded state load
//! today, and plugins of today load where the contract is older, unless they
//! call what is not there yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use drover_plugin_host::{Host, Limits};
use tempfile::TempDir;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

use crate::components::{root, with_manifest};
use crate::kit::{assert_says, component, grants, host_with, refusal};

/// Asks for all that can be asked for, so that every import is linked.
const ASKS: &str = r#"
[asks]
programs = [{ program = "/bin/true", reason = "r" }]
sysinfo = { reason = "r" }
state = { size = "1 kB", reason = "r" }
settings = [{ name = "s", reason = "r" }]
http = [{ authority = "example.org", allow = ["GET /**"], reason = "r" }]
"#;
const GRANTS: &str = r#"
[stub]
programs."/bin/true" = {}
sysinfo = true
state = "1 kB"
settings.s = ""
http."example.org" = { allow = ["GET /**"] }
"#;

/// The recorded states, the oldest first.
fn states() -> Vec<PathBuf> {
    let directory = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    };
    let versions = directory(&root().join("tests/contract"));
    let mut states: Vec<_> =
        versions.iter().flat_map(|path| directory(&path.join("wit"))).collect();
    states.sort();
    assert!(states.len() > 2, "{states:?}");
    states
}

/// The package in a directory, without what it takes from others.
fn read(directory: &Path) -> Contract {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "wit"));
    parse(&files.map(|path| fs::read_to_string(path).unwrap()).collect::<String>())
}

/// The interfaces of a package, by name.
type Contract = BTreeMap<String, Interface>;

#[derive(Default)]
struct Interface {
    /// Functions and types, each in its words, without comments.
    items: BTreeSet<String>,
    /// Whether plugins export it.
    is_exported: bool,
}

fn parse(text: &str) -> Contract {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let mut rest = &*lines.collect::<Vec<_>>().join(" ");
    let mut contract = Contract::new();
    while let Some((item, after)) = first_item(rest) {
        rest = after;
        if let Some((name, mut body)) = block(&item, "interface") {
            let interface = contract.entry(name).or_default();
            while let Some((item, after)) = first_item(body) {
                interface.items.insert(item);
                body = after;
            }
        } else if let Some((_, mut body)) = block(&item, "world") {
            while let Some((item, after)) = first_item(body) {
                if let Some(name) = item.strip_prefix("export ") {
                    let name = name.trim_end_matches(';').to_owned();
                    contract.entry(name).or_default().is_exported = true;
                }
                body = after;
            }
        }
    }
    contract
}

/// Name and content of a block such as `interface name { … }`.
fn block<'a>(item: &'a str, kind: &str) -> Option<(String, &'a str)> {
    let (name, body) = item.strip_prefix(kind)?.strip_suffix('}')?.split_once('{')?;
    Some((name.trim().to_owned(), body))
}

/// The text up to a semicolon or the end of a block, its spaces all alike, and
/// what follows.
fn first_item(text: &str) -> Option<(String, &str)> {
    let (mut depth, mut is_use) = (0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => {
                // The braces of `use x.{y};` end no item.
                is_use |= depth == 0 && text[..at].ends_with('.');
                depth += 1;
            }
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (letter == ';' || letter == '}' && !is_use) {
            let words: Vec<_> = text[..=at].split_whitespace().collect();
            let item = words.join(" ").replace(", }", " }").replace("( ", "(").replace(", )", ")");
            return Some((item, &text[at + 1..]));
        }
    }
    assert_eq!(text.trim(), "", "the end of a contract");
    None
}

/// What keeps a plugin that was built against `old` from a host that offers `new`.
fn breaks(old: &Contract, new: &Contract) -> Vec<String> {
    let mut breaks = Vec::new();
    for (name, Interface { items: old_items, is_exported }) in old {
        let Some(Interface { items: new_items, .. }) = new.get(name) else {
            breaks.push(format!("interface {name} is gone"));
            continue;
        };
        let gone = old_items.difference(new_items);
        breaks.extend(gone.map(|item| format!("{name}: changed or gone: {item}")));
        let more = new_items.difference(old_items).filter(|_| *is_exported);
        breaks.extend(more.map(|item| format!("{name} is exported and cannot grow: {item}")));
    }
    breaks
}

#[test]
fn the_contract_only_grew() {
    let present = read(&root().join("wit"));
    assert!(present["operations"].is_exported && present["job"].items.len() > 10);
    for state in states() {
        let breaks = breaks(&read(&state), &present);
        assert!(breaks.is_empty(), "since {}: {breaks:#?}", state.display());
    }
}

#[test]
fn each_change_that_breaks_a_plugin_is_found() {
    const OLD: &str = "package drover:plugin@0.1.0;
        interface calls { record r { a: u32 } f: func(r: r) -> u32; }
        interface offers { enum e { a } run: func(e: e); }
        world plugin { import calls; export offers; }";
    let change = |old: &str, new: &str| {
        assert!(OLD.contains(old));
        breaks(&parse(OLD), &parse(&OLD.replace(old, new))).join("\n")
    };
    for (old, new) in [
        ("f: func", "/// Another comment; and { braces.\n f:\n func"),
        ("f: func", "enum n { x } g: func() -> n; f: func"),
        ("f: func", "use elsewhere.{t}; g: func() -> t; f: func"),
        ("world", "interface later { g: func(); } world"),
    ] {
        assert_eq!(change(old, new), "", "{new}");
    }
    for (old, new, found) in [
        ("f: func(r: r) -> u32;", "", "calls: changed or gone: f: func"),
        ("-> u32", "-> u64", "calls: changed or gone: f: func"),
        ("f: func(r: r)", "f: func(r: r, n: u32)", "calls: changed or gone: f: func"),
        ("a: u32", "a: u32, b: u32", "calls: changed or gone: record r"),
        ("{ a }", "{ a, b }", "offers: changed or gone: enum e"),
        ("run: func", "more: func(); run: func", "offers is exported and cannot grow: more"),
        ("calls", "called", "interface calls is gone"),
    ] {
        assert_says(&change(old, new), &[found]);
    }
}

/// A host that grants the plugin `stub` all there is, and a directory for its file.
async fn refused(component: &[u8]) -> String {
    let directory = TempDir::new().unwrap();
    let host: Host = host_with(Limits::default(), grants(GRANTS), directory.path().join("state"));
    let path = directory.path().join("stub.wasm");
    fs::write(&path, with_manifest(component, ASKS)).unwrap();
    refusal(&host, &path).await
}

/// The component that imports all of a recorded state, and traps when it is called.
fn stub(state: &Path) -> Vec<u8> {
    fs::read(state.join("operations.wasm")).unwrap()
}

#[tokio::test]
async fn plugins_of_each_recorded_state_find_all_that_they_import() {
    for state in states() {
        // It was linked, or else it could not have been called.
        assert_says(&refused(&stub(&state)).await, &["describe", "crashed"]);
    }
}

/// The newest component as if the contract had a name that it does not have.
fn stub_of_tomorrow(name: &str, later: &str) -> Vec<u8> {
    assert_eq!(name.len(), later.len(), "lengths are written before names");
    let mut bytes = stub(states().last().unwrap());
    let mut found = 0;
    for at in 0..bytes.len() - name.len() {
        if bytes[at..].starts_with(name.as_bytes()) {
            bytes[at..at + name.len()].copy_from_slice(later.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "nothing is called {name}");
    bytes
}

#[tokio::test]
async fn plugins_of_tomorrow_are_refused_with_what_they_miss() {
    let function = stub_of_tomorrow("remaining-ms", "remaining-us");
    let text = refused(&function).await;
    assert_says(&text, &["drover:plugin/job@0.1.0", "`remaining-us`", "SDK of this version"]);

    let interface = stub_of_tomorrow("drover:plugin/feed@", "drover:plugin/food@");
    let text = refused(&interface).await;
    assert_says(&text, &["`drover:plugin/food@0.1.0`", "not offered", "later Drover"]);
}

/// A host that offers WASI, and of ours what was there at a recorded state.
struct OldHost {
    engine: Engine,
    linker: Linker<Wasi>,
}

struct Wasi(WasiCtx, ResourceTable);

impl WasiView for Wasi {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.0, table: &mut self.1 }
    }
}

impl OldHost {
    fn of(contract: &Contract) -> Self {
        let engine = Engine::new(Config::new().concurrency_support(false)).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        for (name, interface) in contract {
            let mut instance = linker.instance(&format!("drover:plugin/{name}@0.1.0")).unwrap();
            let names = interface.items.iter().filter_map(|item| item.split_once(": func"));
            for (function, _) in names {
                instance.func_new(function, |_, _, _, _| unreachable!()).unwrap();
            }
        }
        Self { engine, linker }
    }

    /// Links a component as a host does that loads it.
    fn load(&self, path: &Path) -> Result<(), String> {
        let component = Component::from_file(&self.engine, path);
        let linked = component.and_then(|component| self.linker.instantiate_pre(&component));
        linked.map(drop).map_err(|error| format!("{error:#}"))
    }
}

#[test]
fn plugins_of_today_load_in_an_old_host_if_they_call_nothing_new() {
    let oldest = OldHost::of(&read(&states()[0]));
    oldest.load(&component("answer_garbage")).unwrap();
    oldest.load(&component("granted")).unwrap();
    // `guests` waits and publishes, which plugins could not at first.
    let error = oldest.load(&component("guests")).unwrap_err();
    assert_says(&error, &["drover:plugin/"]);
    for state in &states()[1..3] {
        let error = OldHost::of(&read(state)).load(&component("guests")).unwrap_err();
        assert_says(&error, &["drover:plugin/streams"]);
    }
    for state in &states()[3..] {
        OldHost::of(&read(state)).load(&component("guests")).unwrap();
    }
}

#[test]
fn asynchronous_operations_are_refused_in_words_where_nobody_knows_them() {
    let newest = states().pop().unwrap();
    let error = OldHost::of(&read(&newest)).load(&component("concurrent")).unwrap_err();
    assert_says(&error, &["async"]);
}
