//! Where secrets are not: a site is set up and used by people, programs, nodes and
//! plugins, everything that can be secret is known to the test, and then each is looked
//! for wherever somebody may read who must not know it.

mod hunt;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use drover_api::{JoinText, Presence};
use drover_herd::Engine;
use drover_tests::{Process, Ran, component, run, wait_for};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::DROVER;
use crate::network::kit::Network;
use hunt::{Find, Hunt};

/// The site, what is looked for on it, and what its people were told.
struct Story {
    site: Network,
    hunt: Hunt,
}

impl Story {
    fn begin() -> Self {
        Self { site: Network::start(), hunt: Hunt::default() }
    }

    /// A text that was never there before, and is looked for from now on.
    fn new_secret(&mut self, what: &'static str) -> String {
        let core = format!("{:032x}", rand::random::<u128>());
        self.hunt.add(what, core.as_bytes());
        // What the texts around it become is nothing to find it by.
        format!("it's \"{core}\" %")
    }

    /// The same in a file of the site's people.
    fn secret_file(&mut self, what: &'static str) -> String {
        let text = self.new_secret(what);
        self.site.secret(what, &text)
    }

    /// A token that was handed out, of which the last part is the secret.
    fn learn_token(&mut self, what: &'static str, token: &str) {
        let secret = token.strip_prefix("drt_").unwrap().split_once('_').unwrap().1;
        self.hunt.add(what, secret.as_bytes());
    }

    /// Runs a command to its end, and looks at all processes meanwhile. What it says
    /// may hold secrets.
    fn run_quietly(&mut self, command: &mut Command) -> Ran {
        thread::scope(|scope| {
            let running = scope.spawn(|| Ran::of(command));
            wait_for("the command", || {
                self.hunt.look_at_processes();
                if running.is_finished() { Ok(()) } else { Err(()) }
            });
            running.join().unwrap()
        })
    }

    /// The same for one whose words may hold none.
    fn run(&mut self, command: &mut Command) -> Ran {
        let ran = self.run_quietly(command);
        self.hunt.look_into(&format!("the words of {command:?}"), format!("{ran:?}").as_bytes());
        ran
    }

    fn drover(&mut self, arguments: &[&str]) -> Ran {
        self.run(&mut self.site.command(arguments))
    }

    /// What a command says with this text as its standard input.
    fn drover_reading(&mut self, text: &str, arguments: &[&str]) -> Ran {
        let file = self.site.secret("input", text);
        let line = self.site.command(arguments);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "file=$0; exec \"$@\" < \"$file\"", &file, DROVER]).args(line.get_args());
        shell.envs(line.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.run(&mut shell)
    }

    /// Starts a program that says all it does.
    fn start(&self, command: &mut Command) -> Process {
        Process::spawn(command.env("DROVER_LOG", "trace"))
    }

    fn start_controller(&mut self) {
        let config = self.site.file("controller.toml");
        let controller = self.start(&mut self.site.command(&["controller", "--config", &config]));
        let is_ready = |line: &str| line.strip_prefix("listening on ").map(drop);
        controller.wait_for_output("the controller's address", is_ready);
        self.site.controller = Some(controller);
    }

    /// Ends a program, and looks into what it has said.
    fn end(&mut self, name: &str, mut process: Process) {
        process.signal(Signal::SIGINT);
        process.wait();
        let said = [process.log(), process.output().join("\n")].concat();
        self.hunt.look_into(&format!("what {name} said"), said.as_bytes());
    }

    fn agent(&mut self, name: &str, config: &str) -> Command {
        let data = self.site.file(name);
        let text = format!(
            "name = {name:?}\ndata_dir = {data:?}\nheartbeat = \"200ms\"\n\
             reconnect_first = \"50ms\"\nreconnect_longest = \"500ms\"\n{config}"
        );
        let file = self.site.secret(&format!("{name}.toml"), &text);
        self.site.command(&["agent", "--config", &file])
    }
}

/// Adds a plugin that was built for the tests under another name.
fn pack(site: &Network, agent: &str, (guest, name): (&str, &str), asks: &str) {
    let plugins = site.path(&format!("{agent}/plugins"));
    fs::create_dir_all(&plugins).unwrap();
    let manifest = site.secret("plugin.toml", &format!("name = {name:?}\n[asks]\n{asks}"));
    let (file, target) = (component(guest), plugins.join(format!("{name}.wasm")));
    let (file, target) = (file.to_str().unwrap(), target.to_str().unwrap());
    let pack = ["plugin", "pack", file, "--manifest", &manifest, "-o", target];
    let _ = run(DROVER.as_ref(), &pack).ok();
}

/// Answers one request after another; each head comes out of the channel.
fn server() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (heads, heard) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
            let _ = heads.send(String::from_utf8_lossy(&head[..length]).into_owned());
        }
    });
    (address, heard)
}

#[test]
fn what_is_secret_is_nowhere_but_where_it_belongs() {
    let mut story = Story::begin();

    // The controller: its private key, the admin's token, a program's ticket.
    let pem = fs::read_to_string(story.site.path("controller/tls/controller.key")).unwrap();
    let line = BASE64.decode(pem.lines().nth(1).unwrap().as_bytes()).unwrap();
    story.hunt.add("TLS key", &line);
    let credentials = fs::read_to_string(story.site.path("credentials.toml")).unwrap();
    let admin = credentials.lines().find_map(|line| line.strip_prefix("token = ")).unwrap();
    story.learn_token("admin's token", admin.trim_matches('"'));
    let ticket = story.new_secret("ticket");
    let config = fs::read_to_string(story.site.path("controller.toml")).unwrap();
    let principal = format!(
        "[realms.drover.roles]\nlooker = []\n[realms.drover.principals.ci]\nrole = \"looker\"\n\
         ticket = {ticket:?}\n"
    );
    fs::write(story.site.path("controller.toml"), format!("{config}\n{principal}")).unwrap();
    drop(story.site.controller.take());
    story.start_controller();

    // People: a password, one that is wrong, and tokens.
    let (url, fingerprint) = (story.site.url.clone(), story.site.fingerprint.clone());
    let (right, wrong) = (story.secret_file("password"), story.secret_file("wrong password"));
    let add = ["user", "add", "ada", "--role", "operator", "--password-file", &right];
    let _ = story.drover(&add).ok();
    for (file, status) in [(&wrong, 3), (&right, 0)] {
        let to = ["login", "--controller", &url, "--fingerprint", &fingerprint];
        let login = [&to[..], &["--user", "ada", "--password-file", file]].concat();
        let mut login = story.site.command(&login);
        login.env("DROVER_CREDENTIALS", story.site.path("ada.toml"));
        assert_eq!(story.run(&mut login).status, Some(status));
    }
    let mut new_token = story.site.command(&["token", "new", "--user", "ada", "--uses", "1"]);
    let token = story.run_quietly(&mut new_token).ok().trim().to_owned();
    story.learn_token("token", &token);
    let unknown = format!("drt_0123456789_{}", "0123456789abcdef".repeat(2));
    story.learn_token("wrong token", &unknown);
    // The first use is the last.
    for (token, status) in [(&token, 0), (&token, 3), (&unknown, 3)] {
        let file = story.site.secret("a token", token);
        let line = ["nodes", "--controller", &url, "--fingerprint", &fingerprint];
        let mut nodes = story.site.command(&[&line[..], &["--token-file", &file]].concat());
        nodes.env("DROVER_CREDENTIALS", story.site.path("nobody.toml"));
        assert_eq!(story.run(&mut nodes).status, Some(status));
    }

    // Nodes: one joins with a token in a file, one with a token in its environment.
    let mut join = || {
        let mut new = story.site.command(&["node", "token"]);
        story.run_quietly(&mut new).ok().trim().to_owned()
    };
    let (by_file, by_environment) = (join(), join());
    for (what, token) in [("join token", &by_file), ("join token of b", &by_environment)] {
        let join: JoinText = token.parse().unwrap();
        story.hunt.add(what, join.token.as_bytes());
    }
    let (server, heard) = server();
    pack(
        &story.site,
        "a",
        ("granted", "backup"),
        "sysinfo = { reason = \"x\" }\nstate = { size = \"1 MiB\", reason = \"x\" }\n\
         secrets = [{ name = \"token\", reason = \"x\" }, { name = \"key\", reason = \"x\" }]\n",
    );
    let asks = format!(
        "http = [{{ authority = {server:?}, scheme = \"http\", allow = [\"GET /**\"], \
         reason = \"x\" }}]\n"
    );
    pack(&story.site, "a", ("fetches", "fetches"), &asks);
    let plugin_token = story.secret_file("plugin's token");
    let plugin_key = story.new_secret("plugin's key");
    let header = story.secret_file("header");
    fs::copy(component("container"), story.site.path("a/plugins/container.wasm")).unwrap();
    let socket = story.site.file("engine.sock");
    let engine = Engine::start(&socket).unwrap();
    engine.publish("127.0.0.1:5000/app:1");
    let grants = format!(
        "[container.http.docker]\nsocket = {socket:?}\nallow = [\"* /**\"]\n\
         [container]\nstate = \"1 MiB\"\nsysinfo = true\n\
         [backup]\nsysinfo = true\nstate = \"1 MiB\"\nsecrets.token = {{ file = {plugin_token:?} }}\n\
         secrets.key = {{ env = \"BACKUP_KEY\" }}\n\
         [fetches]\nhttp.{server:?} = {{ scheme = \"http\", allow = [\"GET /**\"], \
         headers.authorization = {{ file = {header:?} }} }}\n"
    );
    fs::write(story.site.path("a/grants.toml"), grants).unwrap();
    let token_file = story.site.secret("a.token", &by_file);
    let mut a = story.agent("a", "");
    a.args(["--join", &format!("@{token_file}")]).env("BACKUP_KEY", &plugin_key);
    let a = story.start(&mut a);
    let mut b = story.agent("b", "[processes]\nstats_interval = \"1s\"\n");
    let b = story.start(b.env("DROVER_JOIN", &by_environment));
    for node in ["a", "b"] {
        story.site.wait_until(node, Presence::Present);
    }
    wait_for("the plugins", || {
        let ops = story.drover(&["ops", "a"]).stdout;
        let are_there = ["backup.setting", "fetches.fetch", "container.image_pull"]
            .iter()
            .all(|one| ops.contains(one));
        if are_there { Ok(()) } else { Err(story.drover(&["plugin", "status", "a"])) }
    });
    let learn_key = |story: &mut Story, what| {
        let key = fs::read_to_string(story.site.path("a/identity/node.key")).unwrap();
        story.hunt.add(what, &HEXLOWER_PERMISSIVE.decode(key.trim().as_bytes()).unwrap());
    };
    learn_key(&mut story, "first key");
    let _ = story.drover(&["node", "rotate", "a"]).ok();
    learn_key(&mut story, "second key");

    // Plugins: what they are given is told to whom they tell it, and to nobody else.
    for (name, secret) in [("token", "plugin's token"), ("key", "plugin's key")] {
        let call = ["call", "a", "backup.setting", &format!("name={name}")];
        let answer = story.run_quietly(&mut story.site.command(&call)).ok();
        story.hunt.look_into(&format!("the answer of {name}"), answer.as_bytes());
        assert!(!story.hunt.places_of(secret).is_empty(), "{secret} is not in {answer}");
    }
    let _ = story.drover(&["call", "a", "backup.setting", "name=other"]).failed(1);
    let fetch = |path: &str| format!("url=http://{server}{path}");
    let _ = story.drover(&["call", "a", "fetches.fetch", &fetch("/in")]).ok();
    story.hunt.look_into("the request", heard.recv().unwrap().as_bytes());
    assert!(!story.hunt.places_of("header").is_empty(), "the server was told the header");
    let _ = story.drover(&["call", "a", "fetches.fetch", &fetch("/in"), "method=PUT"]).failed(1);

    // Containers: the login of a registry is told to the engine, right or wrong.
    let (password, no_password) = (story.new_secret("registry"), story.new_secret("no registry"));
    engine.guard_registry("127.0.0.1:5000", "ada", &password);
    let pull = ["call", "a", "container.image_pull", "image=127.0.0.1:5000/app:1", "--data", "-"];
    for (password, status) in [(&no_password, 1), (&password, 0)] {
        let login = json!({ "username": "ada", "password": password });
        let ran = story.drover_reading(&login.to_string(), &pull);
        assert_eq!(ran.status, Some(status), "{ran:?}");
    }
    let half = &json!({ "password": password }).to_string()[1..];
    let _ = story.drover_reading(half, &pull).failed(1);

    // Programs and jobs: their variables, arguments and data.
    let variable = story.new_secret("variable");
    let detached = ["exec", "a", "--detach", "--env", "PASS", "--", "/bin/sleep", "1000"];
    let mut exec = story.site.command(&detached);
    let _ = story.run(exec.env("PASS", &variable)).ok();
    story.hunt.look_at_processes();
    let input = story.new_secret("input");
    let _ = story.drover_reading(&input, &["exec", "a", "--", "/usr/bin/wc", "-c"]).ok();
    let argument = story.new_secret("argument");
    let remember = ["call", "a", "backup.remember", "--args", "-"];
    for (arguments, status) in
        [(json!({ "key": "k", "value": argument }), 0), (json!({ "key": 7, "value": argument }), 5)]
    {
        let ran = story.drover_reading(&arguments.to_string(), &remember);
        assert_eq!(ran.status, Some(status), "{ran:?}");
    }
    let of_job = story.new_secret("argument of a job");
    let arguments = json!({ "key": "k", "value": of_job }).to_string();
    let submit = ["job", "submit", "a", "backup.remember", "--args", "-", "--wait"];
    let _ = story.drover_reading(&arguments, &submit).ok();

    // What everybody can ask for, and what says that something is wrong.
    for line in [
        &["nodes", "--json"][..],
        &["node", "list", "--json"],
        &["node", "claims", "--json"],
        &["user", "list", "--json"],
        &["token", "list", "--json"],
        &["whoami"],
        &["audit", "list", "--json"],
        &["audit", "verify"],
        &["logs", "a", "--level", "1-30"],
        &["logs", "b", "--level", "1-30"],
        &["logs"],
        &["job", "list", "--json"],
        &["ps", "--json"],
        &["stats", "a", "--json"],
        &["metrics"],
        &["metrics", "a"],
        &["plugin", "status", "a", "--json"],
        &["call", "a", "agent.info"],
    ] {
        let _ = story.drover(line);
    }
    let (controller, agent) = (story.site.file("controller.toml"), story.site.file("a.toml"));
    for (program, config) in [("controller", &controller), ("agent", &agent)] {
        let _ = story.drover(&["doctor", program, "--config", config]);
        let _ = story.drover(&[program, "--config", config, "--print-config"]).ok();
    }
    let text = fs::read_to_string(&controller).unwrap();
    for (from, to) in [("ticket = \"", "ticket = x\""), ("ticket = ", "tickets = "), (" %\"", " %")]
    {
        let broken = story.site.secret("broken.toml", &text.replace(from, to));
        let _ = story.drover(&["controller", "--config", &broken]).failed(2);
    }
    let backup = story.site.file("backup.tar");
    let _ = story.drover(&["controller", "backup", &backup, "--config", &controller]).ok();

    let agents = [a.pid(), b.pid()];
    story.end("a", a);
    story.end("b", b);
    let controller = story.site.controller.take().unwrap();
    story.end("the controller", controller);
    for dir in ["controller", "a", "b"] {
        let dir = story.site.path(dir);
        story.hunt.look_through(&dir);
    }
    story.hunt.look_into("the backup", &fs::read(backup).unwrap());

    let found = story.hunt.out_of_place(|find| is_in_place(find, agents));
    assert!(found.is_empty(), "{found:#?}");
}

/// Whether a secret is where it belongs: with whom it was given to, and, on disk, for
/// nobody else to read.
fn is_in_place(find: &Find, agents: [u32; 2]) -> bool {
    let Find { secret, place, .. } = find;
    let of_agent = |agent: u32| place.starts_with(&format!("the environment of {agent} "));
    let files: &[&str] = match *secret {
        "TLS key" => &["controller/tls/controller.key"],
        "second key" => &["a/identity/node.key"],
        // What plugins keep.
        "argument" => &["a/state/backup.db"],
        "argument of a job" => &["a/state/backup.db", "a/jobs.db", "controller/jobs/jobs.db"],
        // It is remembered as long as its program is.
        "variable" => &["a/jobs.json"],
        _ => &[],
    };
    let path = place.trim_end_matches("-wal");
    if files.iter().any(|file| path.ends_with(file)) {
        let is_closed = |path: &Path| {
            fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 == 0)
        };
        let (file, dir) = (Path::new(place), Path::new(place).parent().unwrap());
        return is_closed(file) || is_closed(dir);
    }
    match *secret {
        "plugin's token" => place == "the answer of token",
        "plugin's key" => place == "the answer of key" || of_agent(agents[0]),
        "join token of b" => of_agent(agents[1]),
        "header" => place == "the request",
        "argument of a job" => place == "the backup",
        // The program, and the command that was told to start it.
        "variable" => {
            place.ends_with("/bin/sleep 1000 ") && place.starts_with("the environment of ")
        }
        _ => false,
    }
}
