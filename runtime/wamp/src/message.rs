//! The messages of WAMP v2: basic profile, call cancelling, progressive results.

use serde::{Deserialize, Serialize};

use crate::id::SessionId;
use crate::payload::Payload;
use crate::uri::MatchPolicy;

/// The id of a request, chosen by whoever asks: opaque, unique while pending.
pub(crate) type RequestId = u64;

/// One message; the variants and the order of their fields are the specification's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Hello {
        realm: String,
        details: HelloDetails,
    },
    Welcome {
        session: SessionId,
        details: WelcomeDetails,
    },
    Abort {
        details: ReasonDetails,
        reason: String,
    },
    Goodbye {
        details: ReasonDetails,
        reason: String,
    },
    Error {
        kind: RequestKind,
        request: RequestId,
        error: String,
        payload: Payload,
    },
    Publish {
        request: RequestId,
        options: PublishDetails,
        topic: String,
        payload: Payload,
    },
    Published {
        request: RequestId,
        publication: u64,
    },
    Subscribe {
        request: RequestId,
        options: MatchDetails,
        topic: String,
    },
    Subscribed {
        request: RequestId,
        subscription: u64,
    },
    Unsubscribe {
        request: RequestId,
        subscription: u64,
    },
    Unsubscribed {
        request: RequestId,
    },
    Event {
        subscription: u64,
        publication: u64,
        details: EventDetails,
        payload: Payload,
    },
    Call {
        request: RequestId,
        options: CallDetails,
        procedure: String,
        payload: Payload,
    },
    Cancel {
        request: RequestId,
        options: CancelDetails,
    },
    Result {
        request: RequestId,
        details: ProgressDetails,
        payload: Payload,
    },
    Register {
        request: RequestId,
        options: MatchDetails,
        procedure: String,
    },
    Registered {
        request: RequestId,
        registration: u64,
    },
    Unregister {
        request: RequestId,
        registration: u64,
    },
    Unregistered {
        request: RequestId,
    },
    Invocation {
        request: RequestId,
        registration: u64,
        details: InvocationDetails,
        payload: Payload,
    },
    Interrupt {
        request: RequestId,
        options: CancelDetails,
    },
    Yield {
        request: RequestId,
        options: ProgressDetails,
        payload: Payload,
    },
}

/// The numbers of the messages on the wire.
pub(crate) mod code {
    pub(crate) const HELLO: u64 = 1;
    pub(crate) const WELCOME: u64 = 2;
    pub(crate) const ABORT: u64 = 3;
    pub(crate) const GOODBYE: u64 = 6;
    pub(crate) const ERROR: u64 = 8;
    pub(crate) const PUBLISH: u64 = 16;
    pub(crate) const PUBLISHED: u64 = 17;
    pub(crate) const SUBSCRIBE: u64 = 32;
    pub(crate) const SUBSCRIBED: u64 = 33;
    pub(crate) const UNSUBSCRIBE: u64 = 34;
    pub(crate) const UNSUBSCRIBED: u64 = 35;
    pub(crate) const EVENT: u64 = 36;
    pub(crate) const CALL: u64 = 48;
    pub(crate) const CANCEL: u64 = 49;
    pub(crate) const RESULT: u64 = 50;
    pub(crate) const REGISTER: u64 = 64;
    pub(crate) const REGISTERED: u64 = 65;
    pub(crate) const UNREGISTER: u64 = 66;
    pub(crate) const UNREGISTERED: u64 = 67;
    pub(crate) const INVOCATION: u64 = 68;
    pub(crate) const INTERRUPT: u64 = 69;
    pub(crate) const YIELD: u64 = 70;
}

/// Which request an ERROR answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Publish,
    Subscribe,
    Unsubscribe,
    Call,
    Register,
    Unregister,
    Invocation,
}

impl RequestKind {
    const CODES: [(Self, u64); 7] = [
        (Self::Publish, code::PUBLISH),
        (Self::Subscribe, code::SUBSCRIBE),
        (Self::Unsubscribe, code::UNSUBSCRIBE),
        (Self::Call, code::CALL),
        (Self::Register, code::REGISTER),
        (Self::Unregister, code::UNREGISTER),
        (Self::Invocation, code::INVOCATION),
    ];

    pub(crate) fn from_code(code: u64) -> Option<Self> {
        Self::CODES.iter().find(|(_, known)| *known == code).map(|(kind, _)| *kind)
    }

    pub(crate) fn code(self) -> u64 {
        Self::CODES.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, code)| *code)
    }
}

impl Message {
    /// The name in the specification, for people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "HELLO",
            Self::Welcome { .. } => "WELCOME",
            Self::Abort { .. } => "ABORT",
            Self::Goodbye { .. } => "GOODBYE",
            Self::Error { .. } => "ERROR",
            Self::Publish { .. } => "PUBLISH",
            Self::Published { .. } => "PUBLISHED",
            Self::Subscribe { .. } => "SUBSCRIBE",
            Self::Subscribed { .. } => "SUBSCRIBED",
            Self::Unsubscribe { .. } => "UNSUBSCRIBE",
            Self::Unsubscribed { .. } => "UNSUBSCRIBED",
            Self::Event { .. } => "EVENT",
            Self::Call { .. } => "CALL",
            Self::Cancel { .. } => "CANCEL",
            Self::Result { .. } => "RESULT",
            Self::Register { .. } => "REGISTER",
            Self::Registered { .. } => "REGISTERED",
            Self::Unregister { .. } => "UNREGISTER",
            Self::Unregistered { .. } => "UNREGISTERED",
            Self::Invocation { .. } => "INVOCATION",
            Self::Interrupt { .. } => "INTERRUPT",
            Self::Yield { .. } => "YIELD",
        }
    }

    /// An ERROR with one text for people.
    pub(crate) fn error(kind: RequestKind, request: RequestId, error: &str, text: &str) -> Self {
        // A text always has a form.
        let payload = Payload::one(text).unwrap_or_default();
        Self::Error { kind, request, error: error.to_owned(), payload }
    }

    /// A CANCEL that has the callee told, and waits for its answer.
    pub(crate) fn cancel(request: RequestId) -> Self {
        Self::Cancel { request, options: CancelDetails { mode: Some(CancelMode::Kill) } }
    }

    /// An ABORT with a text for people.
    pub(crate) fn abort(reason: &str, text: &str) -> Self {
        let details = ReasonDetails { message: Some(text.to_owned()) };
        Self::Abort { details, reason: reason.to_owned() }
    }

    /// A GOODBYE.
    pub(crate) fn goodbye(reason: &str) -> Self {
        Self::Goodbye { details: ReasonDetails::default(), reason: reason.to_owned() }
    }

    /// The arguments, if it is a message that can have some.
    pub(crate) fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Error { payload, .. }
            | Self::Publish { payload, .. }
            | Self::Event { payload, .. }
            | Self::Call { payload, .. }
            | Self::Result { payload, .. }
            | Self::Invocation { payload, .. }
            | Self::Yield { payload, .. } => Some(payload),
            _ => None,
        }
    }

    /// About how many bytes it takes while it waits to be sent.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.payload().map_or(0, Payload::encoded_len)
    }
}

/// What a client says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HelloDetails {
    pub(crate) roles: ClientRoles,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<String>,
}

/// What a client wants to do; absent is not at all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ClientRoles {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) caller: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) callee: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publisher: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subscriber: Option<Role>,
}

impl ClientRoles {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One role and what of the advanced profile it knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Role {
    pub(crate) features: Features,
}

/// The features of the advanced profile that make a difference to us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Features {
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) call_canceling: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) pattern_based_registration: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) pattern_based_subscription: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) progressive_call_results: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) publisher_exclusion: bool,
}

/// What the router says of itself and of the session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WelcomeDetails {
    pub(crate) realm: String,
    pub(crate) authid: String,
    pub(crate) authrole: String,
    pub(crate) authmethod: String,
    pub(crate) authprovider: String,
    pub(crate) agent: String,
    pub(crate) roles: RouterRoles,
}

/// What the router does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RouterRoles {
    pub(crate) broker: Role,
    pub(crate) dealer: Role,
}

/// Beside the reason of an ABORT or GOODBYE.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ReasonDetails {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

/// Options of REGISTER and SUBSCRIBE.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct MatchDetails {
    #[serde(rename = "match", skip_serializing_if = "is_exact")]
    pub(crate) policy: MatchPolicy,
}

/// Options of PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PublishDetails {
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) acknowledge: bool,
    #[serde(skip_serializing_if = "is_true")]
    pub(crate) exclude_me: bool,
}

impl Default for PublishDetails {
    fn default() -> Self {
        Self { acknowledge: false, exclude_me: true }
    }
}

/// Details of EVENT.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EventDetails {
    /// Sent when the subscription is a pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<String>,
}

/// Options of CALL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CallDetails {
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) receive_progress: bool,
}

/// Details of INVOCATION.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct InvocationDetails {
    /// Sent when the registration is a pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) procedure: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) receive_progress: bool,
}

/// Details of RESULT, options of YIELD.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ProgressDetails {
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) progress: bool,
}

/// Options of CANCEL and INTERRUPT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CancelDetails {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<CancelMode>,
}

/// Who hears of a cancelled call, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CancelMode {
    /// The caller at once, the callee never.
    Skip,
    /// The callee at once, the caller when the callee has answered.
    Kill,
    /// Both at once.
    KillNoWait,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_exact(policy: &MatchPolicy) -> bool {
    *policy == MatchPolicy::Exact
}
