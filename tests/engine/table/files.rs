//! Files in and out of containers.

use drover_engine_tests::archive;

use crate::tell;

#[test]
fn files_go_in_and_come_out() {
    tell(|it| {
        it.container("files", "cat /tmp/f; sleep 1000");
        let archive = archive(&[("f", "content\n"), ("g", "more")]);
        it.send_tar("PUT", "/containers/files/archive?path=/tmp", &archive);
        it.start("files");
        it.wait_until("/containers/files/json", |found| found["State"]["Running"] == true);
        let mut log = it.open("GET", "/containers/files/logs?stdout=1&follow=1", "", b"");
        it.note(&String::from_utf8_lossy(&log.more().unwrap_or_default()));
        let answer = it.quietly("GET", "/containers/files/archive?path=/tmp/f", "", b"");
        it.note(answer.header("content-type").unwrap_or("-"));
        let mut entries = tar::Archive::new(answer.body.as_slice());
        let entries = entries.entries().into_iter().flatten().flatten();
        let names: Vec<_> = entries.map(|entry| format!("{:?}", entry.path())).collect();
        it.note(&format!("{} {names:?}", answer.status));
        let stat = answer.header("x-docker-container-path-stat").unwrap_or_default();
        let stat = data_encoding::BASE64.decode(stat.as_bytes()).unwrap_or_default();
        let stat: serde_json::Value = serde_json::from_slice(&stat).unwrap_or_default();
        it.note(&format!("{} {} {}", stat["name"], stat["size"], stat["linkTarget"]));
        let head = it.ask("HEAD", "/containers/files/archive?path=/bin/sleep");
        let stat = head.header("x-docker-container-path-stat").unwrap_or_default();
        let stat = data_encoding::BASE64.decode(stat.as_bytes()).unwrap_or_default();
        let stat: serde_json::Value = serde_json::from_slice(&stat).unwrap_or_default();
        it.note(&format!("{} {}", stat["name"], stat["mode"]));
        it.remove("files");
    });
}

#[test]
fn a_path_that_is_not_there_is_refused() {
    tell(|it| {
        it.container("paths", "true");
        it.get("/containers/paths/archive?path=/none");
        it.get("/containers/paths/archive");
        it.send_tar("PUT", "/containers/paths/archive?path=/none", b"x");
        it.send_tar("PUT", "/containers/paths/archive?path=/tmp", b"x");
        it.send_tar("PUT", "/containers/paths/archive?path=/bin/busybox", &archive(&[]));
        it.get("/containers/paths/changes");
        it.remove("paths");
    });
}

#[test]
fn a_whole_container_comes_out_as_an_archive() {
    tell(|it| {
        it.container("whole", "true");
        let answer = it.quietly("GET", "/containers/whole/export", "", b"");
        let mut entries = tar::Archive::new(answer.body.as_slice());
        let entries = entries.entries().into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.path().map(|path| path.display().to_string()));
        let has_busybox = names.flatten().any(|name| name == "bin/busybox");
        it.note(&format!("{} {has_busybox}", answer.status));
        it.remove("whole");
    });
}
