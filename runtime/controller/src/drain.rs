//! How the controller ends when it may take its time: nothing new is begun, what is
//! under way ends, and then it says goodbye.

use std::time::Duration;

use drover_wamp::Router;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether all has ended.
const LOOK: Duration = Duration::from_millis(20);

/// The two ways in which the controller is told to end.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// To end soon: what is under way may end before.
    pub drain: CancellationToken,
    /// To end now.
    pub stop: CancellationToken,
}

/// When the controller is to end soon, has it end as soon as nothing is under way, or
/// `patience` has passed.
pub(crate) async fn run(router: Router, ending: Ending, patience: Duration) -> anyhow::Result<()> {
    let Ending { drain, stop } = ending;
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = drain.cancelled() => {}
    }
    router.drain();
    tracing::info!(patience_s = patience.as_secs(), calls = router.traffic().calls, "draining");
    let latest = Instant::now() + patience;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while router.traffic().calls > 0 && Instant::now() < latest {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = look.tick() => {}
        }
    }
    tracing::info!(calls = router.traffic().calls, "ends; nodes are told to come back");
    stop.cancel();
    Ok(())
}
