//! The sessions this node holds, page by page.

use super::{Service, ServiceError, Summary};
use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::Engine;

/// How many records are looked at for one page: of a rare app, a page may be short, or empty, and still have a next.
const LOOKED_AT_MAX: usize = 20_000;

/// How many records are looked at, but for the rest of a bucket, before other callers get the engine's lock.
const LOOKED_AT_PER_LOCK: usize = 1024;

/// Some sessions, in an order that is the same on every node and no order of ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The sessions.
    pub sessions: Vec<Summary>,
    /// Where the next page begins: after this session, which need not be there any more. `None` at the end.
    pub next: Option<SessionKey>,
}

/// A page in the making.
struct Walk<'a> {
    app: Option<&'a str>,
    limit: usize,
    page: Page,
    looked_at: usize,
    /// The bucket to go on in: after `page.next`, where that lies in it.
    bucket: usize,
    /// Whether the last bucket was looked at.
    ended: bool,
}

impl Service {
    /// At most `limit` sessions that this node holds, of `app` or of all apps, after the session `after` or from the
    /// beginning. Sessions that begin or end meanwhile are listed or not; all others are listed once.
    ///
    /// # Errors
    /// [`super::NodeError::NotReady`].
    pub async fn list(
        &self,
        app: Option<&str>,
        after: Option<SessionKey>,
        limit: usize,
    ) -> Result<Page, ServiceError> {
        let mut walk = Walk {
            app,
            limit,
            bucket: after.as_ref().map_or(0, SessionKey::bucket),
            page: Page {
                sessions: Vec::new(),
                next: after,
            },
            looked_at: 0,
            ended: false,
        };
        loop {
            self.node.with(|engine, now| {
                engine.check_ready()?;
                walk.go_on(engine, now);
                Ok::<_, ServiceError>(())
            })?;
            if walk.ended {
                walk.page.next = None;
            }
            if walk.ended || walk.is_full() {
                return Ok(walk.page);
            }
            tokio::task::yield_now().await; // a long list is many short holds of the lock
        }
    }
}

impl Walk<'_> {
    const fn is_full(&self) -> bool {
        self.page.sessions.len() >= self.limit || self.looked_at >= LOOKED_AT_MAX
    }

    /// Looks at [`LOOKED_AT_PER_LOCK`] more records and the rest of the bucket they end in.
    fn go_on(&mut self, engine: &Engine, now: Now) {
        let until = self.looked_at + LOOKED_AT_PER_LOCK;
        while self.looked_at < until && !self.is_full() {
            let Some(bucket) = engine.table().bucket(self.bucket) else {
                self.ended = true;
                return;
            };
            let after = self
                .page
                .next
                .clone()
                .filter(|after| after.bucket() == self.bucket);
            for (key, record) in bucket.ordered(after.as_ref()) {
                if self.is_full() {
                    return;
                }
                self.looked_at += 1;
                self.page.next = Some(key.clone());
                let wanted = !key.is_reserved() && self.app.is_none_or(|app| key.app() == app);
                if wanted && engine.session(key, now).is_some() {
                    self.page
                        .sessions
                        .extend(Summary::of(key, record, engine.time_ms(now)));
                }
            }
            self.bucket += 1;
        }
    }
}
