//! Durations of repeated work, summed up.

use std::time::Duration;

/// The least, the middle and the greatest of some durations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spread {
    /// The least.
    pub least: Duration,
    /// The median; of an even number, the upper of the two in the middle.
    pub median: Duration,
    /// The greatest.
    pub greatest: Duration,
}

impl Spread {
    /// Sums up; none for no durations.
    pub fn of(mut durations: Vec<Duration>) -> Option<Self> {
        durations.sort();
        let (least, greatest) = (*durations.first()?, *durations.last()?);
        Some(Self { least, median: durations[durations.len() / 2], greatest })
    }
}

/// A duration as people read it: `3.2 ms` below a second, `1.5 s` above.
pub fn readable(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else if millis < 1000.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.1} s", millis / 1000.0)
    }
}

/// Whether it is the long form that runs.
pub fn is_soak() -> bool {
    std::env::var_os("CHANCERY_SOAK").is_some()
}

/// How long something goes on: so many seconds, or as many as `CHANCERY_SOAK` says.
pub fn soak(seconds: u64) -> Duration {
    let said = std::env::var("CHANCERY_SOAK").ok().and_then(|said| said.parse().ok());
    Duration::from_secs(said.unwrap_or(seconds))
}
