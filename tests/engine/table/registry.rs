//! Images from and to a registry.

use data_encoding::BASE64URL;
use drover_engine_tests::{GUARDED, LOGIN, REGISTRY, Story, archive};
use serde_json::{Value, json};

use crate::tell;

const NO_LOGIN: &str = "X-Registry-Auth: e30=\r\n";

/// The statuses of a transfer without how far each layer got: an engine tells that
/// as often as it likes.
fn statuses(body: &[u8]) -> Vec<String> {
    let lines = serde_json::Deserializer::from_slice(body).into_iter::<Value>().flatten();
    let shown = lines.map(|line| match line["error"].as_str() {
        Some(error) => error.to_owned(),
        None => line["status"].as_str().unwrap_or("aux").to_owned(),
    });
    let kept = shown.filter(|status| {
        !["Pushing", "Downloading", "Verifying Checksum", "Download complete", "Extracting"]
            .contains(&status.as_str())
    });
    // A digest depends on how the layers are packed.
    kept.map(|status| status.split("sha256:").next().unwrap_or_default().to_owned()).collect()
}

fn transfer(it: &mut Story, path: &str, headers: &str) {
    let answer = it.quietly("POST", path, headers, b"");
    let shown = if answer.status == 200 {
        format!("{:?}", statuses(&answer.body))
    } else {
        String::from_utf8_lossy(&answer.body).into_owned()
    };
    it.note(&format!("{path}: {} {shown}", answer.status));
}

#[test]
fn an_image_is_pushed_and_pulled() {
    tell(|it| {
        let name = format!("{REGISTRY}/pushed");
        it.send_tar(
            "POST",
            "/images/create?fromSrc=-&repo=pushed&tag=1",
            &archive(&[("f", "pushed")]),
        );
        it.post(&format!("/images/pushed:1/tag?repo={name}&tag=1"));
        it.post(&format!("/images/{name}/push?tag=1"));
        transfer(it, &format!("/images/{name}/push?tag=1"), NO_LOGIN);
        transfer(it, &format!("/images/{name}/push?tag=none"), NO_LOGIN);
        it.ask("DELETE", "/images/pushed:1");
        let removed = it.quietly("DELETE", &format!("/images/{name}:1"), "", b"");
        let kinds = removed.json();
        let kinds = kinds.as_array().into_iter().flatten().flat_map(|one| one.as_object());
        let kinds: Vec<_> = kinds.flat_map(|one| one.keys().cloned()).collect();
        it.note(&format!("{kinds:?}"));
        transfer(it, &format!("/images/create?fromImage={name}&tag=1"), "");
        transfer(it, &format!("/images/create?fromImage={name}&tag=1"), "");
        transfer(it, &format!("/images/create?fromImage={name}:1"), "");
        transfer(it, &format!("/images/create?fromImage={name}&tag=2"), "");
        let image = it.quietly("GET", &format!("/images/{name}:1/json"), "", b"").json();
        it.note(&format!(
            "{} {}",
            image["RepoTags"],
            image["RepoDigests"].as_array().map_or(0, Vec::len)
        ));
        it.quietly("DELETE", &format!("/images/{name}:1"), "", b"");
    });
}

#[test]
fn a_registry_that_is_not_there_is_an_error() {
    tell(|it| {
        transfer(it, "/images/create?fromImage=127.0.0.1:5009/none&tag=1", "");
        transfer(it, "/images/create?fromImage=BAD", "");
        transfer(it, "/images/create", "");
    });
}

#[test]
fn a_registry_that_wants_a_login_gets_it_or_refuses() {
    tell(|it| {
        let login = |password: &str| {
            let login =
                json!({ "username": LOGIN.0, "password": password, "serveraddress": GUARDED });
            format!("X-Registry-Auth: {}\r\n", BASE64URL.encode(login.to_string().as_bytes()))
        };
        let name = format!("{GUARDED}/guarded");
        let archive = archive(&[("f", "guarded")]);
        it.send_tar("POST", &format!("/images/create?fromSrc=-&repo={name}&tag=1"), &archive);
        let (push, pull) = (
            format!("/images/{name}/push?tag=1"),
            format!("/images/create?fromImage={name}&tag=1"),
        );
        for headers in [NO_LOGIN, &login("straw")] {
            transfer(it, &push, headers);
            transfer(it, &pull, headers);
        }
        transfer(it, &push, &login(LOGIN.1));
        transfer(it, &pull, "");
        transfer(it, &pull, &login(LOGIN.1));
        it.quietly("DELETE", &format!("/images/{name}:1"), "", b"");
    });
}
