//! What a node has kept of its jobs, read from its files.

use std::path::Path;

use drover_logs::store::{Filter, LogStore, Order, Query, StoreConfig, StoredRecord};

/// All records that fit, oldest first, of an agent that has ended.
///
/// # Panics
///
/// If the log cannot be opened, or a part of it is damaged.
#[must_use]
pub fn records_in(dir: &Path, filter: &Filter) -> Vec<StoredRecord> {
    let store = LogStore::open(StoreConfig::new(dir)).unwrap();
    let mut query =
        Query { filter: filter.clone(), order: Order::Oldest, limit: 10_000, cursor: None };
    let mut records = Vec::new();
    loop {
        let page = store.query(&query);
        assert_eq!(page.damaged, Vec::<String>::new());
        records.extend(page.records);
        let Some(next) = page.next else { return records };
        query.cursor = Some(next);
    }
}
