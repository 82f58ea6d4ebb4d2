//! The tour: commands an operator would type, their output, and whether each
//! answer was right.

use std::process::Output;

use anyhow::Context;

use super::site::Site;

/// The port of the usual address, with which commands need no flag.
const USUAL_URL: &str = "ws://127.0.0.1:7117/ws";

/// What the answer must be.
struct Expected {
    status: i32,
    /// Texts that standard output or error must have in them.
    texts: Vec<String>,
}

/// Walks through the site; returns how many answers were wrong.
pub(super) async fn walk(site: &mut Site) -> anyhow::Result<usize> {
    let memory = total_memory()?;
    let mut wrong = 0;
    let mut show = async |site: &Site, title: &str, line: &[&str], expected: Expected| {
        println!("\n# {title}\n$ drover {}", line.join(" "));
        let output = site.drover(line).await?;
        let text = text_of(&output);
        println!("{}", text.trim_end());
        if !is_right(&output, &text, &expected) {
            wrong += 1;
            println!("WRONG: expected status {} and {:?}", expected.status, expected.texts);
        }
        anyhow::Ok(())
    };

    show(site, "Two agents have joined the controller", &["nodes"], right(&["a", "b", "present"]))
        .await?;
    show(
        site,
        "What a node can do comes from its plugins, described by themselves",
        &["ops", "a"],
        right(&["hello.greet", "sysinfo.memory", "ARGUMENT"]),
    )
    .await?;
    show(
        site,
        "An operation runs in a sandboxed component on the node",
        &["call", "a", "sysinfo.memory"],
        right(&["total", &memory.to_string()]),
    )
    .await?;
    show(
        site,
        "Arguments are typed",
        &["call", "b", "hello.greet", "name=Ada", "times=2"],
        right(&["Hello, Ada!"]),
    )
    .await?;
    show(
        site,
        "The same for programs",
        &["call", "b", "hello.greet", "name=Ada", "--json"],
        right(&["\"state\": \"OK\"", "\"nid\": 2"]),
    )
    .await?;
    show(
        site,
        "Wrong arguments never reach the plugin",
        &["call", "b", "hello.greet", "nmae=Ada"],
        ended(5, &["nmae", "name"]),
    )
    .await?;
    show(
        site,
        "An unknown operation is answered with those there are",
        &["call", "b", "hello.wave"],
        ended(4, &["wave", "there are: greet"]),
    )
    .await?;

    println!("\n# Node b is killed as by a power failure (kill -9)");
    site.kill("b").await?;
    show(site, "The controller knows at once", &["nodes"], right(&["lost"])).await?;
    show(site, "Calls say so", &["call", "b", "sysinfo.os"], ended(4, &["lost"])).await?;
    println!("\n# It starts again and joins by itself");
    site.restart("b").await?;
    show(site, "And is back", &["call", "b", "sysinfo.os"], right(&["hostname", "kernel"])).await?;
    Ok(wrong)
}

/// What to try in a second terminal.
pub(super) fn what_next(site: &Site) -> String {
    let environment = if site.url == USUAL_URL {
        String::new()
    } else {
        format!("  export DROVER_CONTROLLER={}\n", site.url)
    };
    format!(
        "The site keeps running until Ctrl-C. In a second terminal, in this directory, try:\n\
         \n{environment}\
         \x20 alias drover=target/debug/drover\n\
         \x20 drover nodes\n\
         \x20 drover call a sysinfo.cpu\n\
         \x20 drover call b sysinfo.disk --json\n\
         \x20 drover call a sysinfo.processes limit=5\n\
         \x20 drover plugin inspect target/demo/plugins/hello.wasm\n\
         \x20 drover plugin run target/demo/plugins/hello.wasm greet name=Ada\n\
         \nLogs and configurations are in target/demo."
    )
}

fn right(texts: &[&str]) -> Expected {
    ended(0, texts)
}

fn ended(status: i32, texts: &[&str]) -> Expected {
    Expected { status, texts: texts.iter().map(|&text| text.to_owned()).collect() }
}

fn is_right(output: &Output, text: &str, expected: &Expected) -> bool {
    output.status.code() == Some(expected.status)
        && expected.texts.iter().all(|part| text.contains(part))
}

fn text_of(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The host's memory in bytes, asked of the kernel and not of Drover.
fn total_memory() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes: u64 = line
        .and_then(|line| line.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse().ok())
        .context("/proc/meminfo has no MemTotal")?;
    Ok(kilobytes * 1024)
}
