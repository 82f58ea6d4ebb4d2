//! What the kernel knows of this program: the families that every client of Prometheus
//! has under the same names.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::Page;

/// What `/proc/self/stat` says; in clock ticks, bytes and pages.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

/// Adds what this program uses; what cannot be read is left out.
pub fn own_process(page: &mut Page) {
    let ticks = clock_ticks_per_second().max(1) as f64;
    let stat = fs::read_to_string("/proc/self/stat").ok();
    if let Some(stat) = stat.as_deref().and_then(parse) {
        page.counter("process_cpu_seconds", "Time on a processor, of the user and of the kernel.")
            .value(&[], stat.cpu_ticks as f64 / ticks);
        page.gauge("process_resident_memory_bytes", "Memory that is resident.")
            .count(&[], stat.resident_pages.saturating_mul(page_size() as u64));
        page.gauge("process_virtual_memory_bytes", "Address space.").count(&[], stat.virtual_bytes);
        page.gauge("process_threads", "Threads of the program.").count(&[], stat.threads);
        if let Some(boot) = boot_time() {
            page.gauge("process_start_time_seconds", "When it started, in seconds since 1970.")
                .value(&[], boot + stat.start_ticks as f64 / ticks);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory itself.
        page.gauge("process_open_fds", "Open file descriptors.")
            .count(&[], (open.count() as u64).saturating_sub(1));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.gauge("process_max_fds", "File descriptors that may be open.").count(&[], most);
    }
}

/// Reads one line; the name of the program, which may have anything in it, ends with
/// the last parenthesis.
fn parse(line: &str) -> Option<Stat> {
    let fields: Vec<_> = line.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // The state, of which the manual says that it is the third, is the first here.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu_ticks: field(14)? + field(15)?,
        threads: field(20)?,
        start_ticks: field(22)?,
        virtual_bytes: field(23)?,
        resident_pages: field(24)?,
    })
}

/// When the machine started, in seconds since 1970.
fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_may_have_anything_in_it() {
        let line = "7 (a ) (b) S 1 7 7 0 -1 4194304 9 0 0 0 11 22 0 0 20 0 5 0 100 4096 3 1 2";
        let (cpu_ticks, threads, start_ticks) = (33, 5, 100);
        let (virtual_bytes, resident_pages) = (4096, 3);
        let stat = Stat { cpu_ticks, threads, start_ticks, virtual_bytes, resident_pages };
        assert_eq!(parse(line), Some(stat));
        assert_eq!(parse("7 (a) S 1"), None);
    }

    #[test]
    fn this_program_uses_memory_and_files() {
        let mut page = Page::new();
        own_process(&mut page);
        let text = page.finish();
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_open_fds",
        ] {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            assert!(line.unwrap().parse::<f64>().unwrap() >= 0.0, "{text}");
        }
    }
}
