//! Finds what is to be written: compares what should be said of each object with what is stored. Pure.
//!
//! Looks again only at objects of which something else is known than before. After a write it takes the answer for what is
//! stored until the watch tells of it.

use super::desk::{ALONE, Desk, Outcome, Urgency};
use super::rivals::Rivals;
use super::shape::Status;
use super::verdict::{Known, Told, Unheard, is_progress, is_rejection, mistakes, verdict};
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::ObjectKey;
use crate::model::reach::{Reach, Standing};
use crate::source::finding::{Finding, Subject};
use crate::source::kubernetes::inventory::{Entry, Inventory, Which};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Everything that statuses are made of.
#[derive(Clone, Default, Debug)]
pub struct Facts {
    /// The objects.
    pub inventory: Inventory,
    /// What is wrong with them, by object.
    pub told: Arc<BTreeMap<Subject, Vec<Told>>>,
    /// How far they have come.
    pub standing: Arc<Standing>,
    /// Whether proxies that were connected before are still to come.
    pub coming: bool,
}

impl Facts {
    /// What the source, translation and proxies say, by object.
    pub fn gather(findings: &[Finding], problems: &[&BTreeSet<Problem>]) -> Arc<BTreeMap<Subject, Vec<Told>>> {
        let mut told: BTreeMap<Subject, Vec<Told>> = BTreeMap::new();
        for finding in findings {
            let (note, effect) = (finding.note.clone(), finding.effect.clone());
            let (severity, cause) = (note.severity, Cause::Content);
            let said = Told { severity, cause, field: note.field, text: note.text, effect };
            told.entry(finding.subject.clone()).or_default().push(said);
        }
        for problem in problems.iter().copied().flatten() {
            let Problem { object, field, severity, text, cause } = problem.clone();
            // Who rejects it, and how many, changes while proxies come and go.
            let (text, cause) = match cause {
                Cause::Rejection(_) => (format!("a proxy rejects {text}"), Cause::Rejection("".into())),
                cause => (text, cause),
            };
            let said = Told { severity, cause, field, text, effect: "".into() };
            told.entry(Subject::from(&object)).or_default().push(said);
        }
        Arc::new(told)
    }

    fn unheard(&self) -> Option<Unheard> {
        match (self.standing.reaches.partial, self.coming) {
            (true, _) => Some(Unheard::Replica),
            (false, true) => Some(Unheard::Coming),
            (false, false) => None,
        }
    }

    fn told(&self, which: &Which, entry: &Entry) -> &[Told] {
        let subject = entry.kind.subject(&which.id.namespace, &which.id.name);
        self.told.get(&subject).map_or(&[], Vec::as_slice)
    }

    fn reach(&self, which: &Which, entry: &Entry) -> Option<Reach> {
        let kind = entry.kind.read_as()?;
        let (namespace, name) = (which.id.namespace.as_ref().into(), which.id.name.as_ref().into());
        self.standing.reaches.objects.get(&ObjectKey { kind, namespace, name }).copied()
    }
}

/// A status to be written.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Of which object.
    pub which: Which,
    /// The object that the status is made for, and no later state of it.
    pub entry: Entry,
    /// The status.
    pub status: Status,
}

/// Something to be told with an Event.
#[derive(Clone, Debug)]
pub struct Complaint {
    /// Of which object.
    pub which: Which,
    /// The object.
    pub entry: Entry,
    /// Why, in a word.
    pub reason: Reason,
    /// What a proxy says, or what is not understood.
    pub text: String,
}

/// Why there is an Event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Proxies reject what was made of the object.
    Rejected,
    /// The object, or a part of it, is not understood.
    Invalid,
}

impl Reason {
    /// As an Event has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Rejected => "Rejected",
            Reason::Invalid => "Invalid",
        }
    }

    /// What was tried.
    pub fn action(self) -> &'static str {
        match self {
            Reason::Rejected => "Program",
            Reason::Invalid => "Accept",
        }
    }
}

impl Complaint {
    /// What tells it from others: two of the same are one Event. That a generation is not understood is said once. Generations of
    /// kinds without a status come with every Pod, or are not counted; there the words count.
    pub fn about(&self) -> String {
        let Self { entry, reason, text, .. } = self;
        let generation = entry.generation.filter(|_| entry.kind.has_status());
        match reason {
            Reason::Invalid if generation.is_some() => format!("{}\n{generation:?}\nInvalid", entry.uid),
            _ => format!("{}\n{generation:?}\n{text}", entry.uid),
        }
    }
}

/// How many complaints of an object are remembered as told besides those that it is still about.
const REMEMBERED: usize = 64;

/// What is known, what was looked at, and what waits.
#[derive(Debug)]
pub struct Clerk {
    facts: Facts,
    desk: Desk<Which>,
    /// What was known of each object when it was looked at last.
    looked: BTreeMap<Which, u64>,
    /// What the answers to writes say is stored, by the state that was written over.
    written: BTreeMap<Which, (Arc<str>, Entry)>,
    /// Objects of which something may be left to be told.
    untold: BTreeSet<Which>,
    /// What was told of each object.
    complained: BTreeMap<Which, BTreeSet<u64>>,
    rivals: Rivals,
    /// Kinds of which no status may be written, until when that is believed.
    denied: BTreeMap<(&'static str, &'static str), Instant>,
    dropped: u64,
}

impl Clerk {
    /// One that knows nothing yet.
    pub fn new(now: Instant) -> Self {
        Self {
            facts: Facts::default(),
            desk: Desk::new(now),
            looked: BTreeMap::new(),
            written: BTreeMap::new(),
            untold: BTreeSet::new(),
            complained: BTreeMap::new(),
            rivals: Rivals::default(),
            denied: BTreeMap::new(),
            dropped: 0,
        }
    }

    /// This is known now.
    pub fn learn(&mut self, facts: Facts, now: Instant) {
        self.facts = facts;
        let inventory = self.facts.inventory.clone();
        if self.looked.len() > inventory.len() {
            self.looked.retain(|which, _| inventory.contains_key(which));
            self.rivals.retain(|which| inventory.contains_key(which));
        }
        self.untold.retain(|which| inventory.contains_key(which));
        if self.complained.len() > inventory.len() {
            self.complained.retain(|which, _| inventory.contains_key(which));
        }
        self.written.retain(|which, (over, _)| inventory.get(which).is_some_and(|entry| entry.version == *over));
        for (which, entry) in &inventory {
            let entry = self.current(which, entry).clone();
            let print = self.print(which, &entry);
            if self.looked.get(which) != Some(&print) && self.look(which, &entry, now) {
                self.looked.insert(which.clone(), print);
            }
        }
        self.desk.sweep(now);
    }

    /// The next status to be written, if any may be.
    pub fn next(&mut self, now: Instant) -> Option<Draft> {
        loop {
            let which = self.desk.take(now)?;
            let known = self.facts.inventory.get(&which).map(|entry| self.current(&which, entry).clone());
            let Some(draft) = known.and_then(|entry| self.draft(&which, entry)) else {
                self.desk.done(&which, Outcome::Needless, now);
                continue;
            };
            if self.denied.get(&(which.group, which.plural)).is_none_or(|until| *until <= now) {
                return Some(draft);
            }
            self.done(&draft, Outcome::Postponed, None, now);
        }
    }

    /// No status of objects of that kind may be written.
    pub fn deny(&mut self, which: &Which, now: Instant) {
        // Those that wait for the same reason come a little later each.
        self.denied.insert((which.group, which.plural), now + ALONE - Duration::from_secs(1));
    }

    /// How writing a draft went; `stored` is what the API server has now, if it said so.
    pub fn done(&mut self, draft: &Draft, outcome: Outcome, stored: Option<Entry>, now: Instant) {
        let which = &draft.which;
        self.desk.done(which, outcome, now);
        if let Some(stored) = stored {
            self.written.insert(which.clone(), (draft.entry.version.clone(), stored));
            self.rivals.wrote(which, &draft.entry, draft.status.clone());
        }
        if let Some(entry) = self.facts.inventory.get(which).map(|entry| self.current(which, entry).clone()) {
            self.look(which, &entry, now);
        }
    }

    /// When there may be something to write, if nothing else happens.
    pub fn due(&self) -> Option<Instant> {
        self.desk.next()
    }

    /// How many statuses wait.
    pub fn waiting(&self) -> usize {
        self.desk.len()
    }

    /// Objects whose status somebody else writes over again and again.
    pub fn disputed(&self) -> impl Iterator<Item = &Which> {
        self.rivals.disputed()
    }

    /// What was not told yet, as much as there is room for; that counts as told. The rest is offered when this is asked again.
    pub fn complaints(&mut self, room: usize) -> Vec<Complaint> {
        let mut all = Vec::new();
        while all.len() < room {
            let Some(which) = self.untold.pop_first() else { break };
            let known = self.facts.inventory.get(&which).map(|entry| self.current(&which, entry).clone());
            if let Some(entry) = known {
                all.extend(self.complain(which, &entry, room - all.len()));
            }
        }
        all
    }

    /// How many statuses found no room since this was asked last.
    pub fn dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// What is stored of an object: what was just written, until the watch tells anything newer.
    fn current<'a>(&'a self, which: &Which, entry: &'a Entry) -> &'a Entry {
        match self.written.get(which) {
            Some((over, written)) if *over == entry.version && written.uid == entry.uid => written,
            _ => entry,
        }
    }

    fn print(&self, which: &Which, entry: &Entry) -> u64 {
        let reach = self.facts.reach(which, entry);
        let reach = reach.map(|reach| (reach.generation, reach.targeted, reach.live));
        let mut hash = Xxh3::new();
        let told = self.facts.told(which, entry);
        (&entry.uid, &entry.version, told, reach, self.facts.unheard()).hash(&mut hash);
        hash.finish()
    }

    /// Looks at an object; false if there was no room for what is to be written.
    fn look(&mut self, which: &Which, entry: &Entry, now: Instant) -> bool {
        if self.grievances(which, entry).next().is_some() {
            self.untold.insert(which.clone());
        }
        if !entry.kind.has_status() {
            return true;
        }
        let stored = Status::stored(&entry.status);
        let wanted = self.verdict(which, entry, &stored);
        self.rivals.saw(which, entry, &wanted, &undated(&stored));
        if wanted == undated(&stored) {
            self.desk.unwant(which);
            return true;
        }
        let rejected = self.rejections(which, entry).next().is_some();
        let urgency = match (rejected, is_progress(&wanted, &undated(&stored))) {
            (true, _) => Urgency::Rejection,
            (false, true) => Urgency::Progress,
            (false, false) => Urgency::Change,
        };
        let room = self.desk.want(which, urgency, entry.generation, now);
        self.dropped += u64::from(!room);
        room
    }

    fn draft(&self, which: &Which, entry: Entry) -> Option<Draft> {
        let stored = Status::stored(&entry.status);
        let status = self.verdict(which, &entry, &stored);
        (status != undated(&stored)).then(|| Draft { which: which.clone(), entry, status })
    }

    fn verdict(&self, which: &Which, entry: &Entry, stored: &Status) -> Status {
        verdict(&Known {
            generation: entry.generation,
            in_effect: entry.kind.is_in_effect(),
            told: self.facts.told(which, entry),
            reach: self.facts.reach(which, entry),
            unheard: self.facts.unheard(),
            stored,
        })
    }

    fn rejections(&self, which: &Which, entry: &Entry) -> impl Iterator<Item = &Told> {
        let told = self.facts.told(which, entry).iter();
        told.filter(|told| is_rejection(&told.cause) && told.severity == Severity::Error)
    }

    /// What there is to tell of an object, told or not.
    fn grievances(&self, which: &Which, entry: &Entry) -> impl Iterator<Item = (Reason, String)> {
        let rejections = self.rejections(which, entry).map(|told| (Reason::Rejected, told.text.clone()));
        let broken = mistakes(self.facts.told(which, entry)).filter(|_| entry.kind.is_in_effect());
        rejections.chain(broken.map(|text| (Reason::Invalid, text)))
    }

    /// What was not told yet of an object, as much as there is room for.
    fn complain(&mut self, which: Which, entry: &Entry, room: usize) -> Vec<Complaint> {
        let complaint = |(reason, text)| {
            let complaint = Complaint { which: which.clone(), entry: entry.clone(), reason, text };
            (xxh3_64(complaint.about().as_bytes()), complaint)
        };
        let all: Vec<_> = self.grievances(&which, entry).map(complaint).collect();
        let told = self.complained.entry(which.clone()).or_default();
        if told.len() > REMEMBERED {
            // What is told again all the same the API server knows by its name.
            let still: BTreeSet<_> = all.iter().map(|(print, _)| *print).collect();
            told.retain(|print| still.contains(print));
        }
        let mut fresh = Vec::new();
        for (print, complaint) in all {
            if fresh.len() < room {
                fresh.extend(told.insert(print).then_some(complaint));
            } else if !told.contains(&print) {
                self.untold.insert(which);
                break;
            }
        }
        fresh
    }
}

/// What is ours of what is stored, without times.
fn undated(stored: &Status) -> Status {
    let mut ours = stored.clone();
    ours.conditions.retain(super::shape::Condition::is_ours);
    for condition in &mut ours.conditions {
        (condition.last_transition_time, condition.last_probe_time) = (None, None);
    }
    ours
}
