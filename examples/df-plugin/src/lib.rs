//! A plugin that runs a program of the node, and measures what it learns.

use drover_sdk::process::Command;
use drover_sdk::{Failure, OrFail, data, metrics, plugin, task};

plugin!(usage);

/// Tells how full file systems are.
#[task]
fn usage(
    /// A file on the only one of interest; else all of them.
    path: Option<String>,
) -> Result<Vec<FileSystem>, Failure> {
    let df = Command::new("/bin/df").args(["-P", "-k"]).args(path);
    let output = df.run().or_fail("df", "asking df")?;
    let text = output.text().or_fail("df", "asking df")?;
    let found: Vec<_> = text.lines().skip(1).filter_map(FileSystem::read).collect();
    for file_system in &found {
        let mount = [("mount", file_system.mounted_on.as_str())];
        // That there are more than can be measured is no reason to answer nothing.
        let _ = metrics::gauge("used_kb", file_system.used_kb as f64, &mount);
    }
    Ok(found)
}

/// A file system, as df tells of it.
#[data]
#[derive(Debug)]
struct FileSystem {
    /// What is mounted.
    source: String,
    /// What it holds, in units of 1,024 bytes.
    size_kb: u64,
    /// What of that is used.
    used_kb: u64,
    /// Where it is mounted.
    mounted_on: String,
}

impl FileSystem {
    /// Reads a line; none if it is not as POSIX has it.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let source = words.next()?.to_owned();
        let (size_kb, used_kb) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let mounted_on = words.skip(2).collect::<Vec<_>>().join(" ");
        Some(Self { source, size_kb, used_kb, mounted_on })
    }
}

#[cfg(test)]
mod tests {
    use drover_sdk::process::{Ending, Output};
    use drover_sdk::testing::{Host, Program, with_host};

    use super::*;

    const TABLE: &str = "\
Filesystem     1024-blocks      Used Available Capacity Mounted on
/dev/sda1         20511312  10255656  10255656      50% /
tmpfs               102400         0    102400       0% /run/user one
";

    fn host(output: Output) -> Host {
        let df = Program::new(["/bin/df", "-P", "-k"], output);
        Host { programs: vec![df], ..Host::default() }
    }

    #[test]
    fn what_df_says_becomes_a_table_and_is_measured() {
        let output = Output { stdout: TABLE.into(), ..Output::default() };
        let (found, heard) = with_host(host(output), || usage(None).unwrap());
        assert_eq!(found[0].mounted_on, "/");
        assert_eq!((found[0].size_kb, found[0].used_kb), (20_511_312, 10_255_656));
        assert_eq!(found[1].mounted_on, "/run/user one");
        assert_eq!(heard.samples.len(), 2);
    }

    #[test]
    fn what_df_complains_of_is_told() {
        let (stderr, ending) = (b"df: no file systems\n".to_vec(), Ending::Code(1));
        let output = Output { stderr, ending, ..Output::default() };
        let (error, _) = with_host(host(output), || usage(None).unwrap_err());
        let message = error.message;
        assert!(message.contains("status 1: df: no file systems"), "{message}");
    }

    #[test]
    fn another_path_needs_another_grant() {
        let (answer, _) = with_host(host(Output::default()), || usage(Some("-x".to_owned())));
        assert!(answer.is_err());
    }
}
