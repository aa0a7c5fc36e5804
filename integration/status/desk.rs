//! What waits to be written, and when each may be.

use chancery::status::desk::{Desk, Outcome, ROOM, Urgency};
use std::time::{Duration, Instant};

const GENERATION: Option<i64> = Some(1);

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// When the next is given out, written at once.
fn write(desk: &mut Desk<&'static str>, from: Instant) -> (&'static str, Instant) {
    let mut now = from;
    loop {
        if let Some(key) = desk.take(now) {
            desk.done(&key, Outcome::Written, now);
            return (key, now);
        }
        now = desk.next().expect("something waits").max(now + millis(1));
    }
}

#[test]
fn each_waits_once_and_a_rejection_goes_first() {
    let start = Instant::now();
    let mut desk = Desk::new(start);
    for _ in 0..3 {
        assert!(desk.want(&"a", Urgency::Change, GENERATION, start));
    }
    desk.want(&"b", Urgency::Rejection, GENERATION, start);
    assert_eq!(desk.len(), 2);
    assert_eq!(desk.take(start), None, "what belongs together is written together");
    let now = start + millis(300);
    assert_eq!(desk.take(now), Some("b"));
    assert_eq!(desk.take(now), Some("a"));
    assert_eq!(desk.take(now), None);
    desk.want(&"a", Urgency::Change, GENERATION, now);
    assert!(desk.is_empty(), "whoever writes it looks again");
    desk.done(&"a", Outcome::Written, now);
    desk.want(&"a", Urgency::Change, GENERATION, now);
    desk.unwant(&"a");
    assert_eq!(desk.take(now + millis(60_000)), None);
}

#[test]
fn progress_is_written_every_few_seconds_and_the_end_of_it_soon() {
    let start = Instant::now();
    let mut desk = Desk::new(start);
    desk.want(&"a", Urgency::Change, GENERATION, start);
    let (_, first) = write(&mut desk, start);
    desk.want(&"a", Urgency::Progress, GENERATION, first);
    let (_, second) = write(&mut desk, first);
    assert!(second >= first + millis(5_000), "{:?}", second - first);
    desk.want(&"a", Urgency::Progress, GENERATION, second);
    desk.want(&"a", Urgency::Change, GENERATION, second + millis(100));
    let (_, third) = write(&mut desk, second);
    assert!(third < second + millis(4_500), "{:?}", third - second);
}

#[test]
fn what_turns_again_and_again_is_written_ever_more_rarely_until_somebody_changes_it() {
    let start = Instant::now();
    let mut desk = Desk::new(start);
    let (mut now, mut writes) = (start, Vec::new());
    for _ in 0..12 {
        desk.want(&"a", Urgency::Rejection, GENERATION, now);
        now = write(&mut desk, now).1;
        writes.push(now);
    }
    let gaps: Vec<_> = writes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.is_sorted() && gaps[0] <= millis(1_100), "{gaps:?}");
    assert_eq!(gaps.last(), Some(&millis(30_000)));
    desk.want(&"a", Urgency::Change, Some(2), now);
    assert!(write(&mut desk, now).1 <= now + millis(1_100), "another generation begins anew");
}

#[test]
fn a_rejection_of_another_generation_waits_for_none_of_the_writes_before() {
    let start = Instant::now();
    let mut desk = Desk::new(start);
    desk.want(&"a", Urgency::Change, GENERATION, start);
    let (_, first) = write(&mut desk, start);
    // Somebody changes it soon after: that it is on its way is written, and then a proxy rejects it.
    desk.want(&"a", Urgency::Change, Some(2), first + millis(5_000));
    let (_, second) = write(&mut desk, first + millis(5_000));
    desk.want(&"a", Urgency::Rejection, Some(2), second + millis(50));
    let (_, third) = write(&mut desk, second + millis(50));
    assert!(third <= second + millis(200), "{:?}", third - second);
    // The control: what turns again waits for that.
    desk.want(&"a", Urgency::Rejection, Some(2), third + millis(50));
    let (_, fourth) = write(&mut desk, third + millis(50));
    assert!(fourth >= third + millis(2_000), "{:?}", fourth - third);
}

#[test]
fn so_many_are_written_in_a_second_and_no_more() {
    let start = Instant::now();
    let mut desk = Desk::new(start);
    let keys: Vec<u32> = (0..1_000).collect();
    for key in &keys {
        desk.want(key, Urgency::Change, GENERATION, start);
    }
    let mut within = [0; 10];
    for tick in 0..10_000_u64 {
        let now = start + millis(tick);
        while let Some(key) = desk.take(now) {
            desk.done(&key, Outcome::Written, now);
            within[usize::try_from(tick / 1_000).expect("small")] += 1;
        }
    }
    assert!((50..=75).contains(&within[0]), "{within:?}");
    assert!(within[1..].iter().all(|count| (24..=26).contains(count)), "{within:?}");
}

#[test]
fn after_a_failure_nothing_is_written_for_a_while_and_after_a_refusal_not_that_one() {
    let start = Instant::now();
    let mut desk = Desk::new(start);
    let mut now = start;
    let mut pauses = Vec::new();
    for _ in 0..10 {
        desk.want(&"a", Urgency::Change, GENERATION, now);
        desk.want(&"b", Urgency::Change, GENERATION, now);
        now += millis(20_000);
        let key = desk.take(now).expect("one waits");
        desk.done(&key, Outcome::Failed, now);
        assert_eq!(desk.take(now), None, "nor any other");
        pauses.push(desk.next().map_or(Duration::ZERO, |next| next - now));
    }
    assert!(pauses[9] >= millis(7_500) && pauses[9] <= millis(15_000), "{pauses:?}");
    now += millis(20_000);
    desk.want(&"a", Urgency::Change, GENERATION, now);
    desk.want(&"b", Urgency::Change, GENERATION, now);
    now += millis(1_000);
    assert_eq!(desk.take(now), Some("b").filter(|_| false).or(Some("a")));
    desk.done(&"a", Outcome::Refused, now);
    assert_eq!(desk.take(now), Some("b"));
    desk.done(&"b", Outcome::Postponed, now);
    desk.want(&"a", Urgency::Change, GENERATION, now);
    desk.want(&"b", Urgency::Change, GENERATION, now);
    assert_eq!(desk.take(now + millis(900)), None);
    assert_eq!(desk.take(now + millis(1_100)), Some("a"));
    assert_eq!(desk.take(now + millis(10_900)), None);
    assert_eq!(desk.take(now + millis(11_100)), Some("b"));
}

#[test]
fn there_is_room_for_so_many_and_what_was_written_long_ago_makes_room() {
    let start = Instant::now();
    let mut desk = Desk::new(start);
    for key in 0..ROOM {
        assert!(desk.want(&key, Urgency::Change, GENERATION, start));
    }
    assert!(!desk.want(&ROOM, Urgency::Change, GENERATION, start), "there is none");
    desk.unwant(&0);
    assert!(desk.want(&ROOM, Urgency::Change, GENERATION, start + millis(61_000)));
}
