//! What many say is passed on once, however many they are and whatever they say.

use chancery::xds::chorus::{Chorus, DIFFERENT, QUIET};
use std::time::{Duration, Instant};

#[test]
fn the_same_is_passed_on_once_and_then_counted() {
    let (chorus, start) = (Chorus::default(), Instant::now());
    let second = Duration::from_secs(1);
    assert_eq!(chorus.hear("a", start), Some(0));
    for _ in 0..500 {
        assert_eq!(chorus.hear("a", start + second), None);
    }
    assert_eq!(chorus.hear("b", start + second), Some(0), "the control: something else is passed on");
    assert_eq!(chorus.hear("a", start + QUIET), Some(500));
    assert_eq!(chorus.hear("a", start + QUIET + second), None);
    assert_eq!(chorus.hear("a", start + QUIET * 3), Some(1));
}

#[test]
fn those_who_all_say_something_else_are_bounded() {
    let (chorus, start) = (Chorus::default(), Instant::now());
    let passed_on = |now| (0..1000).filter(|number| chorus.hear(&format!("{number}"), now).is_some()).count();
    assert_eq!(passed_on(start), DIFFERENT);
    assert_eq!(passed_on(start + QUIET / 2), 0);
    assert_eq!(passed_on(start + QUIET), DIFFERENT, "and there is room again");
}
