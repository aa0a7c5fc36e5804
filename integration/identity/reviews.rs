//! Tokens that an API server is asked about: for which it is asked at all, what its answers prove, and how long they count.

use chancery::model::identity::{BoundPod, Identity};
use chancery::tokens::issuer::Issuer;
use chancery::tokens::review::{Answers, BAD, GOOD, MOST, Print, Review, claimed, proven};
use chancery::tokens::{Distrust, Proof};
use std::time::Duration;

const NOW: u64 = 1_800_000_000;
const HOUR: Duration = Duration::from_secs(3600);

fn cart() -> Identity {
    let pod = BoundPod { name: "cart-1".into(), uid: "4f1c".into() };
    Identity { pod: Some(pod), ..Identity::new("shop".into(), "cart".into()) }
}

fn good(until: u64) -> Result<Proof, Distrust> {
    Ok(Proof { identity: cart(), until })
}

fn print(number: usize) -> Print {
    Print::of(&number.to_string())
}

#[test]
fn nobody_is_asked_about_a_token_that_says_itself_that_it_is_not_good() {
    let issuer = Issuer::of_pem(&Issuer::new_key().expect("a key")).expect("an issuer");
    let token = |audience, now| issuer.issue(&cart(), audience, now, HOUR).expect("a token");
    assert_eq!(claimed(&token("chancery", NOW), "chancery", NOW), Ok(NOW + 3600), "the control");
    assert_eq!(claimed(&token("other", NOW), "chancery", NOW), Err(Distrust::Audience("chancery".into())));
    assert_eq!(claimed(&token("chancery", NOW - 7200), "chancery", NOW), Err(Distrust::Expired));
    // Its very end is the end: no answer about it would be kept.
    assert_eq!(claimed(&token("chancery", NOW - 3600), "chancery", NOW), Err(Distrust::Expired));
    assert_eq!(claimed(&token("chancery", NOW - 3599), "chancery", NOW), Ok(NOW + 1), "the control");
    assert_eq!(claimed(&token("chancery", NOW + 7200), "chancery", NOW), Err(Distrust::Early));
    assert_eq!(claimed("nonsense", "chancery", NOW), Err(Distrust::Malformed));
    assert_eq!(claimed(&"x".repeat(100_000), "chancery", NOW), Err(Distrust::TooLong));
}

#[test]
fn a_review_proves_what_it_says_and_nothing_else() {
    let audiences = ["chancery".to_owned()];
    let review =
        Review { user: "system:serviceaccount:shop:cart", audiences: &audiences, pod: Some(("cart-1", "4f1c")) };
    assert_eq!(proven(review, "chancery", NOW), good(NOW));
    let unbound = proven(Review { pod: None, ..review }, "chancery", NOW).expect("a proof");
    assert_eq!(unbound.identity, Identity::new("shop".into(), "cart".into()));
    for user in ["", "admin", "system:node:a", "system:serviceaccount:shop"] {
        assert_eq!(proven(Review { user, ..review }, "chancery", NOW), Err(Distrust::Malformed), "{user}");
    }
    // An API server that knows nothing of audiences says nothing of them.
    let elsewhere = ["https://kubernetes.default.svc".to_owned()];
    for audiences in [&[][..], &elsewhere] {
        let refused = proven(Review { audiences, ..review }, "chancery", NOW);
        assert_eq!(refused, Err(Distrust::Audience("chancery".into())));
    }
}

#[test]
fn answers_count_for_a_while() {
    let mut answers = Answers::default();
    answers.put(print(1), good(NOW + 3600), NOW);
    answers.put(print(2), good(NOW + 5), NOW);
    answers.put(print(3), Err(Distrust::Refused), NOW);
    let counts = |answers: &Answers, number, after| answers.get(&print(number), NOW + after).cloned();
    assert_eq!(counts(&answers, 1, GOOD - 1), Some(good(NOW + 3600)));
    assert_eq!(counts(&answers, 1, GOOD), None);
    assert_eq!(
        (counts(&answers, 2, 4), counts(&answers, 2, 5)),
        (Some(good(NOW + 5)), None),
        "no longer than it lasts"
    );
    assert_eq!((counts(&answers, 3, BAD - 1), counts(&answers, 3, BAD)), (Some(Err(Distrust::Refused)), None));
    assert_eq!(counts(&answers, 4, 0), None);
    assert_eq!(answers.get(&print(1), NOW - 1), None, "nor one that is given later, if the clock was set back");
    // What counts no more is forgotten when the next comes.
    answers.put(print(4), good(NOW + 3600), NOW + GOOD);
    assert_eq!(answers.len(), 1);
    answers.put(print(4), Err(Distrust::Refused), NOW + GOOD);
    assert_eq!(answers.get(&print(4), NOW + GOOD), Some(&Err(Distrust::Refused)), "the last counts");
}

#[test]
fn who_makes_up_tokens_forgets_no_good_one_and_fills_nothing() {
    let mut answers = Answers::default();
    answers.put(print(0), good(NOW + 3600), NOW);
    for number in 1..=MOST + 10 {
        answers.put(print(number), Err(Distrust::Refused), NOW);
    }
    assert_eq!(answers.len(), MOST);
    assert!(answers.get(&print(0), NOW).is_some());
}
