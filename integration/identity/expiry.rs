//! A certificate of a Secret that ends while it is in use is told of when it does.

use super::authority::DAY;
use chancery::app::expiry;
use chancery::clock::Clock;
use chancery::model::object::{Meta, Object, Stored};
use chancery::model::problem::{Cause, Problem, Severity};
use chancery::model::provenance::{ObjectKey, ObjectKind, ObjectRef};
use chancery::model::secret::{Ends, Pair, Secret};
use chancery::model::sensitive::Sensitive;
use chancery::model::world::{State, World};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

const BEGUN: u64 = 1_800_000_000;
/// By when it is noticed.
const SOON: Duration = Duration::from_secs(6);

fn key(name: &str) -> ObjectKey {
    ObjectKey { kind: ObjectKind::Secret, namespace: "shop".into(), name: name.into() }
}

/// A Secret whose certificate ends then.
fn secret(name: &str, at: u64) -> (ObjectKey, Option<Object>) {
    let ends = Ends { at, said: "that day".into(), field: r#"data["tls.crt"]"#.into() };
    let pair = Pair { chain: format!("{at}").into(), key: Sensitive::new(b"key".to_vec()), ends };
    let meta = Meta { reference: ObjectRef { key: key(name), uid: None, generation: None }, created: None };
    let value = Secret { pair: Some(pair), authorities: None };
    (key(name), Some(Object::Secret(Stored::new(meta, value))))
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_told_of_when_it_ends() {
    let (set, begun) = (Arc::new(AtomicI64::new(0)), Instant::now());
    let by = set.clone();
    let wall = move || Duration::from_secs(BEGUN.saturating_add_signed(by.load(Ordering::Relaxed)));
    let clock = Clock::of(move || wall() + begun.elapsed());
    let mut world = World::default();
    world.apply([secret("first", BEGUN + 3600), secret("last", BEGUN + 2 * DAY)]);
    let states = watch::Sender::new(Some(State { world, since: None }));
    let other = Problem {
        object: key("other"),
        field: String::new(),
        severity: Severity::Warning,
        text: "is odd".to_owned(),
        cause: Cause::Content,
    };
    let found = watch::Sender::new(Arc::new(BTreeSet::from([other])));
    let (told, problems) = watch::channel(expiry::Problems::default());
    tokio::spawn(expiry::run(states.subscribe(), found.subscribe(), clock, told));
    let names = || Vec::from_iter(problems.borrow().iter().map(|problem| problem.object.name.to_string()));
    sleep(SOON).await;
    assert_eq!(names(), ["other"], "the control: none has ended");
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(names(), ["first", "other"]);
    let text = "error: Secret shop/first: data[\"tls.crt\"]: has expired: the certificate was good until that day";
    assert!(problems.borrow().iter().any(|problem| problem.to_string() == text), "{:?}", problems.borrow());
    set.store(3 * DAY as i64, Ordering::Relaxed);
    sleep(SOON).await;
    assert_eq!(names(), ["first", "last", "other"], "the clock was set");
    set.store(0, Ordering::Relaxed);
    states.send_modify(|state| _ = state.as_mut().expect("a World").world.apply([secret("first", BEGUN + 9 * DAY)]));
    sleep(SOON).await;
    assert_eq!(names(), ["other"], "it was right before, and the first is another");
    // What translation finds is told at once.
    found.send_replace(Arc::default());
    sleep(Duration::from_millis(10)).await;
    assert_eq!(names(), [""; 0]);
}
