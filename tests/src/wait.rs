//! Waiting for something to become true: ask again and again until a deadline, then say what the last answer was. And
//! watching that something stays true.

use std::time::{Duration, Instant};

/// How long to wait between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks until the answer is `Ok` and returns it.
///
/// # Panics
/// When `within` has passed; the message names `what` and the last refusal.
pub async fn eventually<T, F>(what: &str, within: Duration, mut ask: F) -> T
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let start = Instant::now();
    loop {
        let refusal = match tokio::time::timeout(within, ask()).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(refusal)) => refusal,
            Err(_) => "no answer at all".to_owned(),
        };
        assert!(
            start.elapsed() < within,
            "{what}: not within {within:?}; last: {refusal}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks for as long as `time`, and every answer is `Ok`: for what does not happen.
///
/// # Panics
/// At the first answer that is not; the message names `what` and the answer.
pub async fn stays<F>(what: &str, time: Duration, mut ask: F)
where
    F: AsyncFnMut() -> Result<(), String>,
{
    let start = Instant::now();
    while start.elapsed() < time {
        if let Err(answer) = ask().await {
            panic!("{what}: no longer after {:?}: {answer}", start.elapsed());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same as [`eventually`] for a question that is answered yes or no.
///
/// # Panics
/// As [`eventually`].
pub async fn until<F>(what: &str, within: Duration, mut ask: F)
where
    F: AsyncFnMut() -> bool,
{
    eventually(what, within, async || {
        if ask().await { Ok(()) } else { Err("no".to_owned()) }
    })
    .await;
}
