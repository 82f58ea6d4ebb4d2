//! Bad input is refused with a reason, and the rest keeps working.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use drover_api::NodeStatus;
use drover_tests::{Site, component};

use crate::site;

/// The site still does what it is for.
fn still_works(site: &Site) {
    let text = site.drover(&["call", "a", "hello.greet", "name=Ada"]).ok();
    assert!(text.contains("Ada"), "{text}");
}

/// Waits until node `a` has one plugin and has refused so many files.
fn wait_until_all_is_told(site: &Site, refused: usize) -> NodeStatus {
    site.wait_for_node("a", |node| {
        node.description.plugins.len() == 1 && node.description.refused.len() == refused
    })
}

#[test]
fn bad_plugin_files_are_refused_by_name_and_the_good_ones_load() {
    let site = site();
    let hello = std::fs::read(component("hello")).unwrap();
    let mut garbage = vec![0x5a; 50 << 20];
    garbage[..8].copy_from_slice(&hello[..8]);
    site.add_plugin("a", "hello.wasm", &hello);
    site.add_plugin("a", "empty.wasm", b"");
    site.add_plugin("a", "garbage.wasm", &garbage);
    site.add_plugin("a", "module.wasm", b"\0asm\x01\0\0\0");
    site.add_plugin("a", "text.wasm", b"#!/bin/sh\necho hello\n");
    site.add_plugin("a", "truncated.wasm", &hello[..hello.len() / 2]);
    site.add_plugin("a", "Bad Name.wasm", &hello);
    site.add_plugin("a", "notes.txt", b"not a plugin at all");

    let a = site.start_agent(1, "a", "");
    let node = wait_until_all_is_told(&site, 6);

    let mut refused: Vec<_> = node.description.refused.iter().map(|r| r.file.as_str()).collect();
    refused.sort_unstable();
    let expected = [
        "Bad Name.wasm",
        "empty.wasm",
        "garbage.wasm",
        "module.wasm",
        "text.wasm",
        "truncated.wasm",
    ];
    assert_eq!(refused, expected);
    let reason = |file: &str| {
        let refused = node.description.refused.iter().find(|refused| refused.file == file);
        refused.unwrap().reason.clone()
    };
    assert!(reason("module.wasm").contains("wasm32-wasip2"), "{}", reason("module.wasm"));
    for file in expected {
        a.process.wait_for_log(file);
    }
    let shown = site.drover(&["nodes"]);
    assert!(shown.stderr.contains("truncated.wasm"), "{shown:?}");
    still_works(&site);
}

#[test]
fn plugins_whose_describe_misbehaves_are_refused_and_the_good_ones_load() {
    let site = site();
    for guest in ["describe_trap", "describe_spin", "describe_allocate"] {
        let bytes = std::fs::read(component(guest)).unwrap();
        site.add_plugin("a", &format!("{guest}.wasm"), &bytes);
    }
    site.add_plugin("a", "hello.wasm", &std::fs::read(component("hello")).unwrap());

    let _a = site.start_agent(1, "a", "");

    wait_until_all_is_told(&site, 3);
    still_works(&site);
}

#[test]
fn arguments_too_long_for_the_link_are_refused_before_they_are_sent() {
    let site = site();
    let _a = site.agent(1, "a");
    let file = site.path("arguments.json");
    std::fs::write(&file, format!("{{\"name\":\"{}\"}}", "x".repeat(20 << 20))).unwrap();

    let input = std::fs::File::open(&file).unwrap();
    let output = std::process::Command::new(crate::DROVER)
        .args(["call", "a", "hello.greet", "--args", "-", "--controller", &site.url])
        .stdin(input)
        .output()
        .unwrap();

    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("20971") && errors.contains("16777216"), "{errors}");
    still_works(&site);
}

#[test]
fn malformed_bytes_on_the_controllers_port_harm_nobody() {
    let site = site();
    let _a = site.agent(1, "a");
    let address = site.url.trim_start_matches("ws://").trim_end_matches("/ws").to_owned();
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: wamp.2.msgpack\r\n\r\n"
    );
    // What is sent after a good upgrade: an unmasked frame, a frame that claims
    // 2^63 bytes, a masked binary frame that is no msgpack, a reserved opcode.
    let frames: [&[u8]; 4] = [
        b"\x82\x05hello",
        b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
        b"\x82\x85\0\0\0\0\xc1\xc1\xc1\xc1\xc1",
        b"\x8b\x80\0\0\0\0",
    ];
    let mut attacks: Vec<Vec<u8>> =
        frames.iter().map(|frame| [upgrade.as_bytes(), frame].concat()).collect();
    attacks.push(b"\0\xff\xfe garbage \x01".to_vec());
    attacks.push(vec![b'A'; 1 << 20]);

    for attack in attacks {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // The controller may hang up before it has read everything.
        let _ = stream.write_all(&attack);
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let is_closed = match &ended {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(is_closed, "{ended:?} after {:?}", &attack[..attack.len().min(40)]);
        still_works(&site);
    }
}
