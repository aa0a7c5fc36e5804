//! An alarm: waits until a time that may be another one at every look, or for ever where there is none.
//!
//! One timer, kept as long as the alarm: putting it off, or switching it off, takes no lock that all timers share, and
//! leaving it as it is costs nothing.

use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// As good as never.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// An alarm. It has no timer until it is first set.
#[derive(Debug, Default)]
pub struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
    set: Option<Instant>,
}

impl Alarm {
    /// Waits until that time; for ever, if there is none. Cancel safe.
    pub async fn at(&mut self, time: Option<Instant>) {
        if self.set != time {
            self.set(time);
        }
        match &mut self.timer {
            Some(timer) if time.is_some() => timer.as_mut().await,
            _ => std::future::pending().await,
        }
    }

    fn set(&mut self, time: Option<Instant>) {
        self.set = time;
        match (&mut self.timer, time) {
            (Some(timer), Some(time)) => timer.as_mut().reset(time),
            (Some(timer), None) => {
                let never = timer.deadline() + NEVER;
                timer.as_mut().reset(never);
            }
            (None, Some(time)) => self.timer = Some(Box::pin(sleep_until(time))),
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long the alarm takes when it is set to so many seconds from now; none for more than a minute.
    async fn rings(alarm: &mut Alarm, seconds: Option<u64>) -> Option<u64> {
        let now = Instant::now();
        let time = seconds.map(|seconds| now + SECOND * seconds as u32);
        let rung = timeout(SECOND * 60, alarm.at(time)).await.is_ok();
        rung.then(|| now.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_when_it_was_set_to_last() {
        let mut alarm = Alarm::default();
        assert_eq!(rings(&mut alarm, None).await, None, "it was never set");
        for seconds in [5, 3, 9, 0, 1] {
            assert_eq!(rings(&mut alarm, Some(seconds)).await, Some(seconds));
        }
        let later = Some(Instant::now() + SECOND * 20);
        assert!(timeout(SECOND, alarm.at(later)).await.is_err(), "it is put off");
        assert_eq!(rings(&mut alarm, None).await, None, "it is switched off");
        assert_eq!(rings(&mut alarm, Some(2)).await, Some(2), "and on again");
    }
}
