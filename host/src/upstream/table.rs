//! The core's worker table: one long poll per process, whose result every thread watches.
//!
//! A core that does not answer changes nothing: the last table stays, and requests that meet a dead worker are
//! tried elsewhere.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use limpet_wire::codec::{self, MESSAGE_MAX};
use limpet_wire::names::TABLE_PATH;
use limpet_wire::table::{TableVersion, WorkerTable};
use tokio::sync::watch;

use super::body::{Outgoing, WorkerBody};
use super::endpoint::Endpoint;
use super::pool::Pool;

/// How long the core may keep a question that has no news.
const WAIT: Duration = Duration::from_secs(20);
/// How much longer an answer may take.
const GRACE: Duration = Duration::from_secs(5);
/// The first pause after a failure; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why a poll failed. The next one may not.
#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error("the core does not accept connections")]
    Connect,
    #[error("the core did not answer in time")]
    Timeout,
    #[error("the core answered {0}")]
    Status(StatusCode),
    #[error("the answer broke off: {0}")]
    Http(#[from] super::body::BodyError),
    #[error("the answer is no worker table: {0}")]
    Decode(#[from] codec::DecodeError),
}

/// Polls for ever, publishing each new table.
pub async fn poll(core: Endpoint, tables: watch::Sender<Option<Arc<WorkerTable>>>) {
    let pool = std::rc::Rc::new(Pool::new(core, Duration::from_secs(2)));
    let mut version = None;
    let mut pause = PAUSE_MIN;
    let mut silent = false;
    loop {
        match tokio::time::timeout(WAIT + GRACE, ask(&pool, version))
            .await
            .unwrap_or(Err(PollError::Timeout))
        {
            Ok(news) => {
                pause = PAUSE_MIN;
                silent = false;
                if let Some(table) = news {
                    tracing::info!(version = %table.version, workers = table.workers.len(), "worker table");
                    version = Some(table.version);
                    tables.send_replace(Some(Arc::new(table)));
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut silent, true) {
                    tracing::warn!(core = %pool.endpoint(), %error, "no worker table; asking again");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

async fn ask(
    pool: &std::rc::Rc<Pool>,
    after: Option<TableVersion>,
) -> Result<Option<WorkerTable>, PollError> {
    let path = match after {
        Some(version) => format!("{TABLE_PATH}?after={version}&wait_ms={}", WAIT.as_millis()),
        None => TABLE_PATH.to_owned(),
    };
    let mut connection = match pool.take() {
        Some(connection) => connection,
        None => pool.connect().await.map_err(|_| PollError::Connect)?,
    };
    let request = Request::get(path)
        .header(http::header::HOST, "core")
        .body(Outgoing::Empty);
    let request = request.map_err(|error| PollError::Http(error.into()))?;
    let response = connection
        .send(request)
        .await
        .map_err(|failed| PollError::Http(failed.error.into()))?;
    let (parts, incoming) = response.into_parts();
    let body = WorkerBody::new(incoming, connection, std::rc::Rc::clone(pool), None);
    let bytes = http_body_util::Limited::new(body, MESSAGE_MAX)
        .collect()
        .await
        .map_err(PollError::Http)?;
    match parts.status {
        StatusCode::OK => Ok(Some(codec::decode(&bytes.to_bytes())?)),
        StatusCode::NO_CONTENT => Ok(None),
        status => Err(PollError::Status(status)),
    }
}
