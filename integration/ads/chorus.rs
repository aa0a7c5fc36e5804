//! What many say is passed on once, however many they are and whatever they say.

use chancery::xds::chorus::{Chorus, DIFFERENT, NAMED, Others, PEERS, QUIET};
use chancery::xds::registry::Registry;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// An address.
fn at(number: usize) -> Option<IpAddr> {
    Some(Ipv4Addr::from_bits(number as u32).into())
}

/// That it was said so often besides, from so many addresses, counted from the first.
fn others(times: u64, peers: usize) -> Option<Others> {
    let among = (0..peers.min(NAMED)).filter_map(at).collect();
    Some(Others { times, peers, among, left_out: 0 })
}

#[test]
fn the_same_is_passed_on_once_and_then_counted() {
    let (chorus, start) = (Chorus::default(), Instant::now());
    let second = Duration::from_secs(1);
    assert_eq!(chorus.hear("a", at(0), start), others(0, 0));
    for number in 0..500 {
        assert_eq!(chorus.hear("a", at(number % 3), start + second), None);
    }
    assert_eq!(chorus.hear("b", at(0), start + second), others(0, 0), "the control: something else is passed on");
    assert_eq!(chorus.hear("a", at(0), start + QUIET), others(500, 3));
    assert_eq!(chorus.hear("a", at(7), start + QUIET + second), None);
    let once = Others { among: at(7).into_iter().collect(), ..others(1, 1).expect("somebody") };
    assert_eq!(chorus.hear("a", at(0), start + QUIET * 3), Some(once));
    assert_eq!(chorus.hear("a", None, start + QUIET * 3), None);
    assert_eq!(chorus.hear("a", None, start + QUIET * 4), others(1, 0), "it is not known from where");
}

#[test]
fn those_who_all_say_the_same_are_bounded() {
    let (chorus, start) = (Chorus::default(), Instant::now());
    chorus.hear("a", at(0), start);
    (0..999).for_each(|number| _ = chorus.hear("a", at(number), start));
    assert_eq!(chorus.hear("a", at(0), start + QUIET), others(999, PEERS));
}

#[test]
fn those_who_all_say_something_else_are_bounded() {
    let (chorus, start) = (Chorus::default(), Instant::now());
    let passed_on = |now| (0..1000).filter(|number| chorus.hear(&format!("{number}"), at(0), now).is_some()).count();
    assert_eq!(passed_on(start), DIFFERENT);
    assert_eq!(passed_on(start + QUIET / 2), 0);
    assert_eq!(passed_on(start + QUIET), DIFFERENT, "and there is room again");
}

/// Who says something else each time is told of all the same: how often, with the next that is passed on, and once.
#[test]
fn what_there_was_no_room_for_is_counted() {
    let (chorus, start) = (Chorus::default(), Instant::now());
    let left_out = |text: &str, now| chorus.hear(text, at(0), now).map(|others| others.left_out);
    for number in 0..DIFFERENT {
        assert_eq!(left_out(&format!("{number}"), start), Some(0), "the control: there is room");
    }
    assert_eq!((left_out("a", start), left_out("b", start), left_out("a", start)), (None, None, None));
    assert_eq!(left_out("0", start + QUIET), Some(3), "also with what was known before");
    assert_eq!(left_out("a", start + QUIET), Some(0), "it was told");
}

/// Handshakes that fail in as many ways as there is room for hide nobody who shows a bad credential.
#[test]
fn nobody_is_unheard_because_of_another_kind_of_complaint() {
    let (registry, now) = (Registry::default(), Instant::now());
    let complaints = registry.complaints();
    let kinds = [&complaints.handshakes, &complaints.credentials, &complaints.rejections, &complaints.visitors];
    for kind in kinds {
        for number in 0..DIFFERENT {
            assert!(kind.hear(&format!("{number}"), at(0), now).is_some(), "the others are full, or empty");
        }
        assert_eq!(kind.hear("the token has expired", at(1), now), None, "the control: this one is full");
    }
}
