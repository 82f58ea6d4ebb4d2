//! `wamp.registration.…` and `wamp.subscription.…`: what is held, and by whom.

use serde::{Deserialize, Serialize};

use super::{Arguments, Refusal, answer};
use crate::message::InvocationPolicy;
use crate::payload::Payload;
use crate::router::entries::{Entries, Entry, Holders};
use crate::router::realm::Realm;
use crate::router::turn::{Change, EntryKind, News};
use crate::uri::{self, MatchPolicy};

/// What is told of a registration or subscription.
#[derive(Debug, Serialize)]
struct EntryDetails<'a> {
    id: u64,
    /// RFC 3339, UTC.
    created: String,
    uri: &'a str,
    #[serde(rename = "match")]
    policy: MatchPolicy,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoke: Option<InvocationPolicy>,
}

/// What `list` answers.
#[derive(Debug, Serialize)]
struct Listed {
    exact: Vec<u64>,
    prefix: Vec<u64>,
    wildcard: Vec<u64>,
}

/// The second argument of `lookup`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Lookup {
    #[serde(rename = "match")]
    policy: MatchPolicy,
}

impl Realm {
    /// Calls `wamp.registration.<name>`; none if there is no such procedure.
    pub(super) fn ask_registrations(
        &self,
        name: &str,
        arguments: Arguments<'_>,
    ) -> Option<Result<Payload, Refusal>> {
        let all = self.dealer.registrations();
        let kind = EntryKind::Registration;
        Some(match name {
            "list" => list(all),
            "lookup" => lookup(all, arguments),
            "match" => name_argument(arguments).and_then(|name| answer(&all.best(&name))),
            "get" => id_argument(arguments).and_then(|id| {
                let details = self.details(kind, id).ok_or_else(|| no_such(kind, id))?;
                answer(&details)
            }),
            "list_callees" => holders(all, kind, arguments, |callees| answer(&callees.sessions())),
            "count_callees" => holders(all, kind, arguments, |callees| answer(&callees.count())),
            _ => return None,
        })
    }

    /// Calls `wamp.subscription.<name>`; none if there is no such procedure.
    pub(super) fn ask_subscriptions(
        &self,
        name: &str,
        arguments: Arguments<'_>,
    ) -> Option<Result<Payload, Refusal>> {
        let all = self.broker.subscriptions();
        let kind = EntryKind::Subscription;
        Some(match name {
            "list" => list(all),
            "lookup" => lookup(all, arguments),
            "match" => name_argument(arguments).and_then(|name| {
                let found = all.all(&name);
                answer(&(!found.is_empty()).then_some(found))
            }),
            "get" => id_argument(arguments).and_then(|id| {
                let details = self.details(kind, id).ok_or_else(|| no_such(kind, id))?;
                answer(&details)
            }),
            "list_subscribers" => holders(all, kind, arguments, |them| answer(&them.sessions())),
            "count_subscribers" => holders(all, kind, arguments, |them| answer(&them.count())),
            _ => return None,
        })
    }

    /// What subscribers of a [topic](topic) are told.
    pub(in crate::router::realm) fn in_words(&self, news: News) -> Option<Payload> {
        match news.change {
            Change::Created => {
                let details = self.details(news.kind, news.id)?;
                Payload::positional(&(news.session, details)).ok()
            }
            Change::Held | Change::Released | Change::Deleted => {
                Payload::positional(&(news.session, news.id)).ok()
            }
        }
    }

    fn details(&self, kind: EntryKind, id: u64) -> Option<EntryDetails<'_>> {
        match kind {
            EntryKind::Registration => {
                let entry = self.dealer.registrations().get(id)?;
                Some(self.describe(id, entry, Some(entry.holders.policy())))
            }
            EntryKind::Subscription => {
                let entry = self.broker.subscriptions().get(id)?;
                Some(self.describe(id, entry, None))
            }
        }
    }

    fn describe<'a, H>(
        &self,
        id: u64,
        entry: &'a Entry<H>,
        invoke: Option<InvocationPolicy>,
    ) -> EntryDetails<'a> {
        let created = self.began.checked_add(entry.created).unwrap_or(self.began);
        let created = humantime::format_rfc3339_millis(created).to_string();
        EntryDetails { id, created, uri: &entry.uri, policy: entry.policy, invoke }
    }
}

/// The topic on which a change is told.
pub(in crate::router::realm) fn topic(news: News) -> &'static str {
    match (news.kind, news.change) {
        (EntryKind::Registration, Change::Created) => "wamp.registration.on_create",
        (EntryKind::Registration, Change::Held) => "wamp.registration.on_register",
        (EntryKind::Registration, Change::Released) => "wamp.registration.on_unregister",
        (EntryKind::Registration, Change::Deleted) => "wamp.registration.on_delete",
        (EntryKind::Subscription, Change::Created) => "wamp.subscription.on_create",
        (EntryKind::Subscription, Change::Held) => "wamp.subscription.on_subscribe",
        (EntryKind::Subscription, Change::Released) => "wamp.subscription.on_unsubscribe",
        (EntryKind::Subscription, Change::Deleted) => "wamp.subscription.on_delete",
    }
}

fn list<H>(entries: &Entries<H>) -> Result<Payload, Refusal> {
    answer(&Listed {
        exact: entries.of_policy(MatchPolicy::Exact),
        prefix: entries.of_policy(MatchPolicy::Prefix),
        wildcard: entries.of_policy(MatchPolicy::Wildcard),
    })
}

fn lookup<H>(entries: &Entries<H>, arguments: Arguments<'_>) -> Result<Payload, Refusal> {
    let name = name_argument(arguments)?;
    let options: Option<Lookup> = arguments.optional(1, "a map with `match`")?;
    answer(&entries.lookup(&name, options.unwrap_or_default().policy))
}

fn holders<H: Holders>(
    entries: &Entries<H>,
    kind: EntryKind,
    arguments: Arguments<'_>,
    tell: impl Fn(&H) -> Result<Payload, Refusal>,
) -> Result<Payload, Refusal> {
    let id = id_argument(arguments)?;
    let entry = entries.get(id).ok_or_else(|| no_such(kind, id))?;
    tell(&entry.holders)
}

fn name_argument(arguments: Arguments<'_>) -> Result<String, Refusal> {
    arguments.required(0, "an URI")
}

fn id_argument(arguments: Arguments<'_>) -> Result<u64, Refusal> {
    arguments.required(0, "an id")
}

fn no_such(kind: EntryKind, id: u64) -> Refusal {
    match kind {
        EntryKind::Registration => {
            let text = format!("there is no registration {id}");
            Refusal::new(uri::error::NO_SUCH_REGISTRATION, text)
        }
        EntryKind::Subscription => {
            let text = format!("there is no subscription {id}");
            Refusal::new(uri::error::NO_SUCH_SUBSCRIPTION, text)
        }
    }
}
