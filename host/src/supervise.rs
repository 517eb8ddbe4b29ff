//! The supervision of tasks that have to live as long as the process.
//!
//! A proxy without its clock, its accept loop or its admin page is worse than none. So a supervised task that panics or
//! ends is reported, by name and with its reason, and `cli` ends the process. A task of one client connection is not
//! supervised: when it panics, only its connection ends.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Reports that wait to be read. The first one ends the process, so later ones are dropped.
const REPORTS_MAX: usize = 1;

/// A supervised task that ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{task} {reason}; the process ends, because it cannot serve without it. This is a bug in limpet-host"
)]
pub struct TaskDied {
    /// What the task did.
    pub task: &'static str,
    /// How it ended.
    pub reason: String,
}

/// Whether a task may return by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayEnd {
    /// It returns when its work is done; only a panic is reported.
    Yes,
    /// It never returns; a return is reported too.
    No,
}

/// Starts supervised tasks. Clones report to the same receiver.
#[derive(Debug, Clone)]
pub struct Supervisor(mpsc::Sender<TaskDied>);

impl Supervisor {
    /// A supervisor, and where its report arrives.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<TaskDied>) {
        let (sender, receiver) = mpsc::channel(REPORTS_MAX);
        (Self(sender), receiver)
    }

    /// Runs `task` on this thread. Aborting it is no end that is reported.
    pub fn spawn(
        &self,
        name: &'static str,
        may_end: MayEnd,
        task: impl Future<Output = ()> + 'static,
    ) -> AbortHandle {
        let task = tokio::task::spawn_local(task);
        let handle = task.abort_handle();
        let supervisor = self.clone();
        tokio::task::spawn_local(async move {
            match task.await {
                Ok(()) if may_end == MayEnd::Yes => {}
                Ok(()) => supervisor.report(name, "ended".into()),
                Err(error) => {
                    if let Ok(panic) = error.try_into_panic() {
                        supervisor.report(name, panicked(&*panic));
                    }
                }
            }
        });
        handle
    }

    /// Runs `body` as the whole of a thread and reports a panic in it.
    pub fn run(&self, name: &'static str, body: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
            self.report(name, panicked(&*panic));
        }
    }

    /// Reports that `task` is gone.
    pub fn report(&self, task: &'static str, reason: String) {
        tracing::error!(task, reason, "a task the process needs is gone");
        // Full: another report ends the process already. Closed: it is ending.
        let _ = self.0.try_send(TaskDied { task, reason });
    }
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", message.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn report_of(may_end: MayEnd, task: impl Future<Output = ()> + 'static, abort: bool) -> Option<TaskDied> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(async move {
            let (supervisor, mut reports) = Supervisor::new();
            let handle = supervisor.spawn("the task", may_end, task);
            if abort {
                handle.abort();
            }
            // The receiver closes when the task is over and nobody else can report.
            drop(supervisor);
            tokio::time::timeout(Duration::from_secs(10), reports.recv())
                .await
                .expect("the task is over")
        })
    }

    #[test]
    fn a_panic_is_reported_with_its_reason() {
        for may_end in [MayEnd::Yes, MayEnd::No] {
            let died = report_of(may_end, async { panic!("no clock") }, false).unwrap();
            assert_eq!(
                (died.task, died.reason.as_str()),
                ("the task", "panicked: no clock")
            );
        }
    }

    #[test]
    fn an_end_is_reported_where_there_should_be_none() {
        assert_eq!(report_of(MayEnd::No, async {}, false).unwrap().reason, "ended");
        assert_eq!(report_of(MayEnd::Yes, async {}, false), None);
    }

    #[test]
    fn an_aborted_task_is_not_reported() {
        assert_eq!(report_of(MayEnd::No, std::future::pending(), true), None);
    }

    #[test]
    fn a_thread_that_panics_is_reported() {
        let (supervisor, mut reports) = Supervisor::new();
        supervisor.run("the thread", || {});
        supervisor.run("the thread", || panic!("out of {}", "luck"));
        let died = reports.try_recv().unwrap();
        assert_eq!(
            (died.task, died.reason.as_str()),
            ("the thread", "panicked: out of luck")
        );
        assert!(reports.try_recv().is_err(), "the good end was not reported");
    }
}
