//! The names that JumpScale's controllers and clients use.

use drover_api::Command;
use serde_json::{Map, Value};

use super::{Alias, rows};

/// Old names of what is a plugin's operation here.
const OF_PLUGINS: &[(&str, &str)] = &[
    ("get_cpu_info", "sysinfo.cpu"),
    ("get_mem_info", "sysinfo.memory"),
    ("get_disk_info", "sysinfo.disk"),
    ("get_nic_info", "sysinfo.nic"),
    ("get_os_info", "sysinfo.os"),
];

/// The same command with the name and the arguments that it has here; none if
/// its name is no old one.
///
/// Old callers put arguments into `data` as well, as a JSON object; they count
/// where there are none in `args`.
pub(crate) fn in_new_words(command: &Command) -> Option<Command> {
    if let Some((_, new)) = OF_PLUGINS.iter().find(|(old, _)| *old == command.cmd) {
        return Some(Command { cmd: (*new).to_owned(), ..command.clone() });
    }
    let named = |alias: &&Alias| alias.name == command.cmd;
    let (row, alias) = rows().find_map(|row| Some((row, row.aliases.iter().find(named)?)))?;
    // Where nothing is renamed, the data is the command's own.
    let is_in_data = command.args.is_empty() && !alias.renamed.is_empty();
    let mut args = match is_in_data {
        true => serde_json::from_str(&command.data).unwrap_or_default(),
        false => command.args.clone(),
    };
    rename(&mut args, alias.renamed);
    for (name, value) in alias.given {
        args.entry(*name).or_insert_with(|| Value::from(*value));
    }
    Some(Command { cmd: row.name.to_owned(), args, ..command.clone() })
}

/// What a plugin's operation is called here; its name, unless that is an old one.
pub(crate) fn operation_of(cmd: &str) -> &str {
    OF_PLUGINS.iter().find(|(old, _)| *old == cmd).map_or(cmd, |(_, new)| new)
}

/// Gives arguments their new names. What is empty was left out by old clients,
/// which write every argument that they know.
fn rename(args: &mut Map<String, Value>, renamed: &[(&str, &str)]) {
    for (old, new) in renamed {
        if let Some(value) = args.remove(*old) {
            let is_said = match &value {
                Value::Null => false,
                Value::String(text) => !text.is_empty(),
                Value::Number(number) => number.as_f64() != Some(0.0),
                _ => true,
            };
            if is_said {
                args.insert((*new).to_owned(), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn new_words(cmd: &str, args: Value, data: &str) -> Option<(String, Value)> {
        let Value::Object(args) = args else { panic!("arguments are an object") };
        let command = Command { args, data: data.to_owned(), ..Command::new(cmd) };
        let command = in_new_words(&command)?;
        Some((command.cmd, Value::Object(command.args)))
    }

    #[test]
    fn old_names_become_ours_with_their_arguments() {
        let query = |args| Some(("log.query".to_owned(), args));
        let old = json!({ "jobid": "j1", "timefrom": 7, "levels": "1-5" });
        let new = json!({ "job": "j1", "from": 7, "levels": "1-5" });
        assert_eq!(new_words("get_msgs", old.clone(), ""), query(new.clone()));
        assert_eq!(new_words("get_msgs", json!({}), &old.to_string()), query(new));
        let unsaid = json!({ "jobid": "", "timefrom": 0, "timeto": null });
        assert_eq!(new_words("get_msgs", unsaid, "ignored"), query(json!({})));
        let cpu = ("sysinfo.cpu".to_owned(), json!({}));
        assert_eq!(new_words("get_cpu_info", json!({}), ""), Some(cpu));
        assert_eq!(new_words("log.query", json!({}), ""), None);
        assert_eq!(new_words("nonsense", json!({}), ""), None);
    }
}
