//! What can be told of a component file without running it: its hash, whether
//! it is a whole component, and which interfaces it imports and exports.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};

use drover_grants::Asks;
use sha2::{Digest, Sha256};

use crate::engine::Kind;

/// SHA-256 of a component file, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hash(String);

impl Hash {
    /// Hashes `bytes`.
    #[cfg(test)]
    pub(crate) fn of(mut bytes: &[u8]) -> Self {
        Self::of_copy(&mut bytes, &mut io::sink()).unwrap()
    }

    /// Hashes what it copies from `source` to `copy`.
    pub(crate) fn of_copy(source: &mut impl Read, copy: &mut impl Write) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match source.read(&mut buffer)? {
                0 => break,
                length => {
                    hash.update(&buffer[..length]);
                    copy.write_all(&buffer[..length])?;
                }
            }
        }
        Ok(Self(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a file is no component.
#[derive(Debug, thiserror::Error)]
pub enum NotAComponent {
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[from] io::Error),
    /// It does not begin like WebAssembly.
    #[error(
        "it is not WebAssembly: it begins with {start:?}; build the plugin with `cargo build --target wasm32-wasip2`"
    )]
    NotWasm {
        /// The first bytes, for people.
        start: String,
    },
    /// It is WebAssembly, but not of the component model.
    #[error(
        "it is a core module, and plugins are components: build it with `--target wasm32-wasip2`"
    )]
    CoreModule,
    /// It is of another version of the component format.
    #[error("it is in version {0} of the binary format, and this host reads version 13")]
    UnknownVersion(u16),
    /// It ends too early.
    #[error(
        "it is truncated: {missing} bytes are missing after byte {length}; copy or build it again"
    )]
    Truncated {
        /// What there is.
        length: u64,
        /// What a section says should be there beside that; at least.
        missing: u64,
    },
}

const MAGIC: &[u8] = b"\0asm";
const COMPONENT_VERSION: u16 = 13;
const CORE_LAYER: u16 = 0;
/// The section of a component that says what it exports.
const EXPORTS: u8 = 11;
/// So much of that is looked at; in a plugin it has a few hundred bytes.
const LOOKED_AT: u64 = 64 << 10;

/// Checks that `file`, `length` bytes long, has the outline of a component:
/// the right header, and sections that end where the file ends. Tells which
/// engine it needs.
pub(crate) fn check_outline(
    mut file: impl Read + Seek,
    length: u64,
) -> Result<Kind, NotAComponent> {
    let mut header = Vec::new();
    file.by_ref().take(8).read_to_end(&mut header)?;
    if !header.starts_with(MAGIC) {
        return Err(NotAComponent::NotWasm { start: header.escape_ascii().to_string() });
    }
    let &[_, _, _, _, version_low, version_high, layer_low, layer_high] = &header[..] else {
        return Err(NotAComponent::Truncated { length, missing: 8 - header.len() as u64 });
    };
    if u16::from_le_bytes([layer_low, layer_high]) == CORE_LAYER {
        return Err(NotAComponent::CoreModule);
    }
    let version = u16::from_le_bytes([version_low, version_high]);
    if version != COMPONENT_VERSION {
        return Err(NotAComponent::UnknownVersion(version));
    }
    let mut kind = Kind::Plain;
    let mut position = header.len() as u64;
    while position < length {
        let (section, header_length, size) =
            section_header(&mut file).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => NotAComponent::Truncated { length, missing: 1 },
                _ => NotAComponent::Unreadable(error),
            })?;
        position += header_length + u64::from(size);
        if position > length {
            return Err(NotAComponent::Truncated { length, missing: position - length });
        }
        if section == EXPORTS {
            let mut exports = Vec::new();
            file.by_ref().take(LOOKED_AT.min(size.into())).read_to_end(&mut exports)?;
            if has(&exports, ASYNC_OPERATIONS.as_bytes()) {
                kind = Kind::Concurrent;
            }
        }
        file.seek(SeekFrom::Start(position))?;
    }
    Ok(kind)
}

/// Whether `part` is in `whole`.
fn has(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

/// Reads the kind and the size of a section: the kind, how long that was, and the
/// size.
fn section_header(file: &mut impl Read) -> io::Result<(u8, u64, u32)> {
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    let section = byte[0];
    let mut size = 0;
    // LEB128: seven bits to a byte, the lowest first, 32 bits at most.
    for index in 0..5 {
        file.read_exact(&mut byte)?;
        size |= u32::from(byte[0] & 0x7f) << (7 * index);
        if byte[0] & 0x80 == 0 {
            return Ok((section, index + 2, size));
        }
    }
    // The compiler will say what is wrong with this section.
    Ok((section, 6, size))
}

/// The interfaces of which every plugin exports at least one.
const OPERATIONS: &str = "drover:plugin/operations";
const ASYNC_OPERATIONS: &str = "drover:plugin/async-operations";
const LINE_PARSING: &str = "drover:plugin/line-parsing";
/// What is exported beside that, or not.
const PACKED_LINES: &str = "drover:plugin/packed-lines";

/// What plugins may import, and in which version.
const OFFERED: &[(&str, &str)] = &[
    ("drover:plugin/async-streams", "0.1"),
    ("drover:plugin/channel", "0.1"),
    ("drover:plugin/config", "0.1"),
    ("drover:plugin/feed", "0.1"),
    ("drover:plugin/job", "0.1"),
    ("drover:plugin/log", "0.1"),
    ("drover:plugin/metrics", "0.1"),
    ("drover:plugin/process", "0.1"),
    ("drover:plugin/state", "0.1"),
    ("drover:plugin/streams", "0.1"),
    ("drover:plugin/sysinfo", "0.1"),
    ("wasi:cli/", "0.2"),
    ("wasi:clocks/", "0.2"),
    ("wasi:filesystem/", "0.2"),
    ("wasi:http/outgoing-handler", "0.2"),
    ("wasi:http/types", "0.2"),
    ("wasi:io/", "0.2"),
    ("wasi:random/", "0.2"),
];

/// Whether an interface is offered to plugins.
pub(crate) fn is_offered(import: &str) -> bool {
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    OFFERED.iter().any(|(offered, offered_version)| {
        let is_named = match offered.strip_suffix('/') {
            Some(_) => name.starts_with(offered),
            None => name == *offered,
        };
        is_named && is_minor(version, offered_version)
    })
}

/// What a plugin that imports this interface has to ask for in its manifest;
/// none if it need not ask.
pub(crate) fn ask_for(import: &str, asks: &Asks) -> Option<&'static str> {
    let name = import.split_once('@').map_or(import, |(name, _)| name);
    let (is_asked, line) = match name {
        "drover:plugin/config" => {
            let is_asked = !asks.settings.is_empty() || !asks.secrets.is_empty();
            (is_asked, "settings = [{ name = \"…\", reason = \"…\" }]")
        }
        "drover:plugin/process" => {
            let line = "programs = [{ program = \"/…\", args = [[\"…\"]], reason = \"…\" }]";
            (!asks.programs.is_empty(), line)
        }
        "drover:plugin/state" => {
            (asks.state.is_some(), "state = { size = \"1 MiB\", reason = \"…\" }")
        }
        "drover:plugin/sysinfo" => (asks.sysinfo.is_some(), "sysinfo = { reason = \"…\" }"),
        "drover:plugin/channel" | "wasi:http/outgoing-handler" | "wasi:http/types" => {
            let line = "http = [{ authority = \"…\", allow = [\"GET /**\"], reason = \"…\" }]";
            (!asks.http.is_empty(), line)
        }
        _ => return None,
    };
    (!is_asked).then_some(line)
}

/// Whether this export makes a component a plugin with operations.
pub(crate) fn is_operations(export: &str) -> bool {
    is_of(export, OPERATIONS)
}

/// Whether this export makes a component a plugin with asynchronous operations.
pub(crate) fn is_async_operations(export: &str) -> bool {
    is_of(export, ASYNC_OPERATIONS)
}

/// Whether this export makes a component a plugin that parses log lines.
pub(crate) fn is_line_parsing(export: &str) -> bool {
    is_of(export, LINE_PARSING)
}

/// Whether this export makes the answers of such a plugin packed.
pub(crate) fn is_packed_lines(export: &str) -> bool {
    is_of(export, PACKED_LINES)
}

/// Whether this export would make a component a plugin in some version.
pub(crate) fn is_of_some_contract(export: &str) -> bool {
    let kinds = [OPERATIONS, ASYNC_OPERATIONS, LINE_PARSING];
    export.split_once('@').is_some_and(|(name, _)| kinds.contains(&name))
}

fn is_of(export: &str, interface: &str) -> bool {
    export
        .split_once('@')
        .is_some_and(|(name, version)| name == interface && is_minor(version, "0.1"))
}

/// What to do about an import that is not offered.
pub(crate) fn cure(import: &str) -> &'static str {
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    if name.starts_with("wasi:sockets/") {
        "plugins have no sockets: send HTTP requests through wasi:http, or leave out the code that opens connections"
    } else if name.starts_with("wasi:http/") {
        "plugins send requests and serve none: leave out all but wasi:http/outgoing-handler and types"
    } else if name.starts_with("drover:plugin/") {
        "it was built for a later Drover: update this one, or build it with the SDK of this version"
    } else if name.starts_with("wasi:") && !is_minor(version, "0.2") {
        "build it for WASI 0.2, with `--target wasm32-wasip2`"
    } else {
        "plugins may import drover:plugin@0.1 and, of WASI 0.2, cli, clocks, filesystem, http, io and random: leave out the rest"
    }
}

/// Whether `version` is `minor` or a patch of it.
fn is_minor(version: &str, minor: &str) -> bool {
    version.strip_prefix(minor).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

    fn outline(parts: &[&[u8]]) -> Result<Kind, NotAComponent> {
        let bytes = parts.concat();
        let length = bytes.len() as u64;
        check_outline(Cursor::new(bytes), length)
    }

    #[test]
    fn a_header_alone_and_whole_sections_are_a_component() {
        assert!(outline(&[HEADER]).is_ok());
        assert!(outline(&[HEADER, b"\0\x03abc", b"\x01\x80\x01", &[7; 128]]).is_ok());
    }

    #[test]
    fn only_who_exports_asynchronous_operations_needs_the_engine_for_them() {
        let named = b"\x2a\x01\0\x24drover:plugin/async-operations@0.1.0\x05\0\0";
        for (section, kind) in [(11, Kind::Concurrent), (10, Kind::Plain), (0, Kind::Plain)] {
            let parts = [HEADER, b"\0\x03abc", &[section], named, b"\x01\x02de"];
            assert_eq!(outline(&parts).unwrap(), kind, "section {section}");
        }
    }

    #[test]
    fn what_is_no_component_is_told_apart() {
        let message = |parts: &[&[u8]]| outline(parts).unwrap_err().to_string();
        assert!(message(&[]).contains("not WebAssembly"));
        assert!(message(&[b"(component)"]).contains("\"(compone\""));
        assert!(message(&[b"\x7fELF\x02\x01"]).contains("ELF"));
        assert!(message(&[b"\0asm\x01\0\0\0"]).contains("core module"));
        assert!(message(&[b"\0asm\x0e\0\x01\0"]).contains("version 14"));
    }

    #[test]
    fn a_component_cut_anywhere_is_truncated() {
        let whole = [HEADER, b"\0\x03abc", b"\x01\x02de"].concat();
        let ends_of_sections = [8, 13, 17];
        for length in (4..whole.len()).filter(|length| !ends_of_sections.contains(length)) {
            let error = outline(&[&whole[..length]]).unwrap_err();
            assert!(matches!(error, NotAComponent::Truncated { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn a_size_that_never_ends_is_no_endless_loop() {
        assert!(outline(&[HEADER, &[0xff; 64]]).is_err());
    }

    #[test]
    fn only_the_listed_interfaces_are_offered() {
        for import in [
            "wasi:io/streams@0.2.6",
            "wasi:http/types@0.2.4",
            "drover:plugin/log@0.1.0",
            "drover:plugin/job@0.1.7",
        ] {
            assert!(is_offered(import), "{import}");
        }
        for import in [
            "wasi:http/incoming-handler@0.2.0",
            "wasi:sockets/tcp@0.2.0",
            "wasi:io/streams@0.20.0",
            "wasi:io/streams@0.3.0",
            "wasi:io/streams",
            "drover:plugin/logs@0.1.0",
            "drover:plugin/log@0.2.0",
            "drover:plugin/operations@0.1.0",
            "env",
            "",
        ] {
            assert!(!is_offered(import), "{import}");
        }
    }

    #[test]
    fn each_kind_of_foreign_import_has_its_own_cure() {
        assert!(cure("wasi:sockets/tcp@0.2.0").contains("no sockets"));
        assert!(cure("drover:plugin/later@0.1.3").contains("later Drover"));
        assert!(cure("wasi:cli/stdin@0.3.0").contains("wasip2"));
        assert!(cure("acme:things/x@1.0.0").contains("leave out"));
    }

    #[test]
    fn a_plugin_exports_operations_or_line_parsing_of_this_version() {
        assert!(is_line_parsing("drover:plugin/line-parsing@0.1.0"));
        assert!(!is_line_parsing("drover:plugin/line-parsing@0.2.0"));
        assert!(is_of_some_contract("drover:plugin/line-parsing@0.2.0"));
        assert!(is_operations("drover:plugin/operations@0.1.0"));
        assert!(!is_operations("drover:plugin/operations@0.2.0"));
        assert!(!is_operations("wasi:cli/run@0.2.0"));
    }
}
