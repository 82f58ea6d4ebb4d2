//! Any message with any of its options.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use crate::Payload;
use crate::id::{MAX_ID, SessionId};
use crate::message::{
    Audience, AuthenticateDetails, CallDetails, CancelDetails, CancelMode, ChallengeDetails,
    ClientRoles, EventDetails, Features, HelloDetails, HelloExtra, InvocationDetails,
    InvocationPolicy, Message, Principal, ProgressDetails, PublishDetails, ReasonDetails,
    RegisterDetails, RequestKind, Revocation, Role, RouterRoles, SubscribeDetails, WelcomeDetails,
};
use crate::uri::MatchPolicy;

pub(super) fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![any_greeting(), any_of_publishing(), any_of_calling()]
}

fn id() -> impl Strategy<Value = u64> {
    1..=MAX_ID
}

fn session() -> impl Strategy<Value = SessionId> {
    id().prop_map(SessionId)
}

fn text() -> impl Strategy<Value = String> {
    "[a-zä\\\\\"\\x01 .]{0,9}"
}

fn any_payload() -> impl Strategy<Value = Payload> {
    let words = || vec(text(), 0..4);
    prop_oneof![
        Just(Payload::empty()),
        words().prop_map(|args| Payload::positional(&args).unwrap()),
        words().prop_map(|args| {
            let keywords = Payload::keyword(&json!({"words": args, "n": 1.5})).unwrap();
            Payload::positional(&args).unwrap().with_keywords_of(keywords)
        }),
    ]
}

fn any_role() -> impl Strategy<Value = Role> {
    const FEATURES: [&str; 16] = [
        "call_canceling",
        "call_timeout",
        "caller_identification",
        "event_retention",
        "pattern_based_registration",
        "pattern_based_subscription",
        "progressive_call_results",
        "publisher_exclusion",
        "publisher_identification",
        "registration_meta_api",
        "registration_revocation",
        "session_meta_api",
        "shared_registration",
        "subscriber_blackwhite_listing",
        "subscription_meta_api",
        "testament_meta_api",
    ];
    subsequence(FEATURES.to_vec(), 0..=FEATURES.len()).prop_map(|names| {
        let features: Value =
            names.into_iter().map(|name| (name.to_owned(), json!(true))).collect();
        Role { features: serde_json::from_value::<Features>(features).unwrap() }
    })
}

prop_compose! {
    fn any_hello()(
        roles in [of(any_role()), of(any_role()), of(any_role()), of(any_role())],
        [agent, authid, authrole] in [of(text()), of(text()), of(text())],
        authmethods in of(vec(text(), 0..3)),
        extra in of([of(text()), of(text())]),
    ) -> HelloDetails {
        let [caller, callee, publisher, subscriber] = roles;
        let extra = extra.map(|[pubkey, channel_binding]| HelloExtra { pubkey, channel_binding });
        HelloDetails {
            roles: ClientRoles { caller, callee, publisher, subscriber },
            agent,
            authid,
            authrole,
            authmethods,
            authextra: extra,
        }
    }
}

prop_compose! {
    fn any_challenge()(
        [challenge, channel_binding, salt] in [of(text()), of(text()), of(text())],
        [iterations, keylen] in [of(any::<u32>()), of(any::<u32>())],
    ) -> ChallengeDetails {
        ChallengeDetails { challenge, channel_binding, salt, iterations, keylen }
    }
}

prop_compose! {
    fn any_welcome()(
        texts in [text(), text(), text(), text(), text(), text()],
        broker in any_role(),
        dealer in any_role(),
    ) -> WelcomeDetails {
        let [realm, authid, authrole, authmethod, authprovider, agent] = texts;
        let roles = RouterRoles { broker, dealer };
        WelcomeDetails { realm, authid, authrole, authmethod, authprovider, agent, roles }
    }
}

fn any_greeting() -> impl Strategy<Value = Message> {
    let reason = || of(text()).prop_map(|message| ReasonDetails { message });
    prop_oneof![
        (text(), any_hello())
            .prop_map(|(realm, details)| Message::Hello { realm, details: Box::new(details) }),
        (session(), any_welcome()).prop_map(|(session, details)| Message::Welcome {
            session,
            details: Box::new(details)
        }),
        (text(), any_challenge())
            .prop_map(|(method, extra)| Message::Challenge { method, extra: Box::new(extra) }),
        text().prop_map(|signature| {
            Message::Authenticate { signature, extra: Box::new(AuthenticateDetails {}) }
        }),
        (reason(), text()).prop_map(|(details, reason)| Message::Abort { details, reason }),
        (reason(), text()).prop_map(|(details, reason)| Message::Goodbye { details, reason }),
    ]
}

fn any_audience() -> impl Strategy<Value = Option<Box<Audience>>> {
    let sessions = || of(vec(session(), 0..3));
    let names = || of(vec(text(), 0..3));
    let lists = ([sessions(), sessions()], [names(), names(), names(), names()]);
    lists.prop_map(|([exclude, eligible], names)| {
        let [exclude_authid, exclude_authrole, eligible_authid, eligible_authrole] = names;
        let audience = Audience {
            exclude,
            exclude_authid,
            exclude_authrole,
            eligible,
            eligible_authid,
            eligible_authrole,
        };
        (audience != Audience::default()).then(|| Box::new(audience))
    })
}

prop_compose! {
    fn any_principal()(
        session in session(),
        [authid, authrole] in [text(), text()],
    ) -> Arc<Principal> {
        Arc::new(Principal { session, authid, authrole })
    }
}

fn any_revocation() -> impl Strategy<Value = Option<Box<Revocation>>> {
    let parts = ([of(id()), of(id())], of(text()));
    of(parts.prop_map(|([registration, subscription], reason)| {
        Box::new(Revocation { registration, subscription, reason })
    }))
}

fn any_match() -> impl Strategy<Value = MatchPolicy> {
    select(vec![MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard])
}

prop_compose! {
    fn any_publish()(
        request in id(),
        [acknowledge, exclude_me, disclose_me, retain] in any::<[bool; 4]>(),
        audience in any_audience(),
        topic in text(),
        payload in any_payload(),
    ) -> Message {
        let options = PublishDetails { acknowledge, exclude_me, disclose_me, retain, audience };
        Message::Publish { request, options, topic, payload }
    }
}

prop_compose! {
    fn any_event()(
        [subscription, publication] in [id(), id()],
        topic in of(text()),
        retained in any::<bool>(),
        publisher in of(any_principal()),
        payload in any_payload(),
    ) -> Message {
        let details = EventDetails { topic, retained, publisher };
        Message::Event { subscription, publication, details, payload }
    }
}

fn any_of_publishing() -> impl Strategy<Value = Message> {
    prop_oneof![
        any_publish(),
        any_event(),
        (id(), id()).prop_map(|(request, publication)| Message::Published { request, publication }),
        (id(), any_match(), any::<bool>(), text()).prop_map(
            |(request, policy, get_retained, topic)| Message::Subscribe {
                request,
                options: SubscribeDetails { policy, get_retained },
                topic
            }
        ),
        (id(), id())
            .prop_map(|(request, subscription)| Message::Subscribed { request, subscription }),
        (id(), id())
            .prop_map(|(request, subscription)| Message::Unsubscribe { request, subscription }),
        (0..=MAX_ID, any_revocation())
            .prop_map(|(request, revocation)| Message::Unsubscribed { request, revocation }),
    ]
}

prop_compose! {
    fn any_register()(
        request in id(),
        policy in any_match(),
        invoke in select(vec![
            InvocationPolicy::Single,
            InvocationPolicy::RoundRobin,
            InvocationPolicy::Random,
            InvocationPolicy::First,
            InvocationPolicy::Last,
        ]),
        force_reregister in any::<bool>(),
        procedure in text(),
    ) -> Message {
        let options = RegisterDetails { policy, invoke, force_reregister };
        Message::Register { request, options, procedure }
    }
}

prop_compose! {
    fn any_call()(
        request in id(),
        [receive_progress, disclose_me] in any::<[bool; 2]>(),
        timeout in of(any::<u64>()),
        procedure in text(),
        payload in any_payload(),
    ) -> Message {
        let options = CallDetails { receive_progress, timeout, disclose_me };
        Message::Call { request, options, procedure, payload }
    }
}

prop_compose! {
    fn any_invocation()(
        [request, registration] in [id(), id()],
        procedure in of(text()),
        receive_progress in any::<bool>(),
        timeout in of(any::<u64>()),
        caller in of(any_principal()),
        payload in any_payload(),
    ) -> Message {
        let details = InvocationDetails { procedure, receive_progress, timeout, caller };
        Message::Invocation { request, registration, details, payload }
    }
}

prop_compose! {
    fn any_error()(
        kind in select(vec![
            RequestKind::Publish,
            RequestKind::Subscribe,
            RequestKind::Unsubscribe,
            RequestKind::Call,
            RequestKind::Register,
            RequestKind::Unregister,
            RequestKind::Invocation,
        ]),
        request in id(),
        error in text(),
        payload in any_payload(),
    ) -> Message {
        Message::Error { kind, request, error, payload }
    }
}

fn any_of_calling() -> impl Strategy<Value = Message> {
    let mode = || {
        let modes = vec![CancelMode::Skip, CancelMode::Kill, CancelMode::KillNoWait];
        of(select(modes)).prop_map(|mode| CancelDetails { mode })
    };
    let progress = || any::<bool>().prop_map(|progress| ProgressDetails { progress });
    prop_oneof![
        any_register(),
        any_call(),
        any_invocation(),
        any_error(),
        (id(), id())
            .prop_map(|(request, registration)| Message::Registered { request, registration }),
        (id(), id())
            .prop_map(|(request, registration)| Message::Unregister { request, registration }),
        (0..=MAX_ID, any_revocation())
            .prop_map(|(request, revocation)| Message::Unregistered { request, revocation }),
        (id(), mode()).prop_map(|(request, options)| Message::Cancel { request, options }),
        (id(), mode()).prop_map(|(request, options)| Message::Interrupt { request, options }),
        (id(), progress(), any_payload()).prop_map(|(request, details, payload)| Message::Result {
            request,
            details,
            payload
        }),
        (id(), progress(), any_payload()).prop_map(|(request, options, payload)| Message::Yield {
            request,
            options,
            payload
        }),
    ]
}
