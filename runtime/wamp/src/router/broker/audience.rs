//! Which of a topic's subscribers an event is for.

use std::collections::{BTreeSet, HashSet};

use crate::id::SessionId;
use crate::message::Audience;
use crate::router::members::Members;

/// The black- and whitelists of one event, ready to be asked.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    except: Option<SessionId>,
    lists: Option<Box<Lists<'a>>>,
}

#[derive(Debug)]
struct Lists<'a> {
    exclude: HashSet<SessionId>,
    exclude_authid: HashSet<&'a str>,
    exclude_authrole: HashSet<&'a str>,
    eligible: Option<HashSet<SessionId>>,
    eligible_authid: Option<HashSet<&'a str>>,
    eligible_authrole: Option<HashSet<&'a str>>,
}

impl<'a> Filter<'a> {
    pub(super) fn new(except: Option<SessionId>, audience: Option<&'a Audience>) -> Self {
        Self { except, lists: audience.map(|audience| Box::new(Lists::new(audience))) }
    }

    /// Whether the event is for a session, if it subscribed.
    pub(super) fn admits(&self, session: SessionId, members: &Members) -> bool {
        Some(session) != self.except
            && self.lists.as_ref().is_none_or(|lists| lists.admit(session, members))
    }

    /// Those of the subscribers that the event is for, in order.
    pub(super) fn receivers(
        &self,
        subscribers: &BTreeSet<SessionId>,
        members: &Members,
    ) -> Vec<SessionId> {
        let Some(lists) = &self.lists else {
            let subscribers = subscribers.iter().copied();
            return subscribers.filter(|session| Some(*session) != self.except).collect();
        };
        let mut receivers = lists.candidates(subscribers, members);
        receivers.retain(|session| {
            Some(*session) != self.except
                && subscribers.contains(session)
                && lists.admit(*session, members)
        });
        receivers.sort_unstable();
        receivers
    }
}

impl<'a> Lists<'a> {
    fn new(audience: &'a Audience) -> Self {
        let sessions = |list: &Vec<SessionId>| list.iter().copied().collect();
        fn names(list: &[String]) -> HashSet<&str> {
            list.iter().map(String::as_str).collect()
        }
        let blacklist = |list: &'a Option<Vec<String>>| names(list.as_deref().unwrap_or_default());
        let whitelist = |list: &'a Option<Vec<String>>| list.as_deref().map(names);
        Self {
            exclude: audience.exclude.as_ref().map(sessions).unwrap_or_default(),
            exclude_authid: blacklist(&audience.exclude_authid),
            exclude_authrole: blacklist(&audience.exclude_authrole),
            eligible: audience.eligible.as_ref().map(sessions),
            eligible_authid: whitelist(&audience.eligible_authid),
            eligible_authrole: whitelist(&audience.eligible_authrole),
        }
    }

    fn admit(&self, session: SessionId, members: &Members) -> bool {
        let Some(member) = members.get(session) else { return false };
        let (authid, authrole) =
            (member.principal.authid.as_str(), member.principal.authrole.as_str());
        !self.exclude.contains(&session)
            && !self.exclude_authid.contains(authid)
            && !self.exclude_authrole.contains(authrole)
            && self.eligible.as_ref().is_none_or(|list| list.contains(&session))
            && self.eligible_authid.as_ref().is_none_or(|list| list.contains(authid))
            && self.eligible_authrole.as_ref().is_none_or(|list| list.contains(authrole))
    }

    /// Sessions among which all receivers are: the shortest whitelist, unless
    /// the subscribers are fewer. An event for a few costs what these few cost.
    fn candidates(&self, subscribers: &BTreeSet<SessionId>, members: &Members) -> Vec<SessionId> {
        let by_id = self.eligible.as_ref().map(|list| list.iter().copied().collect());
        let by_authid = self.eligible_authid.as_ref().and_then(|names| {
            let sets = names.iter().filter_map(|name| members.with_authid(name));
            fewer_than(subscribers.len(), sets)
        });
        let by_authrole = self.eligible_authrole.as_ref().and_then(|names| {
            let sets = names.iter().filter_map(|name| members.with_authrole(name));
            fewer_than(subscribers.len(), sets)
        });
        let lists = [by_id, by_authid, by_authrole].into_iter().flatten();
        lists
            .filter(|list: &Vec<_>| list.len() < subscribers.len())
            .min_by_key(Vec::len)
            .unwrap_or_else(|| subscribers.iter().copied().collect())
    }
}

/// All sessions of the sets, if they are fewer than `limit`.
fn fewer_than<'a>(
    limit: usize,
    sets: impl Iterator<Item = &'a BTreeSet<SessionId>> + Clone,
) -> Option<Vec<SessionId>> {
    let count: usize = sets.clone().map(BTreeSet::len).sum();
    (count < limit).then(|| sets.flatten().copied().collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::Principal;
    use crate::router::members::Member;
    use crate::router::permissions::Permissions;

    /// A thousand sessions: authid `u0` to `u9`, and only the first is an `admin`.
    fn members() -> Members {
        let permissions = Arc::new(Permissions::new("any", &[]));
        let mut members = Members::default();
        for id in 0..1000 {
            let authrole = if id == 0 { "admin" } else { "user" };
            members.insert(Member {
                principal: Arc::new(Principal {
                    session: SessionId(id),
                    authid: format!("u{}", id % 10),
                    authrole: authrole.to_owned(),
                }),
                authmethod: String::new(),
                authprovider: String::new(),
                permissions: Arc::clone(&permissions),
            });
        }
        members
    }

    fn texts(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn an_event_for_a_few_looks_at_these_few() {
        let members = members();
        let subscribers: BTreeSet<_> = members.ids().into_iter().collect();
        let all = Audience::default();
        for (audience, looked_at, received) in [
            (Audience { eligible: Some(vec![SessionId(7), SessionId(5000)]), ..all.clone() }, 2, 1),
            (Audience { eligible_authid: texts(&["u3", "nobody"]), ..all.clone() }, 100, 100),
            (Audience { eligible_authrole: texts(&["admin"]), ..all.clone() }, 1, 1),
            (
                Audience {
                    eligible_authid: texts(&["u0"]),
                    eligible_authrole: texts(&["admin"]),
                    exclude: Some(vec![SessionId(0)]),
                    ..all.clone()
                },
                1,
                0,
            ),
            (Audience { eligible: Some(vec![]), ..all.clone() }, 0, 0),
            (Audience { exclude_authid: texts(&["u1", "u2"]), ..all.clone() }, 1000, 800),
            (Audience { exclude_authrole: texts(&["user"]), ..all }, 1000, 1),
        ] {
            let lists = Lists::new(&audience);
            assert_eq!(lists.candidates(&subscribers, &members).len(), looked_at, "{audience:?}");
            let filter = Filter::new(None, Some(&audience));
            assert_eq!(filter.receivers(&subscribers, &members).len(), received, "{audience:?}");
        }
    }

    #[test]
    fn a_topic_of_a_few_looks_at_its_subscribers() {
        let members = members();
        let subscribers = BTreeSet::from([SessionId(3), SessionId(4)]);
        let audience = Audience { eligible_authrole: texts(&["user"]), ..Audience::default() };
        let lists = Lists::new(&audience);
        assert_eq!(lists.candidates(&subscribers, &members).len(), 2);
        let filter = Filter::new(Some(SessionId(3)), Some(&audience));
        assert_eq!(filter.receivers(&subscribers, &members), [SessionId(4)]);
    }
}
