//! Fault injection: what the tests of real processes ask for by environment variables. Only builds with debug assertions
//! listen; in a release build nothing ever fails.

use std::time::Duration;

/// How long a task that is to fail runs before it does.
const STRIKES_AFTER: Duration = Duration::from_millis(500);

/// `LIMPET_FAIL_ON_ID`: a change from another node to a session of this id panics.
pub(super) fn fail_on_id() -> Option<String> {
    cfg!(debug_assertions)
        .then(|| std::env::var("LIMPET_FAIL_ON_ID").ok())
        .flatten()
}

/// `LIMPET_FAIL_TASK`: the long-lived task of this name panics after a moment.
pub(super) fn fails(task: &str) -> bool {
    cfg!(debug_assertions) && std::env::var("LIMPET_FAIL_TASK").is_ok_and(|name| name == task)
}

/// Runs `task` for a moment, then panics.
#[expect(clippy::panic, reason = "this is the fault that was asked for")]
pub(super) async fn strike(task: impl Future<Output = ()>) {
    let _ = tokio::time::timeout(STRIKES_AFTER, task).await; // whether it ended or not, it fails now
    panic!("fault injection: this task panics");
}
