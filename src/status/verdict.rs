//! What is to be said of one object, from what is known of it. Pure, and without times.
//!
//! Numbers of proxies are only said as long as they tell how far a change has come. Once every proxy has a generation this
//! is said of it for good, or a status would be written whenever Pods come and go.

use super::shape::{ACCEPTED, Condition, Count, Message, MessageType, PROGRAMMED, RESOLVED_REFS, Status, Truth};
use crate::model::problem::{Cause, Severity};
use crate::model::reach::Reach;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Something that is wrong with an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Told {
    /// How bad it is.
    pub severity: Severity,
    /// What it comes from.
    pub cause: Cause,
    /// The path of the field, empty for the whole object.
    pub field: String,
    /// The reason.
    pub text: String,
    /// What is in effect in spite of it; empty where nothing is.
    pub effect: Arc<str>,
}

/// Everything that is known of an object.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its generation.
    pub generation: Option<i64>,
    /// Whether objects of its kind are ever in effect.
    pub in_effect: bool,
    /// What is wrong with it.
    pub told: &'a [Told],
    /// How far it has come; none while that isn't known.
    pub reach: Option<Reach>,
    /// Why proxies may be missing among those counted.
    pub unheard: Option<Unheard>,
    /// What is stored as its status.
    pub stored: &'a Status,
}

/// Why proxies may be missing among those counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unheard {
    /// The replica that serves them did not answer.
    Replica,
    /// They were connected before, and are still to come back.
    Coming,
}

/// The reason of whatever is as it should be of a generation at every proxy.
const EVERYWHERE: &str = "Programmed";
/// The reason of what is on its way.
const PENDING: &str = "Pending";
/// The most texts that are put together.
const TEXTS: usize = 5;
/// The most characters of a message.
const LONGEST: usize = 2_000;

/// What is to be said.
pub fn verdict(known: &Known) -> Status {
    let mut conditions = vec![known.accepted()];
    if known.in_effect {
        conditions.extend([known.resolved(), known.programmed()]);
    }
    let observed_generation = known.generation.map(Count::Number);
    Status { observed_generation, conditions, validation_messages: known.messages() }
}

/// Whether the first differs from what is stored in nothing but how far a change has come.
pub fn is_progress(verdict: &Status, stored: &Status) -> bool {
    let rest = |status: &Status| {
        let mut rest = status.clone();
        for condition in rest.conditions.iter_mut().filter(|it| it.r#type == PROGRAMMED && it.reason == PENDING) {
            condition.message.clear();
        }
        rest
    };
    verdict != stored && rest(verdict) == rest(stored)
}

impl Known<'_> {
    fn condition(&self, r#type: &str, truth: Truth, reason: &str, message: String) -> Condition {
        Condition::new(r#type, truth, reason, message, self.generation)
    }

    fn all(&self, severity: Severity, of: impl Fn(&Cause) -> bool) -> impl Iterator<Item = &Told> {
        self.told.iter().filter(move |told| told.severity == severity && of(&told.cause))
    }

    fn accepted(&self) -> Condition {
        if !self.in_effect {
            let text = Some(words(self.told.iter())).filter(|text| !text.is_empty());
            let text = text.unwrap_or_else(|| "objects of this kind are not in effect".to_owned());
            return self.condition(ACCEPTED, Truth::False, "NotInEffect", text);
        }
        let errors = || self.all(Severity::Error, is_own);
        let reason = match errors().map(|told| &told.cause).min() {
            None => {
                let warnings = words(self.all(Severity::Warning, is_own));
                return self.condition(ACCEPTED, Truth::True, ACCEPTED, warnings);
            }
            Some(Cause::Content) => "Invalid",
            Some(_) => "Conflict",
        };
        self.condition(ACCEPTED, Truth::False, reason, words(errors()))
    }

    /// References of a version that isn't in effect are not looked at.
    fn resolved(&self) -> Condition {
        let missing = || self.told.iter().filter(|told| told.cause == Cause::Reference);
        if self.is_broken() {
            let text = "references of this generation were not looked at".to_owned();
            return self.condition(RESOLVED_REFS, Truth::Unknown, "Invalid", text);
        }
        match missing().count() {
            0 => self.condition(RESOLVED_REFS, Truth::True, RESOLVED_REFS, String::new()),
            _ => self.condition(RESOLVED_REFS, Truth::False, "NotFound", words(missing())),
        }
    }

    /// Whether this generation was not understood.
    fn is_broken(&self) -> bool {
        self.all(Severity::Error, |cause| *cause == Cause::Content).next().is_some()
    }

    fn programmed(&self) -> Condition {
        let is = |truth, reason, text| self.condition(PROGRAMMED, truth, reason, text);
        let mut rejections = self.all(Severity::Error, is_rejection).peekable();
        if rejections.peek().is_some() {
            return is(Truth::False, "Rejected", words(rejections));
        }
        let before = self.stored.condition(PROGRAMMED).filter(|before| before.is_of(self.generation));
        // Of what was not understood a part may be in effect.
        let holds = !self.is_broken() || self.reach.is_some_and(|reach| reach.generation == self.generation);
        let before = before.filter(|_| holds);
        if let Some(before) = before.filter(|before| before.reason == EVERYWHERE) {
            return Condition { last_transition_time: None, ..before.clone() };
        }
        match (self.reach, before) {
            (None, _) if self.is_broken() => {
                is(Truth::False, "Invalid", "nothing of this generation is in effect".into())
            }
            // What was known may be known again soon: chancery starts.
            (None, Some(before)) if before.reason != "Rejected" => {
                Condition { last_transition_time: None, ..before.clone() }
            }
            (None, _) => {
                is(Truth::Unknown, "NotKnown", "it is not known yet at how many proxies it is in effect".into())
            }
            (Some(reach), _) => self.reached(reach),
        }
    }

    fn reached(&self, reach: Reach) -> Condition {
        let is = |truth, reason, text| self.condition(PROGRAMMED, truth, reason, text);
        let Reach { targeted, live, .. } = reach;
        if reach.generation != self.generation {
            let instead = reach.generation.map_or("no generation".into(), |it| format!("generation {it}"));
            let reason = if self.is_broken() { "Invalid" } else { PENDING };
            return is(Truth::False, reason, format!("{instead} is in effect"));
        }
        let unheard = match self.unheard {
            Some(Unheard::Replica) => "; proxies of another replica are not counted",
            Some(Unheard::Coming) => "; proxies that were connected before are still to come",
            None => "",
        };
        let partial = self.unheard.is_some();
        match (targeted, live) {
            (0, _) if partial => is(Truth::Unknown, "NotKnown", format!("no proxy is known that it concerns{unheard}")),
            (0, _) => is(Truth::True, "NoProxies", "it concerns no connected proxy".into()),
            (1, 1) if !partial => is(Truth::True, EVERYWHERE, "in effect at the one proxy that it concerns".into()),
            _ if reach.is_everywhere() && !partial => {
                is(Truth::True, EVERYWHERE, format!("in effect at all {targeted} proxies that it concerns"))
            }
            _ => {
                let suspected = words(self.all(Severity::Warning, is_rejection));
                let suspected = if suspected.is_empty() { suspected } else { format!("; {suspected}") };
                let proxies = if targeted == 1 { "proxy" } else { "proxies" };
                let text = format!("in effect at {live} of {targeted} {proxies} that it concerns{unheard}{suspected}");
                is(Truth::False, PENDING, text)
            }
        }
    }

    fn messages(&self) -> Vec<Message> {
        let lasting = |told: &&Told| !(is_rejection(&told.cause) && told.severity == Severity::Warning);
        let message = |told: &Told| {
            let (name, code) = match (&told.cause, told.severity) {
                _ if !self.in_effect => ("NotInEffect", ""),
                (Cause::Reference, _) => ("ReferencedResourceNotFound", "IST0101"),
                (Cause::Rejection(_), _) => ("Rejected", ""),
                (Cause::Content, Severity::Error) => ("SchemaValidationError", "IST0106"),
                (Cause::Content, Severity::Warning) => ("Ignored", ""),
                (Cause::Conflict, _) => ("Conflict", ""),
            };
            let level = match told.severity {
                Severity::Error => "ERROR",
                Severity::Warning => "WARNING",
            };
            let r#type = MessageType { name: name.to_owned(), code: code.to_owned() };
            Message { r#type, level: level.to_owned(), documentation_url: String::new() }
        };
        let messages: BTreeSet<_> = self.told.iter().filter(lasting).map(message).collect();
        messages.into_iter().collect()
    }
}

/// What is not understood of an object, and what is in effect instead; none if all of it is.
pub fn mistakes(told: &[Told]) -> Option<String> {
    let mistakes = told.iter().filter(|told| told.severity == Severity::Error && told.cause == Cause::Content);
    Some(words(mistakes)).filter(|text| !text.is_empty())
}

/// Whether it is about what the object says.
fn is_own(cause: &Cause) -> bool {
    matches!(cause, Cause::Content | Cause::Conflict)
}

/// Whether it is what proxies say.
pub fn is_rejection(cause: &Cause) -> bool {
    matches!(cause, Cause::Rejection(_))
}

/// Some of the texts in one, and what is in effect all the same.
fn words<'a>(told: impl Iterator<Item = &'a Told>) -> String {
    let all: BTreeSet<&Told> = told.collect();
    let mut parts: Vec<String> = all.iter().take(TEXTS).map(|told| told.words()).collect();
    if all.len() > TEXTS {
        parts.push(format!("and {} more", all.len() - TEXTS));
    }
    let effects: BTreeSet<&str> = all.iter().map(|told| &*told.effect).filter(|effect| !effect.is_empty()).collect();
    parts.extend(effects.into_iter().map(str::to_owned));
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    parts.join("; ").chars().take(LONGEST).map(plain).collect()
}

impl Told {
    fn words(&self) -> String {
        if self.field.is_empty() { self.text.clone() } else { format!("{}: {}", self.field, self.text) }
    }
}
