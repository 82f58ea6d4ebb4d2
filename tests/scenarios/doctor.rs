//! A site is broken in each way, and the doctor says in which, and the cure.

use std::fs::{self, Permissions};
use std::io::{Read, Write, copy};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use drover_tests::{Ran, Site, SmallDisk, built_in, stamp};
use serde::Deserialize;

use crate::{DROVER, site};

#[derive(Debug, Deserialize)]
struct Finding {
    program: String,
    check: String,
    state: String,
    what: String,
    cure: Option<String>,
}

fn run(program: &str, config: &Path, more: &[&str]) -> Ran {
    let line = ["doctor", program, "--config", config.to_str().unwrap()];
    Ran::of(Command::new(DROVER).args(line).args(more))
}

/// The findings, worst of which goes with the exit status.
fn findings(program: &str, config: &Path) -> Vec<Finding> {
    let ran = run(program, config, &["--json"]);
    let found: Vec<Finding> = serde_json::from_str(&ran.stdout).expect(&ran.stderr);
    let has = |state: &str| found.iter().any(|one| one.state == state);
    let status = match (has("fail"), has("warn")) {
        (true, _) => 2,
        (false, true) => 1,
        _ => 0,
    };
    assert_eq!(ran.status, Some(status), "{found:#?}");
    for one in &found {
        assert_eq!((one.program.as_str(), one.cure.is_none()), (program, one.state == "ok"));
    }
    found
}

/// That nothing fails that is the site's; how large this machine's disk is, and what its
/// system allows, is not.
fn assert_well(found: &[Finding]) {
    let of_machine = ["disk.space", "disk.inodes"];
    let failed: Vec<_> = found
        .iter()
        .filter(|one| one.state == "fail" && !of_machine.contains(&one.check.as_str()))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// What a check found that is not well.
fn trouble<'a>(found: &'a [Finding], check: &str, state: &str) -> &'a Finding {
    let one = found.iter().find(|one| one.check == check && one.state == state);
    one.unwrap_or_else(|| panic!("{check} found nothing: {found:#?}"))
}

/// The configuration of an agent that does not run, with the built-in plugins.
struct Patient {
    site: Site,
    config: String,
}

impl Patient {
    fn new() -> Self {
        let site = site();
        fs::create_dir_all(site.path("a/plugins")).unwrap();
        built_in(&site.path("a/plugins"));
        let config =
            format!("controller = {:?}\nname = \"a\"\ndata_dir = {:?}\n", site.url, site.path("a"));
        Self { site, config }
    }

    /// What is found when something is replaced in the configuration.
    fn with(&self, from: &str, to: &str) -> Vec<Finding> {
        assert!(self.config.contains(from), "{from}");
        let file = self.site.path("agent.toml");
        fs::write(&file, self.config.replace(from, to)).unwrap();
        findings("agent", &file)
    }

    fn as_it_is(&self) -> Vec<Finding> {
        self.with("", "")
    }
}

/// Every file below a directory, with its length.
fn listing(dir: &Path) -> Vec<(String, u64)> {
    let mut todo = vec![dir.to_owned()];
    let mut files = Vec::new();
    while let Some(path) = todo.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            match entry.path().is_dir() {
                true => todo.push(entry.path()),
                false => files
                    .push((entry.path().display().to_string(), entry.metadata().unwrap().len())),
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_site_that_is_well_is_found_to_be_whether_it_runs_or_not_and_nothing_is_changed() {
    let mut site = site();
    let agent = site.agent(1, "a");
    let (of_agent, of_controller) = (site.path("a/agent.toml"), site.path("controller.toml"));
    for (program, config) in [("agent", &of_agent), ("controller", &of_controller)] {
        let found = findings(program, config);
        assert_well(&found);
        let session = found.iter().find(|one| one.check == "link.session").unwrap();
        assert_eq!(session.state, "ok", "{session:?}");
        assert!(found.iter().any(|one| one.what == "it runs"), "{found:#?}");
    }
    let told = run("agent", &of_agent, &[]);
    assert!(told.stdout.contains("ok    config"), "{}", told.stdout);

    drop((agent, site.controller.take()));
    let before = [listing(&site.path("a")), listing(&site.path("controller"))];
    let found = findings("agent", &of_agent);
    trouble(&found, "link.connect", "fail");
    assert!(found.iter().any(|one| one.check == "plugins.load" && one.state == "ok"));
    let found = findings("controller", &of_controller);
    assert_well(&found);
    assert_eq!([listing(&site.path("a")), listing(&site.path("controller"))], before);
}

#[test]
fn each_fault_of_an_agent_is_found_with_its_cure() {
    let patient = Patient::new();
    let site = &patient.site;
    let well = patient.as_it_is();
    assert_well(&well);

    let url = site.url.as_str();
    let elsewhere = format!("{}nope", url.trim_end_matches("ws"));
    for (from, to, check) in [
        (url, "ws://127.0.0.1:1/ws", "link.connect"),
        (url, "ws://nowhere.invalid:7117/ws", "link.resolve"),
        (url, elsewhere.as_str(), "link.websocket"),
        ("name =", "realm = \"elsewhere\"\nname =", "link.session"),
        ("name =", "nmae =", "config"),
        ("name =", "heartbeat = \"1ms\"\nname =", "config"),
        ("name =", "key_file = \"/nowhere/node.key\"\nname =", "files.key"),
    ] {
        trouble(&patient.with(from, to), check, "fail");
    }
    let file = site.path("no-directory");
    fs::write(&file, "").unwrap();
    let found = patient.with(site.path("a").to_str().unwrap(), file.to_str().unwrap());
    trouble(&found, "files.data_dir", "fail");

    fs::create_dir_all(site.path("a/identity")).unwrap();
    fs::write(site.path("a/identity/node.key"), "").unwrap();
    fs::set_permissions(site.path("a/identity/node.key"), Permissions::from_mode(0o644)).unwrap();
    let found = patient.as_it_is();
    assert!(trouble(&found, "files.key", "fail").cure.as_ref().unwrap().contains("chmod 600"));
    fs::write(site.path("a/identity/node.json"), "{").unwrap();
    trouble(&patient.as_it_is(), "files.identity", "fail");
    fs::remove_dir_all(site.path("a/identity")).unwrap();

    fs::write(site.path("a/jobs.db"), "no database, but long enough for one".repeat(40)).unwrap();
    trouble(&patient.as_it_is(), "disk.database", "fail");
    fs::remove_file(site.path("a/jobs.db")).unwrap();

    fs::write(site.path("a/plugins/broken.wasm"), "no component").unwrap();
    fs::write(site.path("a/grants.toml"), "").unwrap();
    let found = patient.as_it_is();
    assert!(trouble(&found, "plugins.load", "fail").what.contains("`broken`"));
    let held = trouble(&found, "plugins.grants", "fail").cure.as_ref().unwrap();
    assert!(held.contains("[sysinfo]\nsysinfo = true"), "{held}");
    fs::write(site.path("a/grants.toml"), "[sysinfo").unwrap();
    trouble(&patient.as_it_is(), "plugins.grants", "fail");

    let agent = site.path("agent.toml");
    fs::set_permissions(&agent, Permissions::from_mode(0o666)).unwrap();
    trouble(&patient.as_it_is(), "config.rights", "fail");
}

#[test]
fn of_programs_of_different_versions_the_older_one_is_named() {
    let patient = Patient::new();
    let (agent, controller) =
        (patient.site.path("agent.toml"), patient.site.path("controller.toml"));
    fs::write(&agent, &patient.config).unwrap();
    let doctor = patient.site.path("drover");
    for (version, of_agent, of_controller) in [
        ("9.9.9", "bring the controller up to 9.9.9", "restart the controller"),
        ("0.0.1", "on this host and restart the agent", "run the doctor of the program that runs"),
    ] {
        stamp(DROVER.as_ref(), &doctor, version);
        for (program, config, cure) in
            [("agent", &agent, of_agent), ("controller", &controller, of_controller)]
        {
            let mut command = Command::new(&doctor);
            command.args(["doctor", program, "--json", "--config"]).arg(config);
            let found: Vec<Finding> = serde_json::from_str(&Ran::of(&mut command).stdout).unwrap();
            let told = trouble(&found, "version", "warn");
            assert!(told.what.contains(version), "{told:?}");
            assert!(told.cure.as_ref().unwrap().contains(cure), "{told:?}");
        }
    }
}

#[test]
fn a_disk_without_room_is_found() {
    let patient = Patient::new();
    let disk = SmallDisk::mount(patient.site.path("full"), "64m");
    disk.fill();
    let (a, full) = (patient.site.path("a"), patient.site.path("full"));
    let found = patient.with(a.to_str().unwrap(), full.to_str().unwrap());
    trouble(&found, "disk.space", "fail");
}

#[test]
fn clocks_that_differ_are_found() {
    let patient = Patient::new();
    let address = patient.site.url.trim_start_matches("ws://").trim_end_matches("/ws").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let between = format!("ws://{}/ws", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, address) = (client.unwrap(), address.clone());
            thread::spawn(move || with_another_date(client, TcpStream::connect(address).unwrap()));
        }
    });
    let found = patient.with(&patient.site.url, &between);
    assert!(trouble(&found, "clock", "fail").what.contains("ahead"), "{found:#?}");
}

/// Stands between a client and a controller, whose date it changes.
fn with_another_date(mut client: TcpStream, mut controller: TcpStream) {
    let (mut from_client, mut to_controller) =
        (client.try_clone().unwrap(), controller.try_clone().unwrap());
    thread::spawn(move || copy(&mut from_client, &mut to_controller));
    let mut head = vec![0; 4096];
    let count = controller.read(&mut head).unwrap();
    head.truncate(count);
    let at = head.windows(6).position(|bytes| bytes.eq_ignore_ascii_case(b"date: ")).unwrap() + 6;
    let date = b"Thu, 01 Jan 2026 00:00:00 GMT";
    head[at..at + date.len()].copy_from_slice(date);
    client.write_all(&head).unwrap();
    let _ = copy(&mut controller, &mut client);
}

#[test]
fn a_certificate_that_has_expired_or_fits_no_key_is_found() {
    let mut site = site();
    drop(site.controller.take());
    let key = rcgen::KeyPair::generate().unwrap();
    let mut certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    certificate.not_before = rcgen::date_time_ymd(2020, 1, 1);
    certificate.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let expired = certificate.self_signed(&key).unwrap().pem();
    let (pem, private) = (site.path("c.pem"), site.path("c.key"));
    fs::write(&pem, &expired).unwrap();
    fs::write(&private, key.serialize_pem()).unwrap();
    fs::set_permissions(&private, Permissions::from_mode(0o600)).unwrap();
    let config = site.path("controller.toml");
    let plain = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{plain}\n[tls]\ncertificate = {pem:?}\nkey = {private:?}\n"))
        .unwrap();

    let found = findings("controller", &config);
    assert!(trouble(&found, "tls.certificate", "fail").what.contains("expired"), "{found:#?}");
    site.start_controller();
    let url = site.url.replace("127.0.0.1", "localhost");
    let agent = site.path("agent.toml");
    let data = site.path("a");
    fs::write(&agent, format!("controller = {url:?}\ndata_dir = {data:?}\nca_file = {pem:?}\n"))
        .unwrap();
    let found = findings("agent", &agent);
    trouble(&found, "link.tls", "fail");

    drop(site.controller.take());
    let other = rcgen::KeyPair::generate().unwrap();
    fs::write(&private, other.serialize_pem()).unwrap();
    fs::set_permissions(&private, Permissions::from_mode(0o644)).unwrap();
    let found = findings("controller", &config);
    trouble(&found, "tls.key", "fail");
    trouble(&found, "files.key", "fail");
}
