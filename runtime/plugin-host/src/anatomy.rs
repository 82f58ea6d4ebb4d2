//! What a component file is made of: what takes the room in it, and which of
//! its functions lead to an import. For authors; nothing is decided by it.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{
    KnownCustom, Name, NameSectionReader, Operator, Parser, Payload, SectionLimited, TypeRef,
};

/// A kind of content, and how much of the file it takes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Part {
    /// What it is, such as `code`.
    pub name: &'static str,
    /// All of it together.
    pub bytes: u64,
}

/// Functions that are named as leading to one import.
const MOST_CALLERS: usize = 3;

/// What takes the room, the largest first. What cannot be read counts as `other`.
pub(crate) fn parts(component: &[u8]) -> Vec<Part> {
    let mut parts = BTreeMap::new();
    let mut add = |name, bytes: usize| *parts.entry(name).or_insert(0) += bytes as u64;
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::CodeSectionStart { range, .. }) => add("code", range.len()),
            Ok(Payload::DataSection(section)) => add("data", section.range().len()),
            Ok(Payload::CustomSection(section)) => {
                let name = match section.name() {
                    "name" => "names of functions",
                    drover_grants::SECTION => "manifest",
                    name if name.starts_with(".debug") => "debug information",
                    _ => continue,
                };
                add(name, section.data().len());
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let known: u64 = parts.values().sum();
    let other = (component.len() as u64).saturating_sub(known);
    let parts = parts.into_iter().chain([("other", other)]);
    let mut parts: Vec<_> = parts.map(|(name, bytes)| Part { name, bytes }).collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
    parts
}

/// The functions nearest to an imported interface that are of no standard
/// library, by name: who reads them knows which crate to do without. Empty if
/// the component has no names, or calls the interface in a way that cannot be
/// followed.
pub(crate) fn callers(component: &[u8], interface: &str) -> Vec<String> {
    let mut modules = vec![Module::default()];
    for payload in Parser::new(0).parse_all(component) {
        let Ok(payload) = payload else { break };
        match payload {
            Payload::Version { .. } => modules.push(Module::default()),
            Payload::End(_) => {
                let Some(module) = modules.pop() else { break };
                let callers = module.callers(interface);
                if !callers.is_empty() {
                    return callers;
                }
            }
            payload => {
                if let Some(module) = modules.last_mut() {
                    module.read(payload);
                }
            }
        }
    }
    Vec::new()
}

/// The functions of a core module.
#[derive(Debug, Default)]
struct Module<'a> {
    /// By index: from which interface it is imported.
    imported: Vec<&'a str>,
    /// How many of its own were read.
    defined: u32,
    /// By index of the function that is called: which call it.
    called_by: BTreeMap<u32, BTreeSet<u32>>,
    names: BTreeMap<u32, &'a str>,
}

impl<'a> Module<'a> {
    fn read(&mut self, payload: Payload<'a>) {
        match payload {
            Payload::ImportSection(section) => {
                let imports = section.into_imports().flatten();
                let functions = imports.filter(|import| matches!(import.ty, TypeRef::Func(_)));
                self.imported = functions.map(|import| import.module).collect();
            }
            Payload::CodeSectionEntry(body) => {
                let caller = self.imported.len() as u32 + self.defined;
                self.defined += 1;
                for operator in body.get_operators_reader().into_iter().flatten().flatten() {
                    if let Operator::Call { function_index }
                    | Operator::ReturnCall { function_index }
                    | Operator::RefFunc { function_index } = operator
                    {
                        self.called_by.entry(function_index).or_default().insert(caller);
                    }
                }
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    self.read_names(names);
                }
            }
            _ => {}
        }
    }

    fn read_names(&mut self, names: NameSectionReader<'a>) {
        for part in names.into_iter().flatten() {
            if let Name::Function(functions) = part {
                let functions: SectionLimited<'a, _> = functions;
                self.names = functions.into_iter().flatten().map(|f| (f.index, f.name)).collect();
            }
        }
    }

    fn callers(&self, interface: &str) -> Vec<String> {
        let is_it = |module: &str| without_version(module) == without_version(interface);
        let imported = self.imported.iter().enumerate();
        let mut level: Vec<u32> =
            imported.filter(|(_, module)| is_it(module)).map(|(index, _)| index as u32).collect();
        let mut seen: BTreeSet<u32> = level.iter().copied().collect();
        while !level.is_empty() {
            let callers = level.iter().filter_map(|index| self.called_by.get(index)).flatten();
            level = callers.copied().filter(|index| seen.insert(*index)).collect();
            let names = level.iter().filter_map(|index| self.names.get(index));
            let own: BTreeSet<_> =
                names.map(|name| demangled(name)).filter(|n| is_own(n)).collect();
            if !own.is_empty() {
                return own.into_iter().take(MOST_CALLERS).collect();
            }
        }
        Vec::new()
    }
}

fn without_version(interface: &str) -> &str {
    interface.split_once('@').map_or(interface, |(name, _)| name)
}

/// Whether a function is of a crate that somebody chose.
fn is_own(name: &str) -> bool {
    const STANDARD: [&str; 10] = [
        "std",
        "core",
        "alloc",
        "compiler_builtins",
        "wasi",
        "wasip2",
        "hashbrown",
        "panic_unwind",
        "rustc_demangle",
        "std_detect",
    ];
    crate_of(name).is_some_and(|krate| !STANDARD.contains(&krate))
}

/// The crate in the name of a function of Rust's, such as `ureq::connect` or
/// `<std::net::TcpStream as ureq::Stream>::connect`; none for those of C.
fn crate_of(name: &str) -> Option<&str> {
    let start = name.trim_start_matches(['<', '&', '*', '(', '[', ' ']);
    let start = ["mut ", "const ", "dyn "].iter().fold(start, |s, word| s.trim_start_matches(word));
    let (krate, _) = start.split_once("::")?;
    let is_word = krate.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_word && !krate.is_empty()).then_some(krate)
}

/// A name as it is in the source, without the hash that the compiler adds, and
/// not too long.
fn demangled(name: &str) -> String {
    let name = rustc_demangle::demangle(crate::records::cut(name, 1024));
    crate::failure::plain(crate::records::cut(&format!("{name:#}"), 200))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_is_in_the_name() {
        for (name, krate) in [
            ("ureq::unit::connect::h0123456789abcdef", Some("ureq")),
            ("<my_plugin::Client as core::fmt::Debug>::fmt", Some("my_plugin")),
            ("<&mut dyn std::io::Read as x::Y>::z", Some("std")),
            ("__wasilibc_find_relpath", None),
            ("connect", None),
        ] {
            assert_eq!(crate_of(name), krate, "{name}");
        }
        let mangled = "_ZN4ureq4unit7connect17h0123456789abcdefE";
        assert_eq!(demangled(mangled), "ureq::unit::connect");
    }

    #[test]
    fn what_is_damaged_is_other_and_leads_nowhere() {
        for bytes in [&b""[..], b"\0asm", b"\0asm\x0d\0\x01\0\xff\xff\xff", &[0xff; 100]] {
            let parts = parts(bytes);
            assert_eq!(parts, [Part { name: "other", bytes: bytes.len() as u64 }]);
            assert!(callers(bytes, "wasi:sockets/tcp@0.2.0").is_empty());
        }
    }
}
