//! Whether the controller can be reached, step by step.

use std::error::Error as _;

use drover_wamp::{ClientConfig, ConnectError, Probe, probe};

use super::finding::Finding;
use super::{certificate, clock, version};

/// What a session may be refused with by one who reaches the controller all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who<'a> {
    /// The node, who has to be let in, and the version of its agent.
    Node(&'a str),
    /// Somebody who has no key, and only looks whether anybody answers.
    Nobody,
}

/// Goes the way to a session.
pub(super) async fn reach(config: &ClientConfig, who: Who<'_>) -> Vec<Finding> {
    let probe = probe(config).await;
    let now = jiff::Timestamp::now();
    let mut findings = judge(&config.url, &probe, who);
    findings.extend(certificate::shown(&probe.certificates, now));
    findings.extend(probe.date.as_deref().map(|date| clock::judge(date, now)));
    findings.extend(probe.router.as_deref().map(|theirs| match who {
        Who::Node(agent) => version::of_link(agent, theirs),
        Who::Nobody => version::of_controller(drover_api::version(), theirs),
    }));
    findings
}

/// The steps up to the one that failed.
fn judge(url: &str, probe: &Probe, who: Who<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let has_tls = url.starts_with("wss:");
    let failed = match &probe.fault {
        None => Step::Done,
        Some(fault) => step(fault, probe.addresses.is_empty()),
    };
    let addresses: Vec<_> = probe.addresses.iter().map(|one| one.ip().to_string()).collect();
    let steps = [
        (Step::Resolve, "link.resolve", format!("{url} is at {}", addresses.join(", "))),
        (Step::Connect, "link.connect", "somebody listens there".to_owned()),
        (Step::Tls, "link.tls", "the controller proves to be the one that is meant".to_owned()),
        (Step::Socket, "link.websocket", "it speaks WAMP over WebSocket".to_owned()),
        (Step::Session, "link.session", "it lets this one in".to_owned()),
    ];
    for (step, check, what) in steps {
        if step == Step::Tls && !has_tls && failed != Step::Tls {
            continue;
        }
        if step != failed {
            findings.push(Finding::ok(check, what));
            continue;
        }
        let Some(fault) = &probe.fault else { break };
        let expected = who == Who::Nobody && matches!(fault, ConnectError::Aborted { .. });
        if expected {
            findings.push(Finding::ok(check, "it asks who one is, and lets nobody in unknown"));
            break;
        }
        let source = fault.source().map_or(String::new(), |source| format!(": {source}"));
        findings.push(Finding::fail(check, format!("{fault}{source}"), cure(step, fault)));
        break;
    }
    findings
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Resolve,
    Connect,
    Tls,
    Socket,
    Session,
    Done,
}

fn step(fault: &ConnectError, has_no_address: bool) -> Step {
    match fault {
        _ if has_no_address => Step::Resolve,
        ConnectError::Tls { .. } => Step::Tls,
        ConnectError::Refused { .. } => Step::Socket,
        ConnectError::Authentication { .. }
        | ConnectError::Aborted { .. }
        | ConnectError::Ended { .. } => Step::Session,
        _ => Step::Connect,
    }
}

fn cure(step: Step, fault: &ConnectError) -> &'static str {
    match (step, fault) {
        (Step::Resolve, _) => {
            "correct the host in `controller`, or see to the name service of this host"
        }
        (Step::Connect, _) => {
            "start the controller, correct the port in `controller`, or let this host through the \
             firewalls in between"
        }
        (Step::Tls, _) => {
            "correct `ca_file` or `fingerprint`, have the certificate renewed, or dial by a name \
             that is in it"
        }
        (Step::Socket, _) => {
            "correct the port and the path in `controller`: something else answers there"
        }
        (Step::Session, ConnectError::Authentication { .. }) => {
            "put the node's key where `key_file` says, or join with a token: drover agent --join \
             @FILE"
        }
        _ => {
            "join with a token of `drover node token` (drover agent --join @FILE), or correct \
             `realm`; an admin sees with `drover node list` whether the node was revoked"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::finding::State;
    use super::*;

    const URL: &str = "wss://c.example/ws";

    fn url() -> String {
        URL.to_owned()
    }

    fn probe(fault: Option<ConnectError>) -> Probe {
        Probe { addresses: vec!["192.0.2.1:443".parse().unwrap()], fault, ..Probe::default() }
    }

    fn last(fault: ConnectError, who: Who<'_>) -> (usize, &'static str, State) {
        let found = judge(URL, &probe(Some(fault)), who);
        let last = found.last().unwrap();
        assert!(found[..found.len() - 1].iter().all(|one| one.state == State::Ok), "{found:?}");
        (found.len(), last.check, last.state)
    }

    #[test]
    fn the_first_step_that_fails_is_told_and_none_behind_it() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let unreachable = || ConnectError::Unreachable { url: url(), source: refused() };
        let found = judge(
            URL,
            &Probe { fault: Some(unreachable()), ..Probe::default() },
            Who::Node("1.2.0"),
        );
        assert_eq!((found.len(), found[0].check, found[0].state), (1, "link.resolve", State::Fail));
        let reason = String::new;
        for (fault, expected) in [
            (unreachable(), (2, "link.connect")),
            (ConnectError::Tls { url: url(), reason: reason() }, (3, "link.tls")),
            (ConnectError::Refused { url: url(), reason: reason() }, (4, "link.websocket")),
            (ConnectError::Authentication { url: url(), reason: reason() }, (5, "link.session")),
            (ConnectError::Aborted { uri: reason(), message: reason() }, (5, "link.session")),
        ] {
            let (count, check) = expected;
            assert_eq!(last(fault, Who::Node("1.2.0")), (count, check, State::Fail));
        }
        let all = judge(URL, &probe(None), Who::Node("1.2.0"));
        assert_eq!((all.len(), all[4].state), (5, State::Ok));
        assert_eq!(
            judge("ws://c/ws", &probe(None), Who::Node("1.2.0")).len(),
            4,
            "there is no TLS"
        );
    }

    #[test]
    fn that_nobody_is_let_in_is_fine_where_nobody_asks() {
        let aborted = ConnectError::Aborted { uri: String::new(), message: String::new() };
        assert_eq!(last(aborted, Who::Nobody), (5, "link.session", State::Ok));
    }
}
