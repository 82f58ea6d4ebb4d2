//! The messages of WAMP v2, basic and advanced profile.

mod features;
mod greeting;
mod options;

pub(crate) use features::{ClientRoles, Features, Role, RouterRoles};
pub(crate) use greeting::{
    AuthenticateDetails, ChallengeDetails, HelloDetails, HelloExtra, ReasonDetails, WelcomeDetails,
};
pub use options::{Audience, InvocationPolicy, Principal};
pub(crate) use options::{
    CallDetails, CancelDetails, CancelMode, EventDetails, InvocationDetails, ProgressDetails,
    PublishDetails, RegisterDetails, Revocation, SubscribeDetails,
};

use crate::id::SessionId;
use crate::payload::Payload;

/// The id of a request, chosen by whoever asks: opaque, unique while pending.
pub(crate) type RequestId = u64;

/// One message; the variants and the order of their fields are the specification's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Hello {
        realm: String,
        details: Box<HelloDetails>,
    },
    Welcome {
        session: SessionId,
        details: Box<WelcomeDetails>,
    },
    Abort {
        details: ReasonDetails,
        reason: String,
    },
    Challenge {
        method: String,
        extra: Box<ChallengeDetails>,
    },
    Authenticate {
        signature: String,
        extra: Box<AuthenticateDetails>,
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
        options: SubscribeDetails,
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
        /// Zero when the router took the subscription away; then there is a revocation.
        request: RequestId,
        revocation: Option<Box<Revocation>>,
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
        options: RegisterDetails,
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
        /// Zero when the router took the registration away; then there is a revocation.
        request: RequestId,
        revocation: Option<Box<Revocation>>,
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
    pub(crate) const CHALLENGE: u64 = 4;
    pub(crate) const AUTHENTICATE: u64 = 5;
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
            Self::Challenge { .. } => "CHALLENGE",
            Self::Authenticate { .. } => "AUTHENTICATE",
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

    /// A CANCEL.
    pub(crate) fn cancel(request: RequestId, mode: CancelMode) -> Self {
        Self::Cancel { request, options: CancelDetails { mode: Some(mode) } }
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

    /// The same, to be replaced.
    pub(crate) fn payload_mut(&mut self) -> Option<&mut Payload> {
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
        // The texts that others choose, where they may be long.
        let text = match self {
            Self::Error { error, .. } => error.len(),
            Self::Publish { topic: name, .. } | Self::Call { procedure: name, .. } => name.len(),
            Self::Event { details, .. } => details.topic.as_ref().map_or(0, String::len),
            Self::Invocation { details, .. } => details.procedure.as_ref().map_or(0, String::len),
            _ => 0,
        };
        size_of::<Self>() + text + self.payload().map_or(0, Payload::encoded_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_weighs_what_it_takes() {
        let error = "x".repeat(1 << 20);
        assert!(Message::error(RequestKind::Call, 1, &error, "no").weight() > error.len());
    }
}
