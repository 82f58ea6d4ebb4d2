//! The operating system.

use std::collections::HashMap;

use sysinfo::System;

use super::{text, virtualisation};
use crate::bindings::drover::plugin::sysinfo::OsInfo;

/// Reads names, versions and times.
pub(super) fn read() -> OsInfo {
    let release = text("/etc/os-release").or_else(|| text("/usr/lib/os-release"));
    let release = parse(&release.unwrap_or_default());
    let field = |name: &str| release.get(name).cloned();
    OsInfo {
        hostname: System::host_name().unwrap_or_default(),
        family: std::env::consts::OS.to_owned(),
        kernel: System::kernel_version().unwrap_or_default(),
        distribution: field("ID").unwrap_or_else(System::distribution_id),
        distribution_version: field("VERSION_ID")
            .or_else(|| System::os_version().ok())
            .unwrap_or_default(),
        distribution_name: field("PRETTY_NAME")
            .or_else(|| System::long_os_version().ok())
            .unwrap_or_default(),
        architecture: System::cpu_arch(),
        boot_time: System::boot_time().unwrap_or_default(),
        uptime_seconds: System::uptime().unwrap_or_default(),
        machine_id: text("/etc/machine-id").or_else(|| text("/var/lib/dbus/machine-id")),
        virtualisation: virtualisation::read(),
    }
}

/// Reads an os-release file: assignments as a shell would read them, of which
/// only the quotes matter here.
fn parse(text: &str) -> HashMap<String, String> {
    let assignments = text.lines().filter_map(|line| line.trim().split_once('='));
    let values = assignments.map(|(name, value)| {
        let quote = |c: char| c == '"' || c == '\'';
        (name.to_owned(), value.trim_matches(quote).replace('\\', ""))
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_os_release_is_read_with_and_without_quotes() {
        let release = parse("# comment\nID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nX='a'\n\n");
        assert_eq!(release["ID"], "debian");
        assert_eq!(release["PRETTY_NAME"], "Debian GNU/Linux 12");
        assert_eq!(release["X"], "a");
    }

    #[test]
    fn names_and_times_are_those_of_proc() {
        let info = read();
        assert_eq!(Some(info.hostname), text("/proc/sys/kernel/hostname"));
        assert_eq!(Some(info.kernel), text("/proc/sys/kernel/osrelease"));
        assert_eq!(info.family, "linux");
        let stat = text("/proc/stat").unwrap();
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap();
        assert_eq!(info.boot_time.to_string(), boot);
        let uptime = text("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((uptime - info.uptime_seconds as f64).abs() < 60.0, "{uptime}");
    }
}
