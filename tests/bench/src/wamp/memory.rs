//! What a router holds: idle without a session, and for each idle session.

use std::path::Path;
use std::time::Duration;

use super::stress::Stress;
use super::target_of;
use crate::Inputs;
use crate::load::Target;
use crate::load::order::Order;
use crate::peer::Crossbar;
use crate::site::Site;
use crate::usage::Usage;

/// How many sessions are held.
pub(super) const SESSIONS: [u32; 2] = [1_000, 10_000];

/// The routers ping a session after ten seconds of silence. An idle session is
/// one that has been pinged, with whatever that takes.
const SETTLING: Duration = Duration::from_secs(12);

/// Resident bytes of a router that was started for this.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    /// Without sessions.
    pub(super) idle: f64,
    /// More than that for each session, at each of [`SESSIONS`].
    pub(super) per_session: [f64; SESSIONS.len()],
}

/// Measures a controller.
///
/// # Errors
///
/// If a program does not start, or a session is lost.
pub(super) async fn of_controller(inputs: &Inputs, dir: &Path) -> anyhow::Result<Memory> {
    let site = Site::start(&inputs.drover, &[], &dir.join("site")).await?;
    let memory = measure(&target_of(&site), site.group()).await?;
    site.stop().await?;
    Ok(memory)
}

/// Measures Crossbar.
///
/// # Errors
///
/// If a program does not start, or a session is lost.
pub(super) async fn of_crossbar(inputs: &Inputs, dir: &Path) -> anyhow::Result<Memory> {
    let crossbar = Crossbar::start(&inputs.venv, &dir.join("crossbar")).await?;
    let memory = measure(&crossbar.target(), crossbar.group()).await?;
    crossbar.stop().await?;
    Ok(memory)
}

async fn measure(target: &Target, group: i32) -> anyhow::Result<Memory> {
    let mut stress = Stress::start(target).await?;
    let idle = resident(group)?;
    let mut per_session = [0.0; SESSIONS.len()];
    for (count, bytes) in SESSIONS.iter().zip(&mut per_session) {
        let sessions = usize::try_from(*count)?;
        stress.carry_out(Order::Idle { sessions }).await?;
        tokio::time::sleep(SETTLING).await;
        // Once more: it fails if one of them has been lost meanwhile.
        stress.carry_out(Order::Idle { sessions }).await?;
        *bytes = (resident(group)? - idle) / f64::from(*count);
    }
    stress.stop().await?;
    Ok(Memory { idle, per_session })
}

/// Resident bytes of a process group.
pub(super) fn resident(group: i32) -> anyhow::Result<f64> {
    // Exact below 2^53 bytes.
    Ok(Usage::of_group(group)?.resident_bytes as f64)
}
