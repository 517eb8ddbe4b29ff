//! The requests that filters send themselves (call-outs), and their timers.
//!
//! Both belong to a root context and outlive the exchange in which they were started. When the virtual machine was
//! restarted meanwhile, the answer of a call-out is dropped and a timer ends. Each call-out waits on a timer of its
//! own. Running the filter is left to `wasm`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use limpet_wire::names::CORE_CLUSTER;
use tokio::task::AbortHandle;

use crate::balance::plan::Plan;
use crate::message::head::{RequestHead, ResponseHead};
use crate::message::hop;
use crate::rescue::Failure;
use crate::supervise::{MayEnd, Supervisor};
use crate::telemetry::counters::Counters;
use crate::upstream::cluster::Cluster;
use crate::upstream::error::SendFailure;
use crate::upstream::pool::Pool;
use crate::upstream::request::Outgoing;
use crate::wasm::state::actions::{CallReply, Callout};
use crate::wasm::state::embedder::{Embedder, RootContexts};

/// The largest answer to a call-out, in bytes; a larger one counts as no answer.
pub const ANSWER_MAX: usize = 32 << 20;
/// The most call-outs of one thread at a time; past it one fails at once, as if the cluster were down.
pub const OPEN_MAX: usize = 4096;

/// What the virtual machines of a thread reach outside of themselves.
#[derive(Debug)]
pub struct Callouts {
    clusters: Rc<Vec<Rc<Cluster>>>,
    core: Option<Rc<Pool>>,
    counters: Arc<Counters>,
    open: Rc<Cell<usize>>,
    updates: Rc<Cell<usize>>,
    closed: Cell<bool>,
    supervisor: Supervisor,
    timers: RefCell<HashMap<(*const (), usize), AbortHandle>>,
}

impl Callouts {
    /// Reaches `core` and `clusters`.
    #[must_use]
    pub fn new(
        clusters: Rc<Vec<Rc<Cluster>>>,
        core: Option<Rc<Pool>>,
        counters: Arc<Counters>,
        supervisor: Supervisor,
    ) -> Rc<Self> {
        Rc::new(Self {
            clusters,
            core,
            counters,
            open: Rc::default(),
            updates: Rc::default(),
            closed: Cell::new(false),
            supervisor,
            timers: RefCell::default(),
        })
    }

    /// How many call-outs that may change something are not answered yet. Those with a safe method, such as a long
    /// poll, do not count (RFC 9110, section 9.2.1).
    #[must_use]
    pub fn pending_updates(&self) -> usize {
        self.updates.get()
    }

    /// From now on call-outs and timers are ignored: the thread ends, and nothing can be started on it.
    pub fn close(&self) {
        self.closed.set(true);
    }

    fn find(&self, name: &str) -> Option<Target> {
        if name == CORE_CLUSTER {
            return self.core.clone().map(Target::Core);
        }
        self.clusters
            .iter()
            .find(|cluster| *cluster.name == *name)
            .cloned()
            .map(Target::Cluster)
    }
}

impl Embedder for Callouts {
    fn knows(&self, cluster: &str) -> bool {
        self.find(cluster).is_some()
    }

    fn call(&self, vm: Rc<dyn RootContexts>, generation: u32, call: Callout) {
        if self.closed.get() {
            return;
        }
        self.counters.callouts.add(1);
        let target = self.find(&call.cluster).filter(|_| self.open.get() < OPEN_MAX);
        let open = Count::one(&self.open);
        let update = (!call.head.method.is_safe()).then(|| Count::one(&self.updates));
        let vm = Rc::downgrade(&vm);
        let counters = Arc::clone(&self.counters);
        tokio::task::spawn_local(async move {
            let Callout {
                root,
                token,
                head,
                body,
                timeout,
                ..
            } = call;
            let asked = ask(target, head, body);
            let answered = if timeout.is_zero() {
                asked.await
            } else {
                tokio::time::timeout(timeout, asked)
                    .await
                    .unwrap_or(Err(Failure::Timeout))
            };
            drop((open, update));
            let reply = answered.unwrap_or_else(|failure| {
                counters.callout_failures.add(1);
                failed(failure)
            });
            if let Some(vm) = Weak::upgrade(&vm) {
                // A machine that was restarted meanwhile does not know this call any more.
                let _ = vm.call_response(generation, root, token, reply);
            }
        });
    }

    fn set_timer(&self, vm: Rc<dyn RootContexts>, generation: u32, root: usize, period: Duration) {
        if self.closed.get() {
            return;
        }
        let key = (Rc::as_ptr(&vm).cast::<()>(), root);
        if let Some(old) = self.timers.borrow_mut().remove(&key) {
            old.abort();
        }
        if period.is_zero() {
            return;
        }
        let vm = Rc::downgrade(&vm);
        let timer = self
            .supervisor
            .spawn("timer of a filter", MayEnd::Yes, async move {
                loop {
                    // Counted from the end of the last call: a slow handler is not called without pause.
                    tokio::time::sleep(period).await;
                    let Some(vm) = Weak::upgrade(&vm) else { return };
                    if vm.tick(generation, root).is_err() {
                        return;
                    }
                }
            });
        self.timers.borrow_mut().insert(key, timer);
    }
}

/// Counts one more until it is dropped.
struct Count(Rc<Cell<usize>>);

impl Count {
    fn one(of: &Rc<Cell<usize>>) -> Self {
        of.set(of.get() + 1);
        Self(Rc::clone(of))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

enum Target {
    Core(Rc<Pool>),
    Cluster(Rc<Cluster>),
}

/// A failure as Envoy would report it: an answer with a status, or none at all.
fn failed(failure: Failure) -> CallReply {
    match failure {
        Failure::Reset | Failure::BadAnswer | Failure::ResponseTooLarge | Failure::BadMessage => {
            CallReply::default()
        }
        _ => {
            let status = if failure == Failure::Timeout {
                StatusCode::GATEWAY_TIMEOUT
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            let reply = failure.reply();
            CallReply {
                head: Some(ResponseHead {
                    status,
                    headers: reply.head.headers,
                }),
                body: reply.body,
                trailers: HeaderMap::new(),
            }
        }
    }
}

async fn ask(target: Option<Target>, head: RequestHead, body: Bytes) -> Result<CallReply, Failure> {
    let pool = match target.ok_or(Failure::NoWorker)? {
        Target::Core(pool) => pool,
        Target::Cluster(cluster) => {
            let workers = cluster.workers();
            let worker = workers.next(&mut Plan::default(), b"", cluster.settings.balance, u64::MAX);
            Rc::clone(&worker.ok_or(Failure::NoWorker)?.pool)
        }
    };
    let mut request = request(head, body)?;
    let answer = loop {
        let kept = pool.take();
        let reused = kept.is_some();
        let connection = match kept {
            Some(connection) => connection,
            None => pool.connect().await?,
        };
        match pool.send(connection, request).await {
            Ok(answer) => break answer,
            Err(failed) => match failed.unsent {
                // The kept connection was closed by its peer; not a byte was sent.
                Some(unsent) if reused => request = unsent,
                _ if failed.failure == SendFailure::NotHttp => return Err(Failure::BadAnswer),
                _ => return Err(Failure::Reset),
            },
        }
    };
    let collected = answer
        .collect(ANSWER_MAX)
        .await
        .map_err(|_| Failure::ResponseTooLarge)?;
    Ok(CallReply {
        head: Some(collected.head),
        body: collected.body,
        trailers: collected.trailers,
    })
}

fn request(mut head: RequestHead, body: Bytes) -> Result<Request<Outgoing>, Failure> {
    hop::strip(&mut head.headers);
    head.headers.remove(http::header::CONTENT_LENGTH);
    let mut request = Request::new(if body.is_empty() {
        Outgoing::Empty
    } else {
        Outgoing::Full(body)
    });
    *request.method_mut() = head.method;
    *request.uri_mut() = http::Uri::from(head.path);
    *request.headers_mut() = head.headers;
    Ok(request)
}
