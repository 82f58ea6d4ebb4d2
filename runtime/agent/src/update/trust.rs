//! Whether content and statements count: the keys of the configuration, and the
//! newest statement that was seen. A key that counts for plugins, which run in a
//! sandbox, need not count for the agent's own program.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use drover_api::{CatalogStatement, OWN_PROGRAM};
use drover_signing::{
    Claim, ClaimError, Seen, SigningError, StaleError, Statement, StatementError, TrustedKeys,
    accept, read_statement,
};
use drover_snapshot::{Format, Found};
use drover_update::Version;
use jiff::Timestamp;
use semver::Version as Number;
use serde::{Deserialize, Serialize};

const FORMAT: Format = Format { name: "the newest statement that was seen", steps: &[] };

#[derive(Serialize, Deserialize)]
struct Contents {
    seen: Option<Seen>,
}

/// The keys, and what was seen with them.
#[derive(Debug)]
pub(super) struct Trust {
    keys: TrustedKeys,
    /// The names of those that count for the agent's own program.
    agent_keys: Vec<String>,
    file: PathBuf,
    seen: Option<Seen>,
}

/// Why a version is not to run.
#[derive(Debug, thiserror::Error)]
pub(super) enum Distrust {
    #[error("its content cannot be read")]
    Content(#[source] io::Error),
    #[error("its signature does not count")]
    Signature(#[from] SigningError),
    #[error(
        "it was signed with the key `{0}`, which does not count for the agent itself: add it to \
         `agent_keys` in `[updates]` of the agent's configuration, if it is to"
    )]
    NotForAgents(String),
    #[error("its signature is not for it")]
    Claim(#[from] ClaimError),
    #[error("the controller's statement does not count")]
    Statement(#[source] StatementError),
    #[error("the controller's statement does not count")]
    Stale(#[from] StaleError),
    #[error("the controller's statement does not have it")]
    NotStated(#[source] StatementError),
    #[error("the controller's statement has other content for version {0}")]
    OtherContent(Number),
    #[error(
        "it is older than version {newest}, which served here, and is current in no channel of \
         the controller's statement: set a channel to it, or go back with `plugin.revert`"
    )]
    Older { newest: Number },
    /// The newest statement cannot be remembered.
    #[error("cannot write {}: is the disk full?", .path.display())]
    Remember { path: PathBuf, source: io::Error },
}

impl Distrust {
    /// Whether trying again later may help.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Content(_) | Self::Remember { .. })
    }
}

impl Trust {
    /// Reads what was seen; a file that is damaged is put aside.
    pub(super) fn open(
        keys: TrustedKeys,
        agent_keys: Vec<String>,
        file: PathBuf,
    ) -> io::Result<Self> {
        let seen = match FORMAT.read::<Contents>(&file)? {
            Found::Whole(contents) => contents.seen,
            Found::Nothing => None,
            Found::PutAside(aside) => {
                tracing::error!(
                    file = %file.display(),
                    aside = %aside.path.display(),
                    reason = aside.reason,
                    "the newest statement that was seen is forgotten: until the next one, an older \
                     one would be taken"
                );
                None
            }
        };
        Ok(Self { keys, agent_keys, file, seen })
    }

    /// Whether any signature can count.
    pub(super) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether any signature can count for the agent's own program.
    pub(super) fn has_agent_keys(&self) -> bool {
        !self.agent_keys.is_empty()
    }

    /// Trusts these keys from now on, and no others.
    pub(super) fn set_keys(&mut self, keys: TrustedKeys) {
        self.keys = keys;
    }

    /// Checks that a statement is signed, fresh and not older than one that was seen,
    /// and remembers it. Blocks.
    pub(super) fn accept(&mut self, statement: &CatalogStatement) -> Result<Statement, Distrust> {
        let CatalogStatement { statement, signature } = statement;
        let now = Timestamp::now();
        let signed = read_statement(statement.as_bytes(), signature, &self.keys, now)
            .map_err(Distrust::Statement)?;
        let seen = accept(self.seen.as_ref(), &signed, &self.keys, now)?;
        if self.seen.as_ref() != Some(&seen) {
            self.remember(seen)?;
        }
        Ok(signed.statement().clone())
    }

    /// Checks that a fresh statement has this version of the plugin `name`, and
    /// that it is no step back behind `newest`. Blocks.
    pub(super) fn check_statement(
        &mut self,
        statement: &CatalogStatement,
        name: &str,
        version: &Version,
        newest: Option<&Number>,
    ) -> Result<(), Distrust> {
        let statement = self.accept(statement)?;
        let number = version.version.to_string();
        let stated = statement.version(name, &number).map_err(Distrust::NotStated)?;
        if (stated.hash, stated.length) != (version.hash, version.length) {
            return Err(Distrust::OtherContent(version.version.clone()));
        }
        let plugin = statement.plugins.get(name);
        let is_current = plugin.is_some_and(|one| one.channels.values().any(|v| *v == number));
        match newest {
            Some(newest) if version.version < *newest && !is_current => {
                Err(Distrust::Older { newest: newest.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Checks that a trusted key signed the content in the file as this version of
    /// the plugin `name`. Blocks.
    pub(super) fn check_content(
        &self,
        content: &Path,
        name: &str,
        version: &Version,
    ) -> Result<(), Distrust> {
        let file = File::open(content).map_err(Distrust::Content)?;
        let signed = self.keys.verify(file, &version.signature, Timestamp::now())?;
        if name == OWN_PROGRAM && !self.agent_keys.contains(&signed.key) {
            return Err(Distrust::NotForAgents(signed.key));
        }
        // Somebody's own comment claims nothing, and the statement binds all of it.
        if let Some(claim) = Claim::parse(&signed.trusted_comment)? {
            let number = version.version.to_string();
            claim.check(name, &number, (version.hash, version.length))?;
        }
        Ok(())
    }

    fn remember(&mut self, seen: Seen) -> Result<(), Distrust> {
        let contents = Contents { seen: Some(seen) };
        FORMAT
            .replace(&self.file, &contents)
            .map_err(|source| Distrust::Remember { path: self.file.clone(), source })?;
        self.seen = contents.seen;
        Ok(())
    }
}
