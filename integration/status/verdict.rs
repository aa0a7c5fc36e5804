//! What is said of an object, from what is known of it.

use chancery::model::problem::{Cause, Severity};
use chancery::model::reach::Reach;
use chancery::status::shape::{ACCEPTED, Condition, PROGRAMMED, RESOLVED_REFS, Status};
use chancery::status::verdict::{Known, Told, Unheard, is_progress, verdict};

fn told(severity: Severity, cause: Cause, text: &str) -> Told {
    Told { severity, cause, field: "spec.x".to_owned(), text: text.to_owned(), effect: "".into() }
}

fn reach(generation: i64, live: usize, targeted: usize) -> Option<Reach> {
    Some(Reach { generation: Some(generation), identity: None, targeted, live })
}

fn known<'a>(told: &'a [Told], reach: Option<Reach>, stored: &'a Status) -> Known<'a> {
    Known { generation: Some(7), in_effect: true, told, reach, unheard: None, stored }
}

/// `status reason: message` of a condition.
fn said(status: &Status, r#type: &str) -> String {
    let Condition { status, reason, message, .. } = status.condition(r#type).expect("it is there");
    format!("{status} {reason}: {message}")
}

fn programmed(reach: Option<Reach>, stored: &Status) -> String {
    said(&verdict(&known(&[], reach, stored)), PROGRAMMED)
}

#[test]
fn an_object_without_problems_is_accepted_and_counted() {
    let nothing = Status::default();
    let status = verdict(&known(&[], reach(7, 3, 12), &nothing));
    assert_eq!(said(&status, ACCEPTED), "True Accepted: ");
    assert_eq!(said(&status, RESOLVED_REFS), "True ResolvedRefs: ");
    assert_eq!(said(&status, PROGRAMMED), "False Pending: in effect at 3 of 12 proxies that it concerns");
    assert!(status.conditions.iter().all(|condition| condition.is_of(Some(7))));
    assert_eq!(programmed(reach(7, 12, 12), &nothing), "True Programmed: in effect at all 12 proxies that it concerns");
    assert_eq!(programmed(reach(7, 1, 1), &nothing), "True Programmed: in effect at the one proxy that it concerns");
    assert_eq!(programmed(reach(7, 0, 0), &nothing), "True NoProxies: it concerns no connected proxy");
    assert_eq!(programmed(reach(6, 12, 12), &nothing), "False Pending: generation 6 is in effect");
    assert!(programmed(None, &nothing).starts_with("Unknown NotKnown: "));
    for (unheard, words) in [(Unheard::Replica, "are not counted"), (Unheard::Coming, "are still to come")] {
        let known = |reach| Known { unheard: Some(unheard), ..known(&[], reach, &nothing) };
        let said = |reach| said(&verdict(&known(reach)), PROGRAMMED);
        assert!(said(reach(7, 12, 12)).starts_with("False Pending: in effect at 12 of 12 proxies"), "{unheard:?}");
        assert!(said(reach(7, 12, 12)).ends_with(words) && said(reach(7, 1, 1)).starts_with("False Pending"));
        assert!(said(reach(7, 0, 0)).starts_with("Unknown NotKnown"));
    }
}

#[test]
fn what_was_everywhere_stays_so_until_there_is_another_generation_or_a_rejection() {
    let everywhere = verdict(&known(&[], reach(7, 12, 12), &Status::default()));
    for changed in [reach(7, 12, 13), reach(7, 0, 0), reach(7, 13, 13), None] {
        assert_eq!(verdict(&known(&[], changed, &everywhere)), everywhere, "{changed:?}");
    }
    let newer = Known { generation: Some(8), ..known(&[], reach(8, 1, 12), &everywhere) };
    assert!(said(&verdict(&newer), PROGRAMMED).contains("1 of 12"));
    let rejected = [told(Severity::Error, Cause::Rejection("".into()), "a proxy rejects cluster x: no")];
    let status = verdict(&known(&rejected, reach(7, 12, 12), &everywhere));
    assert_eq!(said(&status, PROGRAMMED), "False Rejected: spec.x: a proxy rejects cluster x: no");
    assert_eq!(status.validation_messages.len(), 1);
    assert!(verdict(&known(&[], reach(7, 12, 12), &status)) == everywhere, "it is over");
    // No proxy is not everywhere: whoever comes later counts.
    let none = verdict(&known(&[], reach(7, 0, 0), &Status::default()));
    assert!(programmed(reach(7, 0, 2), &none).contains("0 of 2"));
}

#[test]
fn a_start_says_nothing_of_what_is_not_known_again() {
    let pending = verdict(&known(&[], reach(7, 3, 12), &Status::default()));
    assert_eq!(verdict(&known(&[], None, &pending)), pending);
    let older = Known { generation: Some(8), ..known(&[], None, &pending) };
    assert!(said(&verdict(&older), PROGRAMMED).starts_with("Unknown"));
}

#[test]
fn mistakes_are_told_where_they_belong() {
    let nothing = Status::default();
    let missing = told(Severity::Error, Cause::Reference, "no Service has the host b");
    let status = verdict(&known(&[missing], reach(7, 1, 1), &nothing));
    assert_eq!(said(&status, RESOLVED_REFS), "False NotFound: spec.x: no Service has the host b");
    assert!(said(&status, ACCEPTED).starts_with("True"));
    assert_eq!(status.validation_messages[0].r#type.code, "IST0101");
    let conflict = told(Severity::Error, Cause::Conflict, "another is older");
    let status = verdict(&known(&[conflict], reach(7, 1, 1), &nothing));
    assert_eq!(said(&status, ACCEPTED), "False Conflict: spec.x: another is older");
    let warning = told(Severity::Warning, Cause::Content, "it is ignored");
    let status = verdict(&known(&[warning], reach(7, 1, 1), &nothing));
    assert_eq!(said(&status, ACCEPTED), "True Accepted: spec.x: it is ignored");
    assert_eq!(status.validation_messages[0].level, "WARNING");
}

#[test]
fn what_is_not_understood_says_what_is_in_effect() {
    let nothing = Status::default();
    let mut error = told(Severity::Error, Cause::Content, "it is no number");
    let status = verdict(&known(std::slice::from_ref(&error), None, &nothing));
    assert_eq!(said(&status, ACCEPTED), "False Invalid: spec.x: it is no number");
    assert!(said(&status, RESOLVED_REFS).starts_with("Unknown Invalid"));
    assert_eq!(said(&status, PROGRAMMED), "False Invalid: nothing of this generation is in effect");
    error.effect = "the version read before stays".into();
    let status = verdict(&known(&[error], reach(6, 5, 5), &nothing));
    assert_eq!(said(&status, ACCEPTED), "False Invalid: spec.x: it is no number; the version read before stays");
    assert_eq!(said(&status, PROGRAMMED), "False Invalid: generation 6 is in effect");
}

#[test]
fn kinds_without_effect_say_so_and_nothing_else() {
    let text = [told(Severity::Error, Cause::Content, "it protects nothing")];
    let nothing = Status::default();
    let status = verdict(&Known { in_effect: false, ..known(&text, None, &nothing) });
    assert_eq!(said(&status, ACCEPTED), "False NotInEffect: spec.x: it protects nothing");
    assert_eq!(status.conditions.len(), 1);
    assert_eq!(status.validation_messages[0].r#type.name, "NotInEffect");
}

#[test]
fn only_counts_of_what_is_pending_are_progress() {
    let nothing = Status::default();
    let at = |live, told: &[Told]| verdict(&known(told, reach(7, live, 12), &nothing));
    assert!(is_progress(&at(4, &[]), &at(3, &[])));
    assert!(!is_progress(&at(3, &[]), &at(3, &[])), "nothing to say");
    assert!(!is_progress(&at(12, &[]), &at(3, &[])));
    let warning = [told(Severity::Warning, Cause::Content, "it is ignored")];
    assert!(!is_progress(&at(4, &warning), &at(3, &[])));
}

#[test]
fn texts_are_plain_and_bounded() {
    let many: Vec<_> =
        (0..50).map(|at| told(Severity::Error, Cause::Content, &format!("{at}\n{}", "x".repeat(900)))).collect();
    let status = verdict(&known(&many, None, &Status::default()));
    let text = &status.condition(ACCEPTED).expect("it is there").message;
    assert!(text.chars().count() <= 2_000 && !text.contains('\n'), "{text}");
    let few: Vec<_> = (0..7).map(|at| told(Severity::Error, Cause::Content, &at.to_string())).collect();
    let status = verdict(&known(&few, None, &Status::default()));
    assert!(said(&status, ACCEPTED).ends_with("; and 2 more"));
}
