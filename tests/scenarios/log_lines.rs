//! Log lines, from a file in a format to events, as an admin tries it.

use std::fs;

use drover_tests::{Ran, compiled, component, run};
use serde_json::Value;

use crate::DROVER;

const LINE: &str =
    r#"203.0.113.7 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 502 10 "-" "curl/8""#;

fn plugin(arguments: &[&str]) -> Ran {
    let cache = compiled();
    let mut all = vec!["plugin"];
    all.extend(arguments);
    all.extend(["--cache", cache.to_str().unwrap()]);
    run(DROVER.as_ref(), &all)
}

#[test]
fn the_formats_of_a_plugin_are_shown_with_their_options() {
    let file = component("logparse");
    let text = plugin(&["inspect", file.to_str().unwrap()]).ok();
    for part in ["drover:plugin/line-parsing@0.1.0", "logparse, format nginx  (log lines)", "form"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("asks for\n    nothing"), "{text}");
}

#[test]
fn a_format_can_be_tried_on_some_lines() {
    let file = component("logparse");
    let file = file.to_str().unwrap();
    let data = format!("{LINE}\nsomething else\n");
    let text = plugin(&["run", file, "test", "format=nginx", "--data", &data, "--json"]).ok();
    let result: Value = serde_json::from_str(&text).unwrap();
    let events = &result["data"];
    assert_eq!(events[0]["fields"]["status"], 502);
    assert_eq!(events[0]["time"], 971_211_336_000_u64);
    assert_eq!(events[0]["level"], 8);
    assert_eq!(events[1]["parsed"], false);
    assert_eq!(events[1]["text"], "something else");
    let errors = plugin(&["run", file, "test", "format=ngnix", "--data", &data]).failed(1);
    assert!(errors.contains("there is no format `ngnix`"), "{errors}");
}

#[test]
fn every_format_and_option_is_in_the_readme_of_the_plugin() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = fs::read_to_string(root.join("plugins/logparse/README.md")).unwrap();
    let file = component("logparse");
    let text = plugin(&["run", file.to_str().unwrap(), "formats", "--json"]).ok();
    let result: Value = serde_json::from_str(&text).unwrap();
    for format in result["data"].as_array().unwrap() {
        let row = format!("| `{}` |", format["name"].as_str().unwrap());
        let row = readme
            .lines()
            .find(|line| line.starts_with(&row))
            .unwrap_or_else(|| panic!("{row} is not in the table of the formats"));
        for option in format["options"]["properties"].as_object().unwrap().keys() {
            assert!(row.contains(&format!("`{option}`")), "`{option}` is not in {row}");
        }
    }
}
