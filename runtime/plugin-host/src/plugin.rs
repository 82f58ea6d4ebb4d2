//! A loaded plugin, and the way from a file to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drover_api::{Operation, OperationKind, Plugin};
use drover_grants::{
    Allowance, Asks, Decision, Grants, Manifest, Missing, SectionError, decide, read_manifest,
};
use nix::fcntl::OFlag;
use semver::Version;
use tempfile::NamedTempFile;
use tokio::task::block_in_place;
use wasmtime::component::Component;

use crate::account::Account;
use crate::bindings::OperationsPluginPre;
use crate::bindings::concurrent::AsyncOperationsPre;
use crate::cache::Verified;
use crate::compiler::{CompilerError, Haste};
use crate::component::{
    Hash, NotAComponent, ask_for, check_outline, cure, is_async_operations, is_line_parsing,
    is_of_some_contract, is_offered, is_operations, is_packed_lines,
};
use crate::describe::{DescribeError, check_name, describe};
use crate::engine::Kind;
use crate::formats::Parsing;
use crate::formats::{self, Formats};
use crate::host::Shared;
use crate::job::Outcome;
use crate::notice::Notice;
use crate::operations::Interface;
use crate::pace::Pace;
use crate::schema::ArgumentSchema;
use crate::tally::{Counts, Tally};
use crate::{deserialize, imports};

/// A plugin that can be called.
pub(crate) struct Loaded {
    pub(crate) name: Arc<str>,
    /// What its manifest says.
    pub(crate) version: Option<Arc<str>>,
    pub(crate) operations: BTreeMap<String, LoadedOperation>,
    /// None if it parses no log lines.
    pub(crate) formats: Option<Formats>,
    pub(crate) description: Plugin,
    pub(crate) asks: Asks,
    pub(crate) account: Arc<Account>,
    counts: Counts,
    decided: Mutex<Option<Decided>>,
}

/// What grants give a plugin, which takes longer to find out than many a job.
struct Decided {
    grants: Arc<Grants>,
    allowance: Result<Arc<Allowance>, Missing>,
}

impl Loaded {
    /// Takes how a job of this version ended that had `timeout` to run, or for
    /// ever. If that puts the plugin in quarantine, gives back what to tell.
    pub(crate) fn ended(&self, outcome: &Outcome, timeout: Option<Duration>) -> Option<Notice> {
        self.counts.count(self.account.verdict(outcome, timeout));
        self.account.ended(&self.description.hash, outcome, timeout)
    }

    /// Forgets how jobs ended before it served.
    pub(crate) fn begins_to_serve(&self) {
        self.counts.reset();
    }

    /// How the jobs of this version ended so far.
    pub(crate) fn tally(&self) -> Tally {
        self.counts.read()
    }

    /// What it may touch by these grants; an error says which are missing.
    pub(crate) fn allowance(&self, grants: &Arc<Grants>) -> Result<Arc<Allowance>, Missing> {
        let mut decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        match &*decided {
            Some(decided) if Arc::ptr_eq(&decided.grants, grants) => decided.allowance.clone(),
            _ => {
                let allowance = match decide(&self.name, &self.asks, grants) {
                    Decision::Allowed { allowance, .. } => Ok(Arc::new(allowance)),
                    Decision::Missing(missing) => Err(missing),
                };
                let grants = Arc::clone(grants);
                *decided = Some(Decided { grants, allowance: allowance.clone() });
                allowance
            }
        }
    }

    /// How long an operation takes; none if there is no such operation.
    pub(crate) fn pace(&self, operation: &str) -> Option<&Pace> {
        self.operations.get(operation).map(|operation| &operation.pace)
    }

    /// What parses a format of log lines, and the schema of its options.
    pub(crate) fn format(&self, name: &str) -> Option<(&Parsing, &ArgumentSchema)> {
        let formats = self.formats.as_ref()?;
        Some((&formats.parsing, formats.options.get(name)?))
    }
}

/// What the host needs to know of an operation to run it.
pub(crate) struct LoadedOperation {
    /// In which it is.
    pub(crate) interface: Arc<Interface>,
    pub(crate) kind: OperationKind,
    pub(crate) arguments: ArgumentSchema,
    pub(crate) pace: Pace,
}

/// Why a file is not loaded as a plugin. The file is named by whoever tells it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The name of the file cannot be a plugin's.
    #[error(
        "`{0}` is no name for a plugin: rename the file to lower-case letters, digits, `-` and `_`, starting with a letter, at most 64"
    )]
    Name(String),
    /// The host answers to that name itself.
    #[error(
        "`{0}` is a name of the host's own commands (they are {list}): rename the file",
        list = list(.1)
    )]
    Reserved(String, Vec<String>),
    /// The file cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// The file is too large.
    #[error("it has {size} bytes, and {limit} are allowed; make it smaller, or raise the limit")]
    TooLarge {
        /// Its length.
        size: u64,
        /// The longest that is allowed.
        limit: u64,
    },
    /// It is no whole component.
    #[error(transparent)]
    NotAComponent(#[from] NotAComponent),
    /// There is no compiled code for it.
    #[error("it cannot be compiled")]
    Compile(#[source] CompilerError),
    /// The compiled code cannot be kept.
    #[error("its compiled code cannot be kept in the cache: is the disk full?")]
    Cache(#[source] io::Error),
    /// The compiled code cannot be used.
    #[error("its compiled code cannot be used: {0}")]
    Code(String),
    /// It wants what is not offered.
    #[error("it imports {}, which is not offered: {}", list(.0), .0.first().map_or("", |import| cure(import)))]
    Imports(Vec<String>),
    /// Its manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] SectionError),
    /// Its file has the name of another plugin.
    #[error(
        "its manifest calls it `{manifest}` and its file `{file}`: what it is granted goes by its name, so rename the file to {manifest}.wasm if it is that plugin"
    )]
    OtherName {
        /// The name in the manifest.
        manifest: String,
        /// The name of the file.
        file: String,
    },
    /// It is for a later Drover.
    #[error("it is for Drover {wanted} and later, and this is {}: update this one", env!("CARGO_PKG_VERSION"))]
    LaterHost {
        /// The oldest that will do.
        wanted: String,
    },
    /// It wants what it does not ask for.
    #[error(
        "it imports {import} and does not ask for it: have `{line}` under [asks] in its plugin.toml, and build or pack it again"
    )]
    NotAsked {
        /// The interface.
        import: String,
        /// What the manifest needs.
        line: &'static str,
    },
    /// It asks for what it is not granted.
    #[error("{0}")]
    NotGranted(Missing),
    /// It wants a function that this version of an interface does not have, or
    /// with other types.
    #[error(
        "its imports or exports do not fit this host: {0}; build it with the SDK of this version"
    )]
    Mismatch(String),
    /// It is no plugin.
    #[error("it exports none of drover:plugin/operations@0.1, async-operations@0.1 and line-parsing@0.1, so it is no plugin: write it with drover-sdk; it exports {}", list(.0))]
    NoOperations(Vec<String>),
    /// It is a plugin of another contract.
    #[error(
        "it exports {0}, and this host calls drover:plugin@0.1: build it with the SDK of this version"
    )]
    OtherContract(String),
    /// It does not say what it offers, or says it wrongly.
    #[error("it does not describe itself well")]
    Describe(#[from] DescribeError),
}

impl Refusal {
    /// Whether the admin's grants do not cover what it asks for.
    #[must_use]
    pub fn is_not_granted(&self) -> bool {
        matches!(self, Self::NotGranted(_))
    }

    /// Whether the same file may load later without being changed: it was not
    /// its fault.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Read(_)
            | Self::NotAComponent(NotAComponent::Unreadable(_))
            | Self::Cache(_)
            | Self::Code(_)
            | Self::Describe(DescribeError::TooSlow(_)) => true,
            Self::Compile(error) => error.may_pass(),
            _ => false,
        }
    }
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

/// A component with its code in memory, not yet checked against what is offered.
pub(crate) struct Code {
    pub(crate) hash: Hash,
    pub(crate) size: u64,
    pub(crate) manifest: Manifest,
    component: Component,
}

/// What a component says of itself to those who only look.
pub(crate) struct Interfaces {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

/// The plugin's name: that of the file without `.wasm`, if it is none of those
/// that are `reserved`.
pub(crate) fn name_of(path: &Path, reserved: &[String]) -> Result<Arc<str>, Refusal> {
    name_as(&path.file_stem().unwrap_or_default().to_string_lossy(), reserved)
}

/// The name of a file, or of a folder of versions, as a plugin's name.
pub(crate) fn name_as(name: &str, reserved: &[String]) -> Result<Arc<str>, Refusal> {
    check_name(name).map_err(|_| Refusal::Name(name.to_owned()))?;
    if reserved.iter().any(|reserved| reserved == name) {
        return Err(Refusal::Reserved(name.to_owned(), reserved.to_vec()));
    }
    Ok(name.into())
}

impl Code {
    /// Compiles the component in the file, unless the cache has its code.
    pub(crate) async fn get(shared: &Shared, path: &Path, haste: Haste) -> Result<Self, Refusal> {
        let Source { kind, hash, size, manifest, cached } =
            block_in_place(|| Source::open(shared, path))?;
        let code = match cached {
            Cached::Code(code) => code,
            Cached::Copy(copy) => compile(shared, &hash, &copy, haste).await?,
        };
        let engine = shared.engines.of(kind).map_err(|error| Refusal::Code(error.to_owned()))?;
        let component = block_in_place(|| deserialize::component(engine, &code))
            .map_err(|error| Refusal::Code(format!("{error:#}")))?;
        Ok(Self { hash, size, manifest, component })
    }

    pub(crate) fn interfaces(&self) -> Interfaces {
        let (ty, engine) = (self.component.component_type(), self.component.engine());
        Interfaces {
            imports: ty.imports(engine).map(|(name, _)| name.to_owned()).collect(),
            exports: ty.exports(engine).map(|(name, _)| name.to_owned()).collect(),
        }
    }

    /// Checks the component against what is offered and has it describe itself.
    pub(crate) async fn load(self, shared: &Shared, name: Arc<str>) -> Result<Loaded, Refusal> {
        self.check_manifest(&name)?;
        let Linked { interfaces, parsing } = self.link()?;
        self.check_grants(&name, shared)?;
        let account = shared.account(&name);
        let limits = &account.terms().limits;
        let mut operations = Vec::new();
        for interface in interfaces {
            let described = describe(shared, name.clone(), &interface, limits).await?;
            let interface = Arc::new(interface);
            operations.extend(described.into_iter().map(|each| (each, interface.clone())));
        }
        operations.sort_by(|((one, _), _), ((other, _), _)| one.name.cmp(&other.name));
        let (described, formats) = match parsing {
            Some(parsing) => {
                let (described, formats) =
                    formats::describe(shared, name.clone(), parsing, limits).await?;
                (described, Some(formats))
            }
            None => Default::default(),
        };
        let description = Plugin {
            name: name.to_string(),
            hash: self.hash.to_string(),
            operations: operations.iter().map(|((operation, _), _)| operation.clone()).collect(),
            formats: described,
        };
        let (mut all, pace) = (BTreeMap::new(), Pace::default);
        for ((Operation { name, kind, .. }, arguments), interface) in operations {
            let operation = LoadedOperation { interface, kind, arguments, pace: pace() };
            if all.insert(name.clone(), operation).is_some() {
                return Err(DescribeError::Duplicate(name).into());
            }
        }
        let operations = all;
        let Manifest { version, asks, .. } = self.manifest;
        let version = version.map(|version| version.to_string().into());
        let (counts, decided) = (Counts::default(), Mutex::default());
        Ok(Loaded {
            name,
            version,
            operations,
            formats,
            description,
            asks,
            account,
            counts,
            decided,
        })
    }

    fn check_manifest(&self, name: &str) -> Result<(), Refusal> {
        if let Some(own) = self.manifest.name.as_ref().filter(|own| own.as_str() != name) {
            return Err(Refusal::OtherName { manifest: own.to_string(), file: name.to_owned() });
        }
        let host = Version::parse(env!("CARGO_PKG_VERSION")).ok();
        match &self.manifest.min_host {
            Some(wanted) if host.is_some_and(|host| host < *wanted) => {
                Err(Refusal::LaterHost { wanted: wanted.to_string() })
            }
            _ => Ok(()),
        }
    }

    fn check_grants(&self, name: &str, shared: &Shared) -> Result<(), Refusal> {
        match decide(name, &self.manifest.asks, &shared.grants.borrow()) {
            Decision::Missing(missing) => Err(Refusal::NotGranted(missing)),
            Decision::Allowed { unasked, .. } => {
                if !unasked.is_empty() {
                    let unasked = unasked.join(", ");
                    tracing::warn!(plugin = name, unasked, "granted, and not asked for");
                }
                Ok(())
            }
        }
    }

    fn link(&self) -> Result<Linked, Refusal> {
        let Interfaces { imports, exports } = self.interfaces();
        let refused: Vec<_> =
            imports.iter().filter(|import| !is_offered(import)).cloned().collect();
        if !refused.is_empty() {
            return Err(Refusal::Imports(refused));
        }
        let has_operations = exports.iter().any(|export| is_operations(export));
        let has_async = exports.iter().any(|export| is_async_operations(export));
        let has_parsing = exports.iter().any(|export| is_line_parsing(export));
        let has_packed = exports.iter().any(|export| is_packed_lines(export));
        if !has_operations && !has_async && !has_parsing {
            let other = exports.iter().find(|name| is_of_some_contract(name));
            return Err(match other {
                Some(other) => Refusal::OtherContract(other.clone()),
                None => Refusal::NoOperations(exports),
            });
        }
        let asks = &self.manifest.asks;
        let not_asked = |import: String| Some((ask_for(&import, asks)?, import));
        if let Some((line, import)) = imports.into_iter().find_map(not_asked) {
            return Err(Refusal::NotAsked { import, line });
        }
        let linked = imports::linker(self.component.engine(), asks)
            .and_then(|linker| linker.instantiate_pre(&self.component))
            .and_then(|component| {
                let mut interfaces = Vec::new();
                if has_operations {
                    interfaces.push(Interface::Plain(OperationsPluginPre::new(component.clone())?));
                }
                if has_async {
                    interfaces.push(Interface::Async(AsyncOperationsPre::new(component.clone())?));
                }
                let parsing =
                    has_parsing.then(|| Parsing::new(component, has_packed)).transpose()?;
                Ok(Linked { interfaces, parsing })
            });
        linked.map_err(|error| Refusal::Mismatch(format!("{error:#}")))
    }
}

/// A component that can be instantiated, as each of the kinds of plugin that it is.
struct Linked {
    /// Those that have operations.
    interfaces: Vec<Interface>,
    parsing: Option<Parsing>,
}

/// A component file that was read once from end to end.
struct Source {
    kind: Kind,
    hash: Hash,
    size: u64,
    manifest: Manifest,
    cached: Cached,
}

enum Cached {
    /// Compiled code.
    Code(Verified),
    /// A copy of the component: the file itself may change while it is compiled.
    Copy(NamedTempFile),
}

impl Source {
    fn open(shared: &Shared, path: &Path) -> Result<Self, Refusal> {
        // A pipe of that name must not make us wait for its writer.
        let mut open = File::options();
        open.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let mut file = open.open(path).map_err(Refusal::Read)?;
        let metadata = file.metadata().map_err(Refusal::Read)?;
        if !metadata.is_file() {
            return Err(Refusal::Read(io::Error::other("it is no file")));
        }
        let (size, limit) = (metadata.len(), shared.limits().component_bytes);
        if size > limit {
            return Err(Refusal::TooLarge { size, limit });
        }
        let kind = check_outline(&file, size)?;
        let manifest = read_manifest(&file)?.unwrap_or_default();

        let hash = hash_of(&mut file, &mut io::sink(), limit).map_err(Refusal::Read)?;
        if let Some(code) = shared.cache.find(&hash) {
            return Ok(Self { kind, hash, size, manifest, cached: Cached::Code(code) });
        }
        let mut copy = shared.cache.scratch().map_err(Refusal::Cache)?;
        let hash = hash_of(&mut file, copy.as_file_mut(), limit).map_err(Refusal::Read)?;
        Ok(Self { kind, hash, size, manifest, cached: Cached::Copy(copy) })
    }
}

/// Reads the file from its start, however much it grows meanwhile.
fn hash_of(file: &mut File, copy: &mut impl Write, limit: u64) -> io::Result<Hash> {
    file.rewind()?;
    Hash::of_copy(&mut file.take(limit), copy)
}

async fn compile(
    shared: &Shared,
    hash: &Hash,
    component: &NamedTempFile,
    haste: Haste,
) -> Result<Verified, Refusal> {
    let code = shared.cache.scratch().map_err(Refusal::Cache)?;
    shared.compiler.run(component.path(), code.path(), haste).await.map_err(Refusal::Compile)?;
    block_in_place(|| shared.cache.store(hash, code)).map_err(Refusal::Cache)
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".into();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
