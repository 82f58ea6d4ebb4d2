//! Whether the programs that work together are of one version, and which is to be
//! brought up to date.

use std::cmp::Ordering;

use drover_agent::{Config, Launcher};
use semver::Version;

use super::finding::Finding;

const CHECK: &str = "version";

/// Which version of the agent this host runs: this program, which is `installed`, or one
/// that was pushed; and what is to be said of that.
pub(super) fn of_agent(config: &Config, installed: &str) -> (String, Option<Finding>) {
    let foreseen = Launcher::new(config, installed).and_then(|launcher| launcher.foresee());
    match foreseen {
        Ok(None) => (installed.to_owned(), None),
        Ok(Some(pushed)) => {
            let pushed = pushed.version.to_string();
            let finding = instead(&pushed, installed);
            (pushed, Some(finding))
        }
        Err(error) => {
            let what = format!("cannot tell which version of the agent is to run: {error:#}");
            let cure = "do as it says; the installed program runs where the file is moved away";
            (installed.to_owned(), Some(Finding::fail(CHECK, what, cure)))
        }
    }
}

/// What is to be said of a pushed version that runs instead of the installed program.
fn instead(pushed: &str, installed: &str) -> Finding {
    let what = format!(
        "the agent is version {pushed}, which was pushed; the program that is installed here, \
         {installed}, only starts it"
    );
    match order(pushed, installed) {
        Some(Ordering::Less) => Finding::warn(
            CHECK,
            what,
            "restart the agent to have the installed program run, or push a later version",
        ),
        _ => Finding::ok(CHECK, what),
    }
}

/// Compares the agent, of the version `agent`, with the controller that says it is
/// `router`.
pub(super) fn of_link(agent: &str, router: &str) -> Finding {
    let controller = number(router);
    let what = format!("the controller is {router}, and the agent of this host is drover {agent}");
    match order(agent, controller) {
        Some(Ordering::Equal) => Finding::ok(CHECK, format!("agent and controller are {router}")),
        Some(Ordering::Greater) => Finding::warn(
            CHECK,
            what,
            format!("bring the controller up to {agent}: it is meant to be the newest"),
        ),
        Some(Ordering::Less) => Finding::warn(
            CHECK,
            what,
            format!(
                "install drover {controller} on this host and restart the agent, or push it: \
                 drover rollout start agent@{controller} --to name=NODE"
            ),
        ),
        None => Finding::warn(
            CHECK,
            what,
            "see whether it is another program that answers: only drover's controller is meant",
        ),
    }
}

/// Compares the controller that runs here and says it is `router` with the program that
/// is `installed`.
pub(super) fn of_controller(installed: &str, router: &str) -> Finding {
    let what = format!("the controller that runs is {router}, and this program is {installed}");
    match order(number(router), installed) {
        Some(Ordering::Equal) => {
            Finding::ok(CHECK, format!("the controller that runs is {router}, like this program"))
        }
        Some(Ordering::Less) => Finding::warn(
            CHECK,
            what,
            "restart the controller: it is still the program from before this one was installed",
        ),
        Some(Ordering::Greater) => Finding::warn(
            CHECK,
            what,
            "run the doctor of the program that runs; if this one is to run, see to what the \
             later one has written (README, Upgrades and backups) and restart the controller",
        ),
        None => Finding::warn(
            CHECK,
            what,
            "see which program has this port, with `ss -ltnp`: it is no controller of drover",
        ),
    }
}

/// `1.2.0` of `drover 1.2.0`.
fn number(router: &str) -> &str {
    router.strip_prefix("drover ").unwrap_or(router)
}

fn order(one: &str, other: &str) -> Option<Ordering> {
    Some(Version::parse(one).ok()?.cmp_precedence(&Version::parse(other).ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    fn told(finding: &Finding, state: State, words: &[&str]) {
        let text = format!("{} {}", finding.what, finding.cure.as_deref().unwrap_or_default());
        assert_eq!(finding.state, state, "{text}");
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn the_older_one_is_to_be_brought_up_to_date() {
        told(&of_link("1.2.0", "drover 1.2.0"), State::Ok, &["1.2.0"]);
        told(&of_link("1.10.0", "drover 1.9.0"), State::Warn, &["the controller up to 1.10.0"]);
        told(
            &of_link("1.9.0", "drover 1.10.0"),
            State::Warn,
            &["agent@1.10.0", "restart the agent"],
        );
        told(&of_link("1.9.0", "crossbar 23"), State::Warn, &["crossbar 23", "another program"]);
    }

    #[test]
    fn a_controller_that_was_not_restarted_is_found() {
        told(&of_controller("1.2.0", "drover 1.2.0"), State::Ok, &["like this program"]);
        told(&of_controller("1.3.0", "drover 1.2.0"), State::Warn, &["restart the controller"]);
        told(&of_controller("1.2.0", "drover 1.3.0"), State::Warn, &["the program that runs"]);
        told(&of_controller("1.2.0", "nginx"), State::Warn, &["no controller"]);
    }

    #[test]
    fn a_pushed_version_that_runs_instead_is_told() {
        told(&instead("1.3.0", "1.2.0"), State::Ok, &["1.3.0", "1.2.0", "only starts it"]);
        told(&instead("1.1.0", "1.2.0"), State::Warn, &["restart the agent"]);
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
        assert_eq!(of_agent(&config, "1.2.0"), ("1.2.0".to_owned(), None));
        let record = dir.path().join("pushed/agent/record.json");
        std::fs::create_dir_all(record.parent().unwrap()).unwrap();
        std::fs::write(&record, "{\"version\":99}").unwrap();
        let (version, found) = of_agent(&config, "1.2.0");
        assert_eq!(version, "1.2.0");
        told(&found.unwrap(), State::Fail, &["a later version of drover"]);
    }
}
