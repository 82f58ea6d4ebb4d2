//! What sessions may do, and how often.

use proptest::prelude::*;

use crate::id::SessionId;
use crate::message::{Audience, CancelMode, InvocationPolicy, PublishDetails};
use crate::uri::MatchPolicy;

/// One thing that somebody does. Numbers choose among what there is at the moment.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Join(usize, bool),
    Leave(usize),
    Goodbye(usize),
    Kill(usize, usize),
    Violate(usize),
    Register(usize, usize, usize, usize),
    RegisterByForce(usize, usize, usize),
    Unregister(usize, usize),
    Call(usize, usize, usize),
    Cancel(usize, CancelMode),
    Yield(usize, bool),
    Refuse(usize),
    Wait(u64),
    Subscribe(usize, usize, usize, bool),
    Unsubscribe(usize, usize),
    Publish(usize, usize, Box<PublishDetails>),
    AddTestament(usize, usize, bool, Box<PublishDetails>),
    FlushTestaments(usize, bool),
    UndeliverableInvocation(usize),
    UndeliverableResult(usize),
}

pub(super) const PATTERNS: [&str; 6] = ["a.b", "a.", "a.c", "..", "a..b c", ""];
pub(super) const TOPICS: [&str; 6] = ["a.b", "a.c", "b", "a.b.c", "x", "a..b c"];
pub(super) const POLICIES: [MatchPolicy; 3] =
    [MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard];
pub(super) const INVOKE: [InvocationPolicy; 5] = [
    InvocationPolicy::Single,
    InvocationPolicy::RoundRobin,
    InvocationPolicy::Random,
    InvocationPolicy::First,
    InvocationPolicy::Last,
];
pub(super) const AUTHIDS: [&str; 3] = ["u0", "u1", "u2"];
pub(super) const SCOPES: [&str; 2] = ["detached", "destroyed"];

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    let n = || 0..100_usize;
    let mode =
        prop::sample::select(vec![CancelMode::Skip, CancelMode::Kill, CancelMode::KillNoWait]);
    let calls = prop_oneof![
        4 => (n(), n(), n(), n()).prop_map(|(s, u, p, i)| Step::Register(s, u, p, i)),
        2 => (n(), n(), n()).prop_map(|(s, u, p)| Step::RegisterByForce(s, u, p)),
        1 => (n(), n()).prop_map(|(s, r)| Step::Unregister(s, r)),
        8 => (n(), n(), n()).prop_map(|(s, u, t)| Step::Call(s, u, t)),
        4 => (n(), mode).prop_map(|(c, m)| Step::Cancel(c, m)),
        6 => (n(), any::<bool>()).prop_map(|(i, p)| Step::Yield(i, p)),
        2 => n().prop_map(Step::Refuse),
        1 => (0..200_u64).prop_map(Step::Wait),
        1 => n().prop_map(Step::UndeliverableInvocation),
        1 => n().prop_map(Step::UndeliverableResult),
    ];
    let events = prop_oneof![
        4 => (n(), n(), n(), any::<bool>()).prop_map(|(s, u, p, r)| Step::Subscribe(s, u, p, r)),
        1 => (n(), n()).prop_map(|(s, u)| Step::Unsubscribe(s, u)),
        4 => (n(), n(), any_options()).prop_map(|(s, u, o)| Step::Publish(s, u, o)),
        2 => (n(), n(), any::<bool>(), any_options())
            .prop_map(|(s, u, c, o)| Step::AddTestament(s, u, c, o)),
        1 => (n(), any::<bool>()).prop_map(|(s, c)| Step::FlushTestaments(s, c)),
    ];
    prop_oneof![
        3 => (n(), any::<bool>()).prop_map(|(a, i)| Step::Join(a, i)),
        1 => n().prop_map(Step::Leave),
        1 => n().prop_map(Step::Goodbye),
        1 => (n(), n()).prop_map(|(k, v)| Step::Kill(k, v)),
        1 => n().prop_map(Step::Violate),
        20 => calls,
        12 => events,
    ]
}

/// Session ids in the lists are numbers, which the world replaces.
fn any_options() -> impl Strategy<Value = Box<PublishDetails>> {
    let sessions = || {
        let ids = prop::collection::vec((0..100_u64).prop_map(SessionId), 0..3);
        prop::option::weighted(0.2, ids)
    };
    let authids = || {
        let name = prop::sample::select(AUTHIDS.map(str::to_owned).to_vec());
        prop::option::weighted(0.2, prop::collection::vec(name, 0..3))
    };
    let audience = (sessions(), sessions(), authids(), authids());
    (audience, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(
            (exclude, eligible, exclude_authid, eligible_authid),
            acknowledge,
            exclude_me,
            retain,
        )| {
            let audience = Audience {
                exclude,
                eligible,
                exclude_authid,
                eligible_authid,
                ..Default::default()
            };
            Box::new(PublishDetails {
                acknowledge,
                exclude_me,
                disclose_me: false,
                retain,
                audience: (audience != Audience::default()).then(|| Box::new(audience)),
            })
        },
    )
}
