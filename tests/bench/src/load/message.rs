//! The messages that a load sends, written by hand, and of those that it
//! receives as much as a measurement needs.

use super::calls::PAYLOAD;

/// The numbers of the messages.
pub(super) mod code {
    pub(in crate::load) const HELLO: u64 = 1;
    pub(in crate::load) const WELCOME: u64 = 2;
    pub(in crate::load) const GOODBYE: u64 = 6;
    pub(in crate::load) const PUBLISH: u64 = 16;
    pub(in crate::load) const PUBLISHED: u64 = 17;
    pub(in crate::load) const SUBSCRIBE: u64 = 32;
    pub(in crate::load) const SUBSCRIBED: u64 = 33;
    pub(in crate::load) const EVENT: u64 = 36;
    pub(in crate::load) const CALL: u64 = 48;
    pub(in crate::load) const RESULT: u64 = 50;
    pub(in crate::load) const REGISTER: u64 = 64;
    pub(in crate::load) const REGISTERED: u64 = 65;
    pub(in crate::load) const UNREGISTER: u64 = 66;
    pub(in crate::load) const UNREGISTERED: u64 = 67;
    pub(in crate::load) const INVOCATION: u64 = 68;
    pub(in crate::load) const YIELD: u64 = 70;
}

/// A HELLO with all roles and no features.
pub(super) fn hello(realm: &str) -> Vec<u8> {
    let mut out = array(3, code::HELLO);
    text(&mut out, realm);
    map(&mut out, 1);
    text(&mut out, "roles");
    map(&mut out, 4);
    for role in ["caller", "callee", "publisher", "subscriber"] {
        text(&mut out, role);
        map(&mut out, 0);
    }
    out
}

/// A CALL of `procedure`.
pub(super) fn call(request: u64, procedure: &str) -> Vec<u8> {
    let mut out = array(5, code::CALL);
    uint(&mut out, request);
    map(&mut out, 0);
    text(&mut out, procedure);
    arguments(&mut out);
    out
}

/// The YIELD to an invocation.
pub(super) fn answer(invocation: u64) -> Vec<u8> {
    let mut out = array(4, code::YIELD);
    uint(&mut out, invocation);
    map(&mut out, 0);
    arguments(&mut out);
    out
}

/// A PUBLISH, acknowledged or not.
pub(super) fn publish(request: u64, topic: &str, acknowledge: bool) -> Vec<u8> {
    let mut out = array(5, code::PUBLISH);
    uint(&mut out, request);
    if acknowledge {
        map(&mut out, 1);
        text(&mut out, "acknowledge");
        // Writing to memory cannot fail.
        let _ = rmp::encode::write_bool(&mut out, true);
    } else {
        map(&mut out, 0);
    }
    text(&mut out, topic);
    arguments(&mut out);
    out
}

/// A REGISTER.
pub(super) fn register(request: u64, procedure: &str, policy: &str) -> Vec<u8> {
    matched(code::REGISTER, request, procedure, policy)
}

/// A SUBSCRIBE.
pub(super) fn subscribe(request: u64, topic: &str, policy: &str) -> Vec<u8> {
    matched(code::SUBSCRIBE, request, topic, policy)
}

fn matched(kind: u64, request: u64, uri: &str, policy: &str) -> Vec<u8> {
    let mut out = array(4, kind);
    uint(&mut out, request);
    map(&mut out, 1);
    text(&mut out, "match");
    text(&mut out, policy);
    text(&mut out, uri);
    out
}

/// An UNREGISTER.
pub(super) fn unregister(request: u64, registration: u64) -> Vec<u8> {
    let mut out = array(3, code::UNREGISTER);
    uint(&mut out, request);
    uint(&mut out, registration);
    out
}

/// A GOODBYE.
pub(super) fn goodbye() -> Vec<u8> {
    let mut out = array(3, code::GOODBYE);
    map(&mut out, 0);
    text(&mut out, "wamp.close.normal");
    out
}

/// The integers at the beginning of a message: its type, then ids.
pub(super) fn ids(message: &[u8]) -> Vec<u64> {
    let mut rest = message;
    let length = rmp::decode::read_array_len(&mut rest).unwrap_or(0);
    let mut ids = Vec::with_capacity(3);
    for _ in 0..length {
        // What is no integer ends the ids.
        let Ok(id) = rmp::decode::read_int(&mut rest) else { break };
        ids.push(id);
    }
    ids
}

fn array(elements: u32, kind: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let _ = rmp::encode::write_array_len(&mut out, elements);
    uint(&mut out, kind);
    out
}

fn uint(out: &mut Vec<u8>, value: u64) {
    let _ = rmp::encode::write_uint(out, value);
}

fn text(out: &mut Vec<u8>, text: &str) {
    let _ = rmp::encode::write_str(out, text);
}

fn map(out: &mut Vec<u8>, entries: u32) {
    let _ = rmp::encode::write_map_len(out, entries);
}

fn arguments(out: &mut Vec<u8>) {
    let _ = rmp::encode::write_array_len(out, 1);
    let _ = rmp::encode::write_bin(out, &PAYLOAD);
}
