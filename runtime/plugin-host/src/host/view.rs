//! What a host tells of its plugins: what is loaded, refused or in quarantine.

use std::collections::BTreeMap;
use std::sync::Arc;

use drover_api::{JobError, Level, Plugin, PluginList, PluginSummary, RefusedPlugin};
use tokio::sync::watch;

use super::Host;
use crate::account::{Account, KeptQuarantine};
use crate::notice::Notice;

impl Host {
    /// The loaded plugins, by name.
    #[must_use]
    pub fn plugins(&self) -> Vec<Plugin> {
        self.registry().descriptions().cloned().collect()
    }

    /// The loaded plugins in short, by name.
    #[must_use]
    pub fn summaries(&self) -> Vec<PluginSummary> {
        let registry = self.registry();
        let summary = |plugin: &Plugin| PluginSummary {
            name: plugin.name.clone(),
            hash: plugin.hash.clone(),
        };
        registry.descriptions().map(summary).collect()
    }

    /// The loaded plugin that has the operation `<plugin>.<operation>`, with
    /// nothing but that.
    #[must_use]
    pub fn plugin_with(&self, cmd: &str) -> Option<Plugin> {
        let (plugin, operation) = cmd.rsplit_once('.')?;
        let registry = self.registry();
        let Plugin { name, hash, operations, .. } = &registry.find(plugin)?.description;
        let operation = operations.iter().find(|known| known.name == operation)?.clone();
        let (name, hash) = (name.clone(), hash.clone());
        Some(Plugin { name, hash, operations: vec![operation], formats: Vec::new() })
    }

    /// The files of the plugin directory that are refused, by name.
    #[must_use]
    pub fn refused(&self) -> Vec<RefusedPlugin> {
        self.registry().refused()
    }

    /// What there is to know of each plugin, loaded or not.
    #[must_use]
    pub fn statuses(&self) -> PluginList {
        self.registry().statuses()
    }

    /// Lets a plugin out of its quarantine; false if it was in none.
    ///
    /// # Errors
    ///
    /// If there is no such plugin.
    pub fn release(&self, plugin: &str) -> Result<bool, JobError> {
        let was_in = self.plugin(plugin)?.account.release();
        if was_in {
            tracing::info!(plugin, "plugin released from quarantine");
            let text = format!("plugin `{plugin}` was released from quarantine");
            self.notify(Notice::new(Level::OPERATOR, plugin, text));
            self.changed();
        }
        Ok(was_in)
    }

    /// The quarantines that plugins are in, or are on probation after, by plugin:
    /// what [`Host::resume_quarantines`] wants in the next host.
    #[must_use]
    pub fn quarantines(&self) -> BTreeMap<String, KeptQuarantine> {
        let accounts = self.0.shared.accounts();
        let kept =
            |(name, account): (&Arc<str>, &Arc<Account>)| Some((name.to_string(), account.kept()?));
        accounts.iter().filter_map(kept).collect()
    }

    /// Puts plugins where they were in the host before. To be called before any is
    /// loaded.
    pub fn resume_quarantines(&self, quarantines: BTreeMap<String, KeptQuarantine>) {
        for (name, kept) in quarantines {
            self.0.shared.account(&name.into()).resume(kept);
        }
    }

    /// How often calls were denied since the host started, by plugin and interface.
    #[must_use]
    pub fn denials(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let accounts = self.0.shared.accounts();
        let denials = |(name, account): (&Arc<str>, &Arc<Account>)| {
            (name.to_string(), account.denials().read())
        };
        accounts.iter().map(denials).collect()
    }

    /// Counts up whenever what is loaded, refused, granted or in quarantine
    /// changes.
    #[must_use]
    pub fn revision(&self) -> watch::Receiver<u64> {
        self.0.shared.news.revision()
    }

    /// Waits for the next thing to tell of plugins. One listens at a time.
    pub async fn notice(&self) -> Notice {
        self.0.shared.news.listen().await
    }
}
