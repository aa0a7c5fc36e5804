//! The parts of the bench as threads: a small fleet, the server and the floor. Counts only, no time; so the bench keeps
//! working, and what it says of messages and bytes holds.

#[path = "bench/parts.rs"]
mod parts;

use chancery::snapshot::kind::Kind;
use parts::engine;
use parts::papers::Shows;
use parts::rig::{ASKED, Rig, Side, Taken};
use parts::role::Style;
use parts::signing;
use parts::wire::Form;
use parts::world::{Event, Size};

const PROXIES: usize = 4;
const SERVICES: u64 = 5;

fn small(audiences: u32) -> Rig {
    Rig::start(Style::Threads, Size { services: 5, endpoints: 3, namespaces: 2, proxies: 4, audiences })
}

/// Messages, resources and removed names of a kind.
fn counts(taken: &Taken, kind: Kind) -> [u64; 3] {
    let [messages, resources, removed, _] = taken.counts[kind as usize];
    [messages, resources, removed]
}

/// Kinds of which anything was heard.
fn heard(taken: &Taken) -> Vec<Kind> {
    Kind::ALL.into_iter().filter(|kind| counts(taken, *kind) != [0, 0, 0]).collect()
}

#[test]
fn a_fleet_gets_what_it_asks_for_and_then_what_changes() {
    let mut rig = small(2);
    let early = rig.group(Side::Ours, Form::Delta, 2);
    rig.connect(early, PROXIES);
    rig.happen(early, vec![Event::AddElsewhere(6)], Kind::Route);
    rig.quiet(early);
    rig.leave(early, false);
    for form in [Form::Delta, Form::Sotw] {
        let group = rig.group(Side::Ours, form, 2);
        let first = rig.connect(group, PROXIES);
        assert_eq!(heard(&first), ASKED);
        assert_eq!(counts(&first, Kind::Endpoint)[1], 4 * (SERVICES + 1), "{form:?}");
        assert_eq!(counts(&first, Kind::Route)[1], 4 * 2, "{form:?}: one for each port");
        let moved = rig.happen(group, vec![Event::Move(2)], Kind::Endpoint);
        assert_eq!(heard(&moved), [Kind::Endpoint], "{form:?}: endpoints alone change");
        assert_eq!(counts(&moved, Kind::Endpoint), [4, 4, 0], "{form:?}: one resource each");
        let edited = rig.happen(group, vec![Event::Route(3)], Kind::Route);
        assert_eq!(heard(&edited), [Kind::Route], "{form:?}");
        assert_eq!(counts(&edited, Kind::Route), [4, 4, 0], "{form:?}: of two route configurations the one it is in");
        let added = rig.happen(group, vec![Event::Add(5)], Kind::Endpoint);
        assert_eq!(counts(&added, Kind::Endpoint), [4, 4, 0], "{form:?}: the new cluster's endpoints are asked for");
        rig.quiet(group);
        rig.happen(group, vec![Event::Remove(5)], Kind::Route);
        rig.leave(group, false);
    }
}

#[test]
fn what_stays_as_it_was_is_not_sent() {
    let mut rig = small(2);
    let group = rig.group(Side::Ours, Form::Delta, 2);
    let first = rig.connect(group, PROXIES);
    rig.happen(group, vec![Event::Route(1)], Kind::Route);
    rig.reset(group, false, false);
    rig.storm(vec![Event::Rewrite(0), Event::RewriteRoute(1), Event::Rewrite(1), Event::RewriteRoute(1)], 1000.0);
    rig.quiet(group);
    assert_eq!(rig.report(group).wire, 0, "nothing but generations is new");
    let back = rig.come_back(group, PROXIES);
    assert!(heard(&back).iter().all(|kind| counts(&back, *kind)[1..] == [0, 0]), "{back:?}");
    assert!(back.wire * 10 < first.wire, "{back:?}");
    let moved = rig.happen(group, vec![Event::Move(2)], Kind::Endpoint);
    assert_eq!(counts(&moved, Kind::Endpoint), [4, 4, 0], "and yet they are subscribed");
}

#[test]
fn over_tls_a_fleet_gets_as_much_and_what_is_its_own() {
    let mut rig = small(1);
    let plain = rig.group(Side::Ours, Form::Delta, 1);
    let first = rig.connect(plain, PROXIES);
    assert_eq!((heard(&first), first.resumed), (ASKED.to_vec(), 0), "the control: in plain text nobody has secrets");
    for (shows, resumes) in [(Shows::Token, true), (Shows::Certificate, true), (Shows::Token, false)] {
        let group = rig.secure_group(1, shows, resumes);
        let resumed = |connections: u64| if resumes { connections } else { 0 };
        let first = rig.connect(group, PROXIES);
        assert_eq!((heard(&first), first.resumed), (Kind::ALL.to_vec(), 0), "{shows:?}: there is no session yet");
        // As they are asked for, one by one, and again with the listeners that name them unless they are still to come then.
        rig.quiet(group);
        let [messages, secrets, ..] = rig.report(group).counts[Kind::Secret as usize];
        assert!(messages == secrets && (2 * 4..=2 * 4 * 2).contains(&secrets), "{shows:?}: {messages} with {secrets}");
        assert_eq!(counts(&first, Kind::Endpoint)[1], 4 * SERVICES, "{shows:?}");
        let moved = rig.happen(group, vec![Event::Move(2)], Kind::Endpoint);
        assert_eq!(counts(&moved, Kind::Endpoint), [4, 4, 0], "{shows:?}: one resource each");
        let back = rig.come_back(group, PROXIES);
        assert!(heard(&back).iter().all(|kind| counts(&back, *kind)[1..] == [0, 0]), "{shows:?}: {back:?}");
        assert_eq!(back.resumed, resumed(4), "{shows:?} {resumes}");
        let knocks = rig.knock(group, 2, 3);
        assert_eq!((knocks.times.len(), knocks.resumed), (6, resumed(6)), "{shows:?} {resumes}");
        rig.leave(group, false);
    }
}

#[test]
fn the_authority_by_itself_signs() {
    let costs = signing::costs(1);
    assert!(costs.iter().all(|(_, cpu)| *cpu > 0), "{costs:?}");
}

#[test]
fn the_engine_by_itself_builds_what_changes() {
    let cost = engine::cost(100, 20);
    assert!(cost.built == 20 && cost.cpu > 0, "{cost:?}");
}

#[test]
fn the_floor_writes_the_same_bytes() {
    let mut rig = small(1);
    let ours = rig.group(Side::Ours, Form::Delta, 1);
    let first = rig.connect(ours, PROXIES);
    rig.record(ours, &ASKED, "answers");
    rig.floor_answers(Some("answers"));
    let floor = rig.group(Side::Floor, Form::Delta, 1);
    assert_eq!(rig.connect(floor, PROXIES).counts, first.counts);
    let moved = rig.happen(ours, vec![Event::Move(2)], Kind::Endpoint);
    rig.record(ours, &[Kind::Endpoint], "push");
    assert_eq!(rig.push(floor, "push", Kind::Endpoint).counts, moved.counts);
}
