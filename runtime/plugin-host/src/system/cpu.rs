//! Processors and their load.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sysinfo::{Cpu, System};
use tokio::time::{Instant, sleep_until};

use super::blocking;
use crate::bindings::drover::plugin::sysinfo::{Core, CpuInfo, LoadAverage};

/// The shortest time over which load is measured; see `wit/sysinfo.wit`.
const INTERVAL: Duration = Duration::from_millis(200);

/// Measures the load since its last measurement.
#[derive(Default)]
pub(super) struct CpuMeter(Mutex<Measurement>);

#[derive(Default)]
struct Measurement {
    /// Has the counters of the last reading.
    system: Option<System>,
    /// When that was.
    read: Option<Instant>,
    /// What it told, if it was not the first.
    info: Option<CpuInfo>,
}

impl CpuMeter {
    /// Reads the processors. Those who ask at the same time share a reading.
    pub(super) async fn measure(self: &Arc<Self>) -> CpuInfo {
        let asked = Instant::now();
        loop {
            let meter = self.clone();
            match blocking(move || meter.read(asked)).await {
                Ok(info) => return info,
                Err(ready) => sleep_until(ready).await,
            }
        }
    }

    /// The load, or when it can be told.
    fn read(&self, asked: Instant) -> Result<CpuInfo, Instant> {
        let mut last = self.lock();
        let now = Instant::now();
        if let Some(read) = last.read {
            if let Some(info) = &last.info
                && read >= asked
            {
                return Ok(info.clone());
            }
            if now < read + INTERVAL {
                return Err(read + INTERVAL);
            }
        }
        last.read = Some(now);
        let is_first = last.system.is_none();
        let system = match last.system.as_mut() {
            Some(system) => system,
            None => match System::new() {
                Ok(system) => last.system.insert(system),
                // Nothing can be told here, neither now nor later.
                Err(_) => return Ok(describe(&[], 0.0)),
            },
        };
        system.refresh_cpu_all();
        if is_first {
            return Err(now + INTERVAL);
        }
        let info = describe(system.cpus(), system.global_cpu_usage());
        last.info = Some(info.clone());
        Ok(info)
    }

    fn lock(&self) -> MutexGuard<'_, Measurement> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(cpus: &[Cpu], busy_percent: f32) -> CpuInfo {
    let load = System::load_average().unwrap_or_default();
    let cores = (0..).zip(cpus).map(|(index, cpu)| Core {
        index,
        mhz: cpu.frequency(),
        busy_percent: percent(cpu.usage()),
    });
    CpuInfo {
        model: cpus.first().map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default(),
        vendor: cpus.first().map(|cpu| cpu.vendor_id().trim().to_owned()).unwrap_or_default(),
        architecture: System::cpu_arch(),
        mhz: cpus.iter().map(Cpu::frequency).max().unwrap_or_default(),
        physical_cores: System::physical_core_count().ok().and_then(|count| count.try_into().ok()),
        logical_cores: u32::try_from(cpus.len()).unwrap_or(u32::MAX),
        busy_percent: percent(busy_percent),
        cores: cores.collect(),
        load: LoadAverage {
            one_minute: load.one,
            five_minutes: load.five,
            fifteen_minutes: load.fifteen,
        },
    }
}

/// Counters that jumped, on a virtual machine that was moved, give nonsense.
fn percent(value: f32) -> f64 {
    if value.is_finite() { f64::from(value.clamp(0.0, 100.0)) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_cores_are_those_of_the_kernel() {
        let info = Arc::<CpuMeter>::default().measure().await;
        let proc = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let cores = proc.lines().filter(|line| line.starts_with("processor")).count();
        assert_eq!(info.cores.len(), cores);
        assert_eq!(info.logical_cores as usize, cores);
        let field = |name: &str| {
            let line = proc.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        if let Some(model) = field("model name") {
            assert_eq!(info.model, model);
        }
        if let Some(vendor) = field("vendor_id") {
            assert_eq!(info.vendor, vendor);
        }
        assert_eq!(info.architecture, std::env::consts::ARCH);
    }

    #[tokio::test]
    async fn shares_are_percent_and_load_is_that_of_proc() {
        let info = Arc::<CpuMeter>::default().measure().await;
        for share in info.cores.iter().map(|core| core.busy_percent).chain([info.busy_percent]) {
            assert!((0.0..=100.0).contains(&share), "{share}");
        }
        let proc = std::fs::read_to_string("/proc/loadavg").unwrap();
        let fifteen: f64 = proc.split(' ').nth(2).unwrap().parse().unwrap();
        assert!((info.load.fifteen_minutes - fifteen).abs() < 1.0, "{info:?} {proc}");
    }

    #[tokio::test]
    async fn those_who_ask_together_wait_for_one_measurement() {
        let meter = Arc::<CpuMeter>::default();
        let (one, other) = tokio::join!(meter.measure(), meter.measure());
        assert_eq!(one.busy_percent, other.busy_percent);
    }

    #[test]
    fn nonsense_is_no_percentage() {
        assert_eq!(percent(f32::NAN), 0.0);
        assert_eq!(percent(-1.0), 0.0);
        assert_eq!(percent(101.5), 100.0);
    }
}
