//! What `drover doctor` looks at: facts are gathered, and judged by pure functions.
//!
//! ```text
//!   files, disk, limits, certificate, plugins ──> findings, in the order in which one
//!   link ──> clock, certificate, version ────^    would go through them by hand
//! ```
//!
//! Nothing is changed: what plugins are compiled into is a temporary directory, and a
//! session that is opened is closed again.

mod certificate;
mod clock;
mod disk;
mod files;
mod finding;
mod limits;
mod link;
mod plugins;
mod version;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;

use drover_agent::Config as AgentConfig;
use drover_controller::Config as ControllerConfig;
use drover_wamp::{ClientConfig, Roots, TlsFiles};

use files::Use;
pub(crate) use finding::{Finding, State, in_lines};
use link::Who;

/// All about the agent of this configuration.
pub(crate) async fn agent(file: Option<&Path>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(config) = configuration(file, AgentConfig::parse, &mut findings) else {
        return findings;
    };
    findings.push(running(&config.logs.dir));
    findings.push(files::directory("files.data_dir", "data_dir", &config.data_dir, Use::Writes));
    let plugins = &config.plugin_dir;
    findings.push(files::directory("files.plugin_dir", "plugin_dir", plugins, Use::Reads));
    let identity = config.data_dir.join("identity");
    findings.extend(files::secret("files.key", &identity.join("node.key")));
    for (key, path) in
        [("key_file", &config.key_file), ("certificate_key_file", &config.certificate_key_file)]
    {
        if !path.as_os_str().is_empty() {
            findings.push(files::named_secret("files.key", key, path));
        }
    }
    findings.extend(disk::room(&config.data_dir));
    let databases = [config.data_dir.join("jobs.db"), config.logs.dir.join("current.db")];
    findings.extend(databases.iter().filter_map(|path| disk::database(path)));
    findings.extend(disk::databases_in(&config.data_dir.join("state")));
    findings.push(disk::logs(&config.logs.dir, config.logs.max_total));
    if !config.certificate_file.as_os_str().is_empty() {
        let files = TlsFiles {
            certificates: config.certificate_file.clone(),
            key: config.certificate_key_file.clone(),
            client_ca: None,
        };
        findings.extend(certificate::own(&files, jiff::Timestamp::now()));
    }
    let (agent, finding) = version::of_agent(&config, drover_api::version());
    findings.extend(finding);
    findings.extend(link_of(&config, &identity.join("node.json"), &agent).await);
    findings.extend(plugins::all(&config).await);
    findings.extend(limits::all());
    findings.push(limits::cgroup());
    findings
}

/// The way to the controller, as the node that this agent, of the version `agent`, is.
async fn link_of(config: &AgentConfig, identity: &Path, agent: &str) -> Vec<Finding> {
    if let Ok(text) = fs::read_to_string(identity)
        && serde_json::from_str::<serde_json::Value>(&text).is_err()
    {
        let what = format!("the node's identity {} is damaged", identity.display());
        let cure = "put a copy of it in its place, or remove its directory and join with a new \
                    token (drover agent --join @FILE)";
        return vec![Finding::fail("files.identity", what, cure)];
    }
    match drover_agent::client(config) {
        Ok(client) => link::reach(&client, Who::Node(agent)).await,
        Err(error) => {
            let cure = "correct `controller`, `key_file`, or what they name";
            vec![Finding::fail("link.session", format!("{error:#}"), cure)]
        }
    }
}

/// All about the controller of this configuration.
pub(crate) async fn controller(file: Option<&Path>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(config) = configuration(file, ControllerConfig::parse, &mut findings) else {
        return findings;
    };
    let is_running = is_in_use(&config.logs.dir);
    findings.push(running(&config.logs.dir));
    findings.push(files::directory("files.data_dir", "data_dir", &config.data_dir, Use::Writes));
    let access = config.data_dir.join("access.db");
    findings.extend(files::secret("files.key", &access));
    findings.extend(disk::room(&config.data_dir));
    let databases = [
        config.jobs.dir.join("jobs.db"),
        config.data_dir.join("rollouts.db"),
        config.data_dir.join("nodes.db"),
        config.catalog.dir.join("index.db"),
        access,
        config.logs.dir.join("current.db"),
    ];
    findings.extend(databases.iter().filter_map(|path| disk::database(path)));
    findings.push(disk::logs(&config.logs.dir, config.logs.max_total));
    if let Some(tls) = &config.tls {
        findings.push(files::named_secret("files.key", "tls.key", &tls.key));
        let files = TlsFiles {
            certificates: tls.certificate.clone(),
            key: tls.key.clone(),
            client_ca: tls.client_ca.clone(),
        };
        findings.extend(certificate::own(&files, jiff::Timestamp::now()));
    }
    match is_running {
        true => findings.extend(own_port(&config).await),
        false => findings.push(free_port(config.listen)),
    }
    findings.extend(limits::all());
    findings
}

/// Reads a configuration; says what is wrong with it.
fn configuration<C, E: std::error::Error + Send + Sync + 'static>(
    file: Option<&Path>,
    parse: impl Fn(&str) -> Result<C, E>,
    findings: &mut Vec<Finding>,
) -> Option<C> {
    let read = file.map_or(Ok(String::new()), fs::read_to_string).map_err(anyhow::Error::new);
    let shown = file.map_or("the defaults".to_owned(), |file| file.display().to_string());
    match read.and_then(|text| Ok(parse(&text)?)) {
        Ok(config) => {
            findings.push(Finding::ok("config", format!("{shown} can be used")));
            findings.extend(file.map(|file| files::settings("config.rights", file)));
            Some(config)
        }
        Err(error) => {
            let what =
                format!("{shown} cannot be used: {}", without_the_line(&format!("{error:#}")));
            let cure = "correct it: `--print-config` of a program that starts shows every key";
            findings.push(Finding::fail("config", what, cure));
            None
        }
    }
}

/// What TOML says of a text, but for the picture of the line, which wants lines.
fn without_the_line(said: &str) -> String {
    let is_picture = |line: &&str| {
        line.split_once('|')
            .is_some_and(|(margin, _)| margin.chars().all(|c| c.is_ascii_digit() || c == ' '))
    };
    let words: Vec<_> = said.lines().filter(|line| !is_picture(line)).collect();
    words.join(": ")
}

/// Whether a program has its log there.
fn is_in_use(logs: &Path) -> bool {
    fs::File::open(logs.join("lock")).is_ok_and(|lock| lock.try_lock().is_err())
}

fn running(logs: &Path) -> Finding {
    let what = match is_in_use(logs) {
        true => "it runs",
        false => "it does not run: what can be told without it is told",
    };
    Finding::ok("running", what)
}

/// Whether the controller answers at its own address.
async fn own_port(config: &ControllerConfig) -> Vec<Finding> {
    let scheme = if config.tls.is_some() { "wss" } else { "ws" };
    let ip = match config.listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    if config.listen.port() == 0 || config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()) {
        let what = "its port is not tried: it may be any, or clients need certificates";
        return vec![Finding::ok("link.connect", what)];
    }
    let url = format!("{scheme}://{}/ws", SocketAddr::new(ip, config.listen.port()));
    let mut client = ClientConfig::new(url, &config.realm);
    if let Some(tls) = &config.tls {
        match certificate::fingerprint(&tls.certificate) {
            Ok(fingerprint) => client.tls.roots = Roots::Fingerprint(fingerprint),
            // It was told with the certificate.
            Err(_) => return Vec::new(),
        }
    }
    link::reach(&client, Who::Nobody).await
}

/// Whether a controller could listen there.
fn free_port(listen: SocketAddr) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => Finding::ok("listen", format!("{listen} is free")),
        Err(error) => Finding::fail(
            "listen",
            format!("cannot listen on {listen}: {error}"),
            "end the program that uses this address, or set another `listen`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<Finding> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent.toml");
        fs::write(&file, text).unwrap();
        let mut findings = Vec::new();
        configuration(Some(&file), AgentConfig::parse, &mut findings);
        findings
    }

    #[test]
    fn a_configuration_is_judged_by_the_program_itself() {
        assert!(parsed("name = \"a\"").iter().all(|one| one.state == State::Ok));
        for (text, key) in [("nmae = \"a\"", "nmae"), ("heartbeat = \"1ms\"", "heartbeat")] {
            let found = parsed(text);
            assert_eq!((found.len(), found[0].state), (1, State::Fail));
            assert!(found[0].what.contains(key), "{found:?}");
            assert!(!found[0].what.contains(" | "), "{found:?}");
        }
        let missing = configuration(
            Some(Path::new("/nowhere/agent.toml")),
            AgentConfig::parse,
            &mut Vec::new(),
        );
        assert!(missing.is_none());
    }

    #[test]
    fn a_port_is_free_or_not() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(free_port(taken.local_addr().unwrap()).state, State::Fail);
        assert_eq!(free_port("127.0.0.1:0".parse().unwrap()).state, State::Ok);
    }
}
