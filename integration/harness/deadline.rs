//! Waiting for something to come true, with a deadline, by asking again and again; never a sleep that hopes.

use super::{Failure, Outcome};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The time between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks until `probe` answers with something; fails after `limit` with what it was waiting for.
pub async fn until<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> Outcome<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = probe().await {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(Failure::new(format!("waited {limit:?} in vain: {what}")));
        }
        sleep(PAUSE).await;
    }
}

/// Asks for the whole of `span` and fails as soon as `holds` is false: for what must not happen.
pub async fn throughout(what: &str, span: Duration, mut holds: impl AsyncFnMut() -> bool) -> Outcome<()> {
    let end = Instant::now() + span;
    while Instant::now() < end {
        if !holds().await {
            return Err(Failure::new(format!("did not last {span:?}: {what}")));
        }
        sleep(PAUSE).await;
    }
    Ok(())
}
