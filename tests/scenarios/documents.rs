//! What the documents show is what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The README's code block that begins with `start`.
pub(crate) fn block(language: &str, start: &str) -> String {
    let readme = readme();
    let fence = format!("```{language}\n{start}");
    let (_, rest) = readme.split_once(&fence).unwrap_or_else(|| panic!("no block {start:?}"));
    let (body, _) = rest.split_once("\n```").unwrap();
    format!("{start}{body}\n")
}

#[test]
fn the_readme_shows_the_smallest_plugin_as_it_is() {
    let source = fs::read_to_string(root().join("examples/hello-plugin/src/lib.rs")).unwrap();
    assert_eq!(block("rust", "//! The smallest plugin."), source);
}

#[test]
fn the_readmes_agent_configuration_has_every_key_with_its_default() {
    let shown = drover_agent::Config::parse(&block("toml", "# agent.toml")).unwrap();
    let defaults = drover_agent::Config {
        // These are the host's own.
        name: shown.name.clone(),
        data_dir: shown.data_dir.clone(),
        plugin_dir: shown.plugin_dir.clone(),
        cache_dir: shown.cache_dir.clone(),
        grants: shown.grants.clone(),
        logs: drover_agent::LogSettings {
            dir: shown.logs.dir.clone(),
            ..drover_agent::LogSettings::default()
        },
        ..drover_agent::Config::default()
    };
    assert_eq!(shown, defaults);
    assert_same_keys(&block("toml", "# agent.toml"), &shown.to_toml());
}

#[test]
fn the_readmes_grants_and_manifest_are_right_and_fit_together() {
    let grants = drover_grants::GrantsFile::parse(&block("toml", "# grants.toml")).unwrap();
    let manifest = drover_grants::Manifest::from_toml(&block("toml", "# plugin.toml")).unwrap();
    let (name, asks) = (manifest.name.unwrap(), manifest.asks);
    let grants = drover_grants::Grants::of_file(grants);
    let drover_grants::Decision::Missing(missing) =
        drover_grants::decide(name.as_str(), &asks, &grants)
    else {
        panic!("the secret of the README is on this machine");
    };
    assert!(missing.lines().is_empty(), "{missing}");
    assert!(missing.troubles()[0].contains("/etc/drover/backup.token"), "{missing}");
}

/// The crates of ours that the crate in this folder needs, but for its tests.
fn needs(folder: &Path) -> BTreeSet<String> {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let (_, rest) = manifest.split_once("[dependencies]\n").unwrap();
    let needs = rest.lines().take_while(|line| !line.starts_with('['));
    let ours = needs.filter_map(|line| line.strip_prefix("drover-")?.split_whitespace().next());
    ours.map(str::to_owned).collect()
}

#[test]
fn the_readmes_arrows_are_those_of_the_manifests() {
    let mut arrows = BTreeMap::new();
    let text = block("", "cli -> ");
    // What is not part of the program has its arrow in words.
    for line in text.lines().filter(|line| !line.starts_with("plugins, ")) {
        let (from, to) = line.split_once(" -> ").unwrap();
        let to: BTreeSet<_> = match to {
            "nothing of ours" => BTreeSet::new(),
            to => to.split(", ").map(str::to_owned).collect(),
        };
        arrows.extend(from.split(", ").map(|from| (from.to_owned(), to.clone())));
    }
    let crates = fs::read_dir(root().join("runtime")).unwrap().map(|entry| entry.unwrap().path());
    let found = crates.map(|folder| {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        (name, needs(&folder))
    });
    assert_eq!(arrows, found.collect());
}

/// The code blocks of the SDK's guide in one language.
fn blocks_of_the_guide(language: &str) -> Vec<String> {
    let guide = fs::read_to_string(root().join("sdk/rust/README.md")).unwrap();
    let fence = format!("```{language}\n");
    let rest = guide.split(&fence).skip(1);
    rest.map(|rest| rest.split_once("\n```").unwrap().0.to_owned()).collect()
}

#[test]
fn the_guides_manifests_are_right_and_its_cases_are_those_of_a_new_project() {
    let template = root().join("runtime/cli/templates/task/count.toml.txt");
    let template = fs::read_to_string(template).unwrap();
    let mut counts = (0, 0);
    for block in blocks_of_the_guide("toml") {
        if block.starts_with("# plugin.toml\n") {
            drover_grants::Manifest::from_toml(&block).unwrap();
            counts.0 += 1;
        } else if block.starts_with("# tests/count.toml\n") {
            for case in block.split("[[case]]\n").skip(1) {
                assert!(template.contains(case.trim_end()), "{case}");
                counts.1 += 1;
            }
        } else {
            panic!("what is this? {block}");
        }
    }
    assert!(counts.0 >= 4 && counts.1 >= 2, "{counts:?}");
}

#[test]
fn the_commands_for_authors_are_there_and_all_are_shown() {
    let help = drover_tests::run(crate::DROVER.as_ref(), &["plugin", "--help"]).ok();
    let (_, rest) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = rest.split_once("\n\n").unwrap();
    let commands: Vec<_> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let readme = readme();
    for command in commands.iter().filter(|command| **command != "help") {
        assert!(readme.contains(&format!("drover plugin {command}")), "{command} is not there");
    }
    for block in blocks_of_the_guide("sh") {
        for (_, rest) in
            block.match_indices("drover plugin ").map(|(at, _)| block[at..].split_at(14))
        {
            let command = rest.split_whitespace().next().unwrap();
            assert!(commands.contains(&command), "{command}: {commands:?}");
        }
    }
}

#[test]
fn the_readmes_trusted_keys_are_a_valid_configuration() {
    let text = block("toml", "# trusted keys in agent.toml");
    let shown = drover_agent::Config::parse(&text).unwrap();
    assert!(shown.trusted_keys.contains_key("release"));
}

#[test]
fn the_readmes_start_up_programs_are_a_valid_configuration() {
    let shown = drover_agent::Config::parse(&block("toml", "# startup in agent.toml")).unwrap();
    let printed = shown.to_toml();
    for name in ["shop", "database", "clean"] {
        assert!(printed.contains(&format!("[startup.{name}]")), "{printed}");
    }
}

#[test]
fn the_readmes_service_is_a_valid_configuration_with_every_key() {
    let text = block("toml", "# agent.toml");
    let lines = text.lines().skip_while(|line| !line.starts_with("# [services."));
    let lines = lines.take_while(|line| !line.is_empty()).map(|line| &line[2..]);
    let shown = drover_agent::Config::parse(&lines.collect::<Vec<_>>().join("\n")).unwrap();
    let usual = r#"{"operation":"ticker.count","args":{"every_ms":500}}"#;
    let usual: drover_agent::ServiceSpec = serde_json::from_str(usual).unwrap();
    assert_eq!(shown.services["NAME"], usual, "all but these two are the defaults");
}

#[test]
fn the_readmes_sources_are_a_valid_configuration() {
    let shown = drover_agent::Config::parse(&block("toml", "# sources in agent.toml")).unwrap();
    let nginx = &shown.sources["nginx"];
    let kernel = &shown.sources["kernel"];
    assert_eq!((nginx.from, nginx.counters), (kernel.from, kernel.counters), "the defaults");
}

#[test]
fn the_readmes_controller_configuration_has_every_key_with_its_default() {
    let text = block("toml", "# controller.toml");
    let shown = drover_controller::Config::parse(&text).unwrap();
    let defaults = drover_controller::Config {
        // These are the host's own.
        data_dir: shown.data_dir.clone(),
        logs: drover_controller::LogSettings {
            dir: shown.logs.dir.clone(),
            ..drover_controller::LogSettings::default()
        },
        catalog: drover_controller::CatalogSettings {
            dir: shown.catalog.dir.clone(),
            ..drover_controller::CatalogSettings::default()
        },
        jobs: drover_controller::JobSettings {
            dir: shown.jobs.dir.clone(),
            ..drover_controller::JobSettings::default()
        },
        ..drover_controller::Config::default()
    };
    assert_eq!(shown, defaults);
    assert_same_keys(&text, &shown.to_toml());
}

fn assert_same_keys(one: &str, other: &str) {
    let keys = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let keys = lines.filter_map(|line| Some(line.split_once('=')?.0.trim().to_owned()));
        let mut keys: Vec<_> = keys.collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys(one), keys(other));
}

#[test]
fn the_example_site_has_valid_configurations_that_fit_together() {
    let read =
        |name: &str| fs::read_to_string(root().join("examples/two-nodes").join(name)).unwrap();
    let controller = drover_controller::Config::parse(&read("controller.toml")).unwrap();
    let nodes = ["a.toml", "b.toml"].map(|name| drover_agent::Config::parse(&read(name)).unwrap());
    for node in &nodes {
        assert_eq!(node.controller, format!("ws://{}/ws", controller.listen));
    }
    assert_ne!(nodes[0].node(), nodes[1].node());
    assert_ne!(nodes[0].data_dir, nodes[1].data_dir);
    drover_grants::GrantsFile::parse(&read("grants.toml")).unwrap();
}

#[test]
fn the_readmes_realms_and_those_of_the_example_are_valid() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["ci.secret", "dashboard.ticket"] {
        fs::write(dir.path().join(name), "a secret\n").unwrap();
    }
    let text = block("toml", "# realms of controller.toml");
    let text = text.replace("/etc/drover", dir.path().to_str().unwrap());
    let shown = drover_controller::Config::parse(&text).unwrap();
    assert!(shown.realms.contains_key(&shown.realm));

    let example = fs::read_to_string(root().join("examples/ocs/controller.toml")).unwrap();
    let example = drover_controller::Config::parse(&example).unwrap();
    assert!(example.realms.contains_key("test_realm"));
}

#[test]
fn the_readme_names_every_subcommand_and_every_exit_status() {
    let readme = readme();
    let help = drover_tests::run(crate::DROVER.as_ref(), &["--help"]).ok();
    let (_, rest) = help.split_once("Commands:\n").unwrap();
    let (commands, rest) = rest.split_once("\n\n").unwrap();
    for command in commands.lines().filter_map(|line| line.split_whitespace().next()) {
        let named = readme.contains(&format!("`drover {command}"));
        assert!(named || command == "help", "{command} is not in the README");
    }
    let (_, statuses) = rest.split_once("Exit status:\n").unwrap();
    for line in statuses.lines().filter(|line| !line.trim().is_empty()) {
        let (number, meaning) = line.trim().split_once("  ").unwrap();
        assert!(
            readme.contains(&format!("| {number} | {meaning} |")),
            "{line} is not in the README"
        );
    }
}
