//! Whether a controller grows while sessions, registrations and subscriptions
//! come and go: an hour's worth of them in a minute or two.

use std::path::Path;

use super::memory::resident;
use super::stress::Stress;
use super::target_of;
use crate::latency::median;
use crate::load::order::Order;
use crate::site::Site;
use crate::{Inputs, Plan};

/// How often the memory is read.
const READINGS: usize = 60;

/// Sessions that come and go between two readings: in all it is five a second
/// for an hour.
const SESSIONS: usize = 300;

/// Of `--quick`.
const QUICK_SESSIONS: usize = 64;

/// What the memory did, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Churn {
    /// After the first quarter, which warms up.
    pub(super) before: f64,
    /// In the last quarter.
    pub(super) after: f64,
}

/// Starts a controller, and lets sessions come and go.
///
/// # Errors
///
/// If a program does not start, or a session is treated wrongly.
pub(super) async fn run(inputs: &Inputs, plan: &Plan, dir: &Path) -> anyhow::Result<Churn> {
    let site = Site::start(&inputs.drover, &[], dir).await?;
    let mut stress = Stress::start(&target_of(&site)).await?;
    let sessions = if plan.quick { QUICK_SESSIONS } else { SESSIONS };
    let mut readings = Vec::with_capacity(READINGS);
    for _ in 0..READINGS {
        stress.carry_out(Order::Churn { sessions }).await?;
        readings.push(resident(site.group())?);
    }
    stress.stop().await?;
    site.stop().await?;
    Ok(Churn::of(&readings))
}

impl Churn {
    /// Medians of the second quarter of the readings and of the last one.
    fn of(readings: &[f64]) -> Self {
        let quarter = readings.len() / 4;
        let part =
            |from: usize| median(readings.iter().copied().skip(from).take(quarter).collect());
        Self {
            before: part(quarter).unwrap_or_default(),
            after: part(readings.len() - quarter).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_after_the_warm_up_is_found_and_the_warm_up_is_not() {
        let warm_up_and_flat = [1.0, 3.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0];
        let churn = Churn::of(&warm_up_and_flat);
        assert_eq!((churn.before, churn.after), (5.0, 5.0));
        let leaking = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let churn = Churn::of(&leaking);
        assert_eq!((churn.before, churn.after), (3.5, 7.5));
    }
}
