//! What is written, given what is known and what is stored.

use chancery::model::problem::{Cause, Problem, Severity};
use chancery::model::provenance::{ObjectKey, ObjectKind};
use chancery::model::reach::{Reach, Reaches, Standing};
use chancery::source::kubernetes::inventory::{Entry, Inventory, Which};
use chancery::source::kubernetes::kinds::{KINDS, Watched};
use chancery::source::kubernetes::news::Id;
use chancery::status::clerk::{Clerk, Complaint, Draft, Facts};
use chancery::status::desk::Outcome;
use chancery::status::shape::{PROGRAMMED, Status};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn kind() -> &'static Watched {
    KINDS.iter().find(|kind| kind.plural == "virtualservices").expect("it is watched")
}

fn which(name: &str) -> Which {
    Which::of(kind(), &Id { namespace: "shop".into(), name: name.into() })
}

fn entry(version: &str, generation: i64, status: &str) -> Entry {
    let (uid, version, status) = ("uid".into(), version.into(), status.into());
    Entry { kind: kind(), served: "v1", uid, version, generation: Some(generation), status }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey { kind: ObjectKind::VirtualService, namespace: "shop".into(), name: name.into() }
}

fn facts(entries: &[(&str, Entry)], problems: &[Problem]) -> Facts {
    let reach = |entry: &Entry| Reach { generation: entry.generation, identity: None, targeted: 3, live: 3 };
    let inventory: Inventory = entries.iter().map(|(name, entry)| (which(name), entry.clone())).collect();
    let objects = entries.iter().map(|(name, entry)| (key(name), reach(entry))).collect();
    let problems: BTreeSet<_> = problems.iter().cloned().collect();
    let told = Facts::gather(&[], &[&problems]);
    let reaches = Reaches { objects, partial: false };
    Facts { inventory, told, standing: Arc::new(Standing { reaches, ..Standing::default() }), coming: false }
}

fn rejection(name: &str) -> Problem {
    let (severity, cause) = (Severity::Error, Cause::Rejection("proxy x rejects".into()));
    Problem { object: key(name), field: String::new(), severity, text: "it".into(), cause }
}

/// What the API server would have after a write.
fn stored(draft: &Draft, version: &str) -> Entry {
    let before = Status::stored(&draft.entry.status);
    let status = serde_json::to_string(&draft.status.clone().over(&before, "2026-01-01T00:00:00Z")).expect("JSON");
    Entry { version: version.into(), status: status.into(), ..draft.entry.clone() }
}

const LATER: Duration = Duration::from_secs(2);

#[test]
fn what_is_stored_is_not_written_again_by_whoever_comes_later() {
    let start = Instant::now();
    let mut clerk = Clerk::new(start);
    clerk.learn(facts(&[("a", entry("1", 7, ""))], &[]), start);
    assert_eq!(clerk.waiting(), 1);
    let draft = clerk.next(start + LATER).expect("it is due");
    assert_eq!((draft.which.clone(), &*draft.entry.version), (which("a"), "1"));
    let after = stored(&draft, "2");
    clerk.done(&draft, Outcome::Written, Some(after.clone()), start + LATER);
    assert_eq!(clerk.waiting(), 0);
    // The watch is late, and something else happens.
    clerk.learn(facts(&[("a", entry("1", 7, "")), ("b", entry("1", 1, &after.status))], &[]), start + LATER);
    assert_eq!(clerk.waiting(), 1, "of b only: that status is of another generation");
    for mut clerk in [clerk, Clerk::new(start)] {
        clerk.learn(facts(&[("a", after.clone())], &[]), start + LATER * 2);
        assert!(clerk.next(start + LATER * 4).is_none(), "it is stored");
    }
}

/// The control: a status that somebody spoilt is written again.
#[test]
fn what_is_stored_otherwise_is_written() {
    let start = Instant::now();
    let mut clerk = Clerk::new(start);
    clerk.learn(facts(&[("a", entry("1", 7, ""))], &[]), start);
    let draft = clerk.next(start + LATER).expect("it is due");
    let good = stored(&draft, "2");
    clerk.done(&draft, Outcome::Written, Some(good.clone()), start + LATER);
    let spoilt = good.status.replace("Programmed", "Otherwise");
    clerk.learn(facts(&[("a", entry("3", 7, &spoilt))], &[]), start + LATER);
    let again = clerk.next(start + LATER * 4).expect("it is due");
    assert_eq!(&*again.entry.version, "3");
}

/// Somebody writes something else in place of what we wrote, again and again. Once, or after another edit, means nothing.
#[test]
fn whoever_writes_over_a_status_again_and_again_is_noticed() {
    let start = Instant::now();
    let (mut clerk, mut now) = (Clerk::new(start), start);
    clerk.learn(facts(&[("a", entry("1", 7, ""))], &[]), now);
    for round in 0..4 {
        now += LATER * 30;
        let draft = clerk.next(now).expect("it is due");
        let good = stored(&draft, &format!("{round}-ours"));
        clerk.done(&draft, Outcome::Written, Some(good.clone()), now);
        assert_eq!(clerk.disputed().count(), usize::from(round >= 3), "{round}");
        let spoilt = good.status.replace("Programmed", "Otherwise");
        let theirs = facts(&[("a", entry(&format!("{round}-theirs"), 7, &spoilt))], &[]);
        clerk.learn(theirs.clone(), now);
        clerk.learn(theirs, now);
    }
    assert_eq!(clerk.disputed().collect::<Vec<_>>(), [&which("a")]);
    clerk.learn(facts(&[], &[]), now);
    assert_eq!(clerk.disputed().count(), 0, "it is gone");
}

#[test]
fn the_newest_is_written_and_nothing_of_what_is_gone() {
    let start = Instant::now();
    let mut clerk = Clerk::new(start);
    clerk.learn(facts(&[("a", entry("1", 7, "")), ("b", entry("1", 7, ""))], &[]), start);
    clerk.learn(facts(&[("a", entry("2", 8, ""))], &[]), start);
    let draft = clerk.next(start + LATER).expect("it is due");
    assert_eq!((&*draft.entry.version, draft.entry.generation), ("2", Some(8)));
    assert!(clerk.next(start + LATER).is_none(), "b is gone");
}

#[test]
fn a_write_that_was_too_late_is_made_anew_from_what_is_known_then() {
    let start = Instant::now();
    let mut clerk = Clerk::new(start);
    clerk.learn(facts(&[("a", entry("1", 7, ""))], &[]), start);
    let draft = clerk.next(start + LATER).expect("it is due");
    clerk.done(&draft, Outcome::Refused, None, start + LATER);
    assert_eq!(clerk.waiting(), 1, "it is tried again, if the watch says nothing");
    clerk.learn(facts(&[("a", stored(&draft, "2"))], &[]), start + LATER);
    assert!(clerk.next(start + LATER * 10).is_none(), "somebody else wrote the same");
}

#[test]
fn a_rejection_is_said_at_once_and_complained_of_once() {
    let start = Instant::now();
    let mut clerk = Clerk::new(start);
    clerk.learn(facts(&[("a", entry("1", 7, ""))], &[]), start);
    let draft = clerk.next(start + LATER).expect("it is due");
    let good = stored(&draft, "2");
    clerk.done(&draft, Outcome::Written, Some(good.clone()), start + LATER);
    let now = start + LATER * 2;
    let rejected = facts(&[("a", good)], &[rejection("a")]);
    clerk.learn(rejected.clone(), now);
    let draft = clerk.next(now + Duration::from_millis(150)).expect("it is due at once");
    assert_eq!(draft.status.condition(PROGRAMMED).expect("it is there").reason, "Rejected");
    clerk.learn(rejected, now);
    let complaints = clerk.complaints(64);
    assert_eq!(complaints.len(), 1);
    assert_eq!((&complaints[0].which, &*complaints[0].text), (&which("a"), "a proxy rejects it"));
    assert!(clerk.complaints(64).is_empty());
}

/// More is broken than can be told at once: what found no room is offered again, each once, and what was healed meanwhile is not.
#[test]
fn what_there_was_no_room_to_tell_is_told_later() {
    let start = Instant::now();
    let mut clerk = Clerk::new(start);
    let slices = KINDS.iter().find(|kind| kind.plural == "endpointslices").expect("it is watched");
    let names: Vec<String> = (0..100).map(|number| format!("slice-{number:03}")).collect();
    let broken = |names: &[String]| {
        let problems = names.iter().map(|name| {
            let object = ObjectKey { kind: ObjectKind::EndpointSlice, ..key(name) };
            let (severity, cause) = (Severity::Error, Cause::Content);
            Problem { object, field: String::new(), severity, text: "no".into(), cause }
        });
        let problems: Vec<_> = problems.collect();
        let mut facts = facts(&[], &problems);
        for name in names {
            let entry = Entry { kind: slices, generation: None, uid: name.as_str().into(), ..entry("1", 0, "") };
            facts.inventory.insert(Which::of(slices, &which(name).id), entry);
        }
        facts
    };
    clerk.learn(broken(&names), start);
    assert!(clerk.complaints(0).is_empty(), "the control: without room nothing is told");
    let told = |complaints: Vec<Complaint>| -> Vec<String> {
        complaints.into_iter().map(|complaint| complaint.which.id.name.to_string()).collect()
    };
    assert_eq!(told(clerk.complaints(64)), names[..64]);
    // Nothing happens but that the same is said again.
    clerk.learn(broken(&names), start);
    clerk.learn(broken(&names[..90]), start);
    assert_eq!(told(clerk.complaints(16)), names[64..80]);
    assert_eq!(told(clerk.complaints(64)), names[80..90], "those that are gone are not told of");
    assert!(clerk.complaints(64).is_empty());
    assert_eq!(clerk.dropped(), 0);
}

/// What is not understood is complained of once for each generation; of a kind without a status once for each thing that is wrong, and
/// nothing is written on it.
#[test]
fn what_is_broken_is_complained_of_once() {
    let start = Instant::now();
    let mut clerk = Clerk::new(start);
    let mistake = |key: ObjectKey, text: &str| {
        let (field, severity, cause) = ("spec.x".to_owned(), Severity::Error, Cause::Content);
        Problem { object: key, field, severity, text: text.into(), cause }
    };
    let mut complaints = |generation: i64, text: &str| {
        let service = KINDS.iter().find(|kind| kind.plural == "services").expect("it is watched");
        let (id, of) = (which("a").id, ObjectKey { kind: ObjectKind::Service, ..key("a") });
        let mut facts = facts(&[("a", entry("1", generation, ""))], &[mistake(key("a"), text), mistake(of, text)]);
        let broken = Entry { kind: service, generation: None, ..entry("1", 0, "") };
        facts.inventory.insert(Which::of(service, &id), broken);
        clerk.learn(facts, start);
        assert_eq!(clerk.waiting(), 1, "only our own kind has a status");
        let told = clerk.complaints(64).into_iter();
        told.map(|told| (told.which.plural, told.reason.as_str(), told.text)).collect::<Vec<_>>()
    };
    let said = |plural, text: &str| (plural, "Invalid", format!("spec.x: {text}"));
    assert_eq!(complaints(1, "no"), [said("services", "no"), said("virtualservices", "no")]);
    assert_eq!(complaints(1, "no"), []);
    assert_eq!(complaints(1, "never"), [said("services", "never")]);
    assert_eq!(complaints(2, "never"), [said("virtualservices", "never")]);
}

#[test]
fn kinds_that_may_not_be_written_are_left_alone_for_a_while() {
    let start = Instant::now();
    let mut clerk = Clerk::new(start);
    clerk.learn(facts(&[("a", entry("1", 7, "")), ("b", entry("1", 7, ""))], &[]), start);
    let mut now = start + LATER;
    let draft = clerk.next(now).expect("it is due");
    clerk.deny(&draft.which, now);
    clerk.done(&draft, Outcome::Postponed, None, now);
    assert!(clerk.next(now).is_none(), "nor b");
    assert_eq!(clerk.waiting(), 2);
    now += Duration::from_secs(12);
    assert!(clerk.next(now).is_some());
}
