//! The keeper with real children, driven through the agent's side of it.

#[expect(clippy::unwrap_used, reason = "a test kit; the setting covers only test functions")]
mod keeper {
    mod adoption;
    mod ends;
    mod filtered;
    mod groupless;
    mod kit;
    mod numbers;
    mod output;
    mod starts;
}
