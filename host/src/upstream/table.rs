//! A long poll of the core's worker table: one per process, whose result every thread watches.
//!
//! While the core does not answer, the last table stays. Applying a table is left to `cluster`.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use limpet_wire::codec::{self, MESSAGE_MAX};
use limpet_wire::names::TABLE_PATH;
use limpet_wire::table::{TableVersion, WorkerTable};
use tokio::sync::watch;

use super::endpoint::Endpoint;
use super::error::{ConnectError, SendFailure};
use super::pool::Pool;
use super::request::Outgoing;
use crate::client::request_body::BodyError;

/// How long opening a connection to the core may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the core may keep a poll open while the table does not change, or is not complete yet.
const WAIT: Duration = Duration::from_secs(20);
/// How much longer than [`WAIT`] an answer may take.
const GRACE: Duration = Duration::from_secs(5);
/// The first pause after a failure; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why a poll failed. The next one may not.
#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error("the core does not accept connections: {0}")]
    Connect(String),
    #[error("no answer from the core: {0}")]
    Send(SendFailure),
    #[error("the core did not answer in time")]
    Timeout,
    #[error("the core answered {0}")]
    Status(StatusCode),
    #[error("the answer of the core broke off: {0}")]
    Body(#[from] BodyError),
    #[error("the answer of the core is no worker table: {0}")]
    Decode(#[from] codec::DecodeError),
}

/// Polls for ever, publishing each new table.
pub async fn poll(core: Endpoint, tables: watch::Sender<Option<Arc<WorkerTable>>>) {
    let pool = Pool::new(core, CONNECT_TIMEOUT);
    let mut version = None;
    let mut pause = PAUSE_MIN;
    let mut failing = false;
    loop {
        match tokio::time::timeout(WAIT + GRACE, ask(&pool, version))
            .await
            .unwrap_or(Err(PollError::Timeout))
        {
            Ok(changed) => {
                pause = PAUSE_MIN;
                failing = false;
                if let Some(table) = changed {
                    tracing::info!(version = %table.version, workers = table.workers.len(), "worker table");
                    version = Some(table.version);
                    tables.send_replace(Some(Arc::new(table)));
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(core = %pool.endpoint(), %error, "no worker table; asking again");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

async fn ask(pool: &Pool, after: Option<TableVersion>) -> Result<Option<WorkerTable>, PollError> {
    let path = match after {
        Some(version) => format!("{TABLE_PATH}?after={version}&wait_ms={}", WAIT.as_millis()),
        None => format!("{TABLE_PATH}?wait_ms={}", WAIT.as_millis()),
    };
    let connection = match pool.take() {
        Some(connection) => connection,
        None => pool
            .connect()
            .await
            .map_err(|ConnectError(reason)| PollError::Connect(reason))?,
    };
    let request = Request::get(path)
        .header(http::header::HOST, "core")
        .body(Outgoing::Empty)
        .map_err(|_| PollError::Send(SendFailure::BadRequest))?;
    let answer = pool
        .send(connection, request)
        .await
        .map_err(|refused| PollError::Send(refused.failure))?
        .collect(MESSAGE_MAX)
        .await?;
    match answer.head.status {
        StatusCode::OK => Ok(Some(codec::decode(&answer.body)?)),
        StatusCode::NO_CONTENT => Ok(None),
        status => Err(PollError::Status(status)),
    }
}
