//! The machine under the benchmark, and how busy others keep it.

use std::time::Duration;

use anyhow::Context;
use procfs::{CpuTime, Current, CurrentSI, KernelStats, LoadAverage};

/// Below this share of all cores the machine counts as quiet.
const QUIET_BELOW: f64 = 0.1;

/// How long the cores are watched.
const WATCHED: Duration = Duration::from_secs(1);

/// What was seen of the machine before anything was started on it.
pub(crate) struct Machine {
    cores: usize,
    load: [f32; 3],
    busy: f64,
}

impl Machine {
    /// Watches the cores for a second.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub(crate) async fn watch() -> anyhow::Result<Self> {
        let stat = || KernelStats::current().context("cannot read /proc/stat");
        let before = stat()?;
        tokio::time::sleep(WATCHED).await;
        let after = stat()?;
        let load = LoadAverage::current().context("cannot read /proc/loadavg")?;
        Ok(Self {
            cores: after.cpu_time.len(),
            load: [load.one, load.five, load.fifteen],
            busy: busy_share(&before.total, &after.total),
        })
    }

    /// Whether others leave the cores alone.
    pub(crate) fn is_quiet(&self) -> bool {
        self.busy < QUIET_BELOW
    }

    /// A line for people.
    pub(crate) fn description(&self) -> String {
        let [one, five, fifteen] = self.load;
        format!(
            "machine: {} cores, {:.0} % busy before the start{}, load average {one} {five} {fifteen}",
            self.cores,
            self.busy * 100.0,
            if self.is_quiet() { "" } else { " (not quiet)" },
        )
    }
}

/// The share of the time between two readings in which the cores worked, for
/// this system or for another one on the same hardware.
fn busy_share(before: &CpuTime, after: &CpuTime) -> f64 {
    let idle = |time: &CpuTime| time.idle + time.iowait.unwrap_or(0);
    let busy = |time: &CpuTime| {
        let taken = time.irq.unwrap_or(0) + time.softirq.unwrap_or(0) + time.steal.unwrap_or(0);
        time.user + time.nice + time.system + taken
    };
    let idle = idle(after).saturating_sub(idle(before));
    let busy = busy(after).saturating_sub(busy(before));
    if busy + idle == 0 {
        return 0.0;
    }
    Duration::from_millis(busy).div_duration_f64(Duration::from_millis(busy + idle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_machine_of_the_tests_has_cores_and_a_load() {
        let machine = Machine::watch().await.unwrap();
        assert!((0.0..=1.0).contains(&machine.busy), "{}", machine.busy);
        let cores = std::thread::available_parallelism().unwrap().get();
        assert!(machine.cores >= cores, "{} < {cores}", machine.cores);
        assert!(machine.description().contains("load average"));
    }

    #[test]
    fn no_time_between_two_readings_is_no_work() {
        let reading = KernelStats::current().unwrap().total;
        assert_eq!(busy_share(&reading, &reading), 0.0);
    }
}
