//! Jobs with real children, through the manager.

#[expect(clippy::unwrap_used, reason = "a test kit; the setting covers only test functions")]
mod manager {
    mod crashing;
    mod handing_over;
    mod kit;
    mod restarting;
    mod running;
    mod scheduling;
    mod stopping;
}
