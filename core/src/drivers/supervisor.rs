//! Supervision: the faults after which the process must not go on.
//!
//! A node whose ticks have stopped, or whose engine was left half-changed by a panic, looks healthy and is not. So a
//! long-lived task that ends, and a lock that a panicking thread held, end the process with a reason in the log and
//! [`EXIT_SOFTWARE`]; whatever supervises the daemon starts it again. The task of one connection is not supervised: a
//! panic there that held no lock ends that connection alone.

use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard};

use tokio::task::JoinError;

/// The exit status after a fault of the program itself: `EX_SOFTWARE` of sysexits.h.
pub const EXIT_SOFTWARE: i32 = 70;

/// Ends the process: goes on serving would be worse.
pub fn end_process(reason: &str) -> ! {
    tracing::error!(reason, status = EXIT_SOFTWARE, "this process cannot go on");
    std::process::exit(EXIT_SOFTWARE)
}

/// Runs a task that must not end while the process runs; `name` is said if it does.
pub fn spawn(name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    let task = tokio::spawn(task);
    tokio::spawn(async move {
        let ended = task.await;
        if let Some(reason) = reason(name, ended) {
            end_process(&reason);
        }
    });
}

/// Why the end of a task is a fault; `None` where the runtime itself is stopping.
fn reason(name: &str, ended: Result<(), JoinError>) -> Option<String> {
    match ended {
        Ok(()) => Some(format!("the task {name} ended")),
        Err(error) if error.is_cancelled() => None,
        Err(error) => Some(format!(
            "the task {name} panicked: {}",
            message(&*error.into_panic())
        )),
    }
}

/// Locks `mutex`, which protects `what`. A lock that a panicking thread held ends the process: what it protects may be
/// half-changed.
pub fn lock<'a, T>(mutex: &'a Mutex<T>, what: &str) -> MutexGuard<'a, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(_) => end_process(&format!("a panic left {what} half-changed")),
    }
}

/// Makes `call`; what it panicked with, if it did. What `call` changed must not be used after that.
pub(super) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(AssertUnwindSafe(call)).map_err(|panic| message(&*panic))
}

/// What a panic said.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_or_panics_is_a_fault_and_one_that_is_cancelled_is_none() {
        let ended = tokio::spawn(async {}).await;
        assert_eq!(reason("ticks", ended).as_deref(), Some("the task ticks ended"));
        let panicked = tokio::spawn(async { panic!("no time") }).await;
        assert_eq!(
            reason("ticks", panicked).as_deref(),
            Some("the task ticks panicked: no time")
        );
        let task = tokio::spawn(std::future::pending());
        task.abort();
        assert_eq!(reason("ticks", task.await), None);
    }

    #[test]
    fn a_panic_is_caught_with_what_it_said() {
        assert_eq!(catch(|| 7), Ok(7));
        let text = format!("at {}", 3);
        assert_eq!(catch(|| -> u8 { panic!("{text}") }), Err("at 3".to_owned()));
    }
}
