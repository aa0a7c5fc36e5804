//! The controls of the oracles: a good trace passes them all, and for each there is a change to it that this one notices.

use crate::replay::Stage;
use crate::trace::oracles::ALL;
use crate::trace::{Asked, Event, Sent, Trace, What};
use chancery::snapshot::kind::Kind;
use chancery::xds::gate::Options;
use std::time::Duration;

/// A conversation in which everything happens once.
const GOOD: &str = "\
world cds a=1>eds:a b=1 eds a=1 lds l=1>rds:r rds r=1>cds:a
stream delta
client cds
client lds
client eds +a
client rds +r
client cds ack 1
client lds ack 2
client eds ack 3
client rds ack 4
world cds a=2>eds:a eds a=2 rds r=2>cds:a
client cds ack 5
client eds ack 6
client rds ack 7
world cds -b
client cds ack 8
world cds c=1 rds r=3>cds:c
client cds ack 9
client rds ack 10";

fn good() -> Trace {
    let mut stage = Stage::new(Options::default());
    for line in GOOD.lines() {
        stage.play(line).expect("a line of the grammar");
    }
    stage.rest();
    stage.trace
}

/// Where the response of that nonce stands.
fn sent(events: &[Event], nonce: &str) -> usize {
    let is = |event: &Event| matches!(&event.what, What::Sent(sent) if sent.nonce == nonce);
    events.iter().position(is).expect("the conversation has it")
}

/// Where the answer to that nonce stands.
fn answer(events: &[Event], nonce: &str) -> usize {
    let is = |event: &Event| matches!(&event.what, What::Asked(asked) if asked.nonce == nonce);
    events.iter().position(is).expect("the conversation has it")
}

fn response(event: &mut Event) -> &mut Sent {
    let What::Sent(sent) = &mut event.what else { panic!("not a response") };
    sent
}

/// The response once more, some time later, under another nonce.
fn again(events: &mut Vec<Event>, nonce: &str, new: &str) {
    let at = answer(events, nonce) + 1;
    let mut copy = events[sent(events, nonce)].clone();
    response(&mut copy).nonce = new.to_owned();
    let asked = Asked { kind: Some(response(&mut copy).kind), nonce: new.to_owned(), ..Asked::default() };
    let answer = Event { what: What::Asked(asked), ..copy.clone() };
    events.splice(at..at, [copy, answer]);
}

/// What is done to the good trace so that an oracle has to notice.
fn doctor(oracle: &str, events: &mut Vec<Event>) {
    match oracle {
        "rules" => {
            let at = sent(events, "5");
            response(&mut events[at]).resources[0].1 ^= 1;
        }
        "nothing unfounded is taken away (I1)" => {
            let at = sent(events, "8");
            response(&mut events[at]).removed.push("a".to_owned());
        }
        "accepted is what is desired (I2)" => _ = events.remove(answer(events, "10")),
        "a response has a reason (I3)" => {
            let at = sent(events, "7");
            for nonce in ["90", "91"] {
                let mut copy = events[at].clone();
                response(&mut copy).nonce = nonce.to_owned();
                events.insert(at + 1, copy);
            }
        }
        "what waits is bounded (I4)" => {
            let at = sent(events, "5");
            events.insert(at, Event { what: What::Waiting(1_000), ..events[at].clone() });
        }
        "order on the wire (P49)" => {
            let (clusters, routes) = (sent(events, "5"), sent(events, "7"));
            events.swap(clusters, routes);
        }
        "one in flight (P55)" => {
            let at = answer(events, "1");
            events.remove(at);
        }
        "nonces are unique (P42)" => {
            let at = sent(events, "7");
            response(&mut events[at]).nonce = "6".to_owned();
        }
        "equal content is not sent again (P11, P52)" => again(events, "7", "92"),
        "what is named is there (P50, P51)" => {
            let at = answer(events, "9");
            let What::Asked(asked) = &mut events[at].what else { panic!("not a request") };
            asked.error = Some("c is bad".to_owned());
        }
        other => panic!("no control for {other:?}"),
    }
}

#[test]
fn a_good_trace_passes() {
    let trace = good();
    assert_eq!(trace.violations(), Vec::<String>::new());
    let kinds: Vec<Kind> =
        trace.events.iter().filter_map(|e| if let What::Sent(s) = &e.what { Some(s.kind) } else { None }).collect();
    assert_eq!(kinds.len(), 10, "the conversation is as long as it says: {kinds:?}");
}

#[test]
fn each_oracle_notices_a_doctored_trace() {
    for (name, oracle) in ALL {
        let mut trace = good();
        doctor(name, &mut trace.events);
        assert!(!oracle(&trace.events).is_empty(), "{name} notices nothing");
    }
}

/// Whatever comes long after the last change is late.
#[test]
fn what_is_sent_too_late_is_noticed() {
    let mut trace = good();
    let at = sent(&trace.events, "10");
    trace.events[at..].iter_mut().for_each(|event| event.at += Duration::from_secs(61));
    let wrong = trace.violations();
    assert!(wrong.iter().any(|text| text.contains("after the last change")), "{wrong:?}");
}

/// A cluster that is gone is not taken away while routes are held that name it, though they are about to change.
#[test]
fn a_cluster_that_goes_too_early_is_noticed() {
    let mut trace = good();
    let at = sent(&trace.events, "9");
    let world = trace.events[..at].iter_mut().rev().find_map(|event| match &mut event.what {
        What::World(world) => Some(world),
        _ => None,
    });
    world.expect("there is one").remove(&(Kind::Cluster, "a".to_owned()));
    let mut early = trace.events[at].clone();
    let gone = response(&mut early);
    (gone.nonce, gone.resources, gone.removed) = ("93".to_owned(), Vec::new(), vec!["a".to_owned()]);
    trace.events.insert(at + 1, early);
    let wrong = trace.violations();
    assert!(wrong.iter().any(|text| text.contains("a is taken away, and rds r still names it")), "{wrong:?}");
}
