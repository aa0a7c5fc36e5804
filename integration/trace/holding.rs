//! What a client of whole sets holds, judged by what it was sent and what it answered: the form before Delta, in which a
//! name is taken away by being left out.

use super::oracles::applied;
use super::{Hash, Sent};
use std::collections::BTreeSet;

/// What a client holds of one kind.
#[derive(Default)]
pub struct Holding<'e> {
    /// By its answers.
    answered: BTreeSet<&'e String>,
    /// What is not answered yet, oldest first.
    open: Vec<&'e Sent>,
    /// What it found fault with.
    refused: BTreeSet<&'e (String, Hash)>,
}

impl<'e> Holding<'e> {
    /// A set was sent.
    pub fn sent(&mut self, sent: &'e Sent) {
        self.open.push(sent);
    }

    /// A set was answered.
    pub fn answer(&mut self, nonce: &str, error: Option<&String>) {
        let Some(at) = self.open.iter().position(|sent| sent.nonce == *nonce) else { return };
        let sent = self.open.remove(at);
        if let Some(error) = error {
            let culprits = sent.resources.iter().filter(|(name, _)| !applied(error, name));
            self.refused.extend(culprits.filter(|_| error.starts_with("Error adding/updating ")));
        } else {
            self.refused.retain(|one| !sent.resources.contains(one));
        }
        let taken = |name: &String| error.is_none_or(|error| applied(error, name));
        self.answered = after(std::mem::take(&mut self.answered), sent, |(name, _)| taken(name));
    }

    /// The names it will hold once it has answered everything.
    pub fn names(&self) -> BTreeSet<&'e String> {
        self.open.iter().fold(self.answered.clone(), |held, sent| after(held, sent, |one| !self.refused.contains(one)))
    }

    /// It wants only these from now on.
    pub fn keep(&mut self, is_wanted: impl Fn(&String) -> bool) {
        self.answered.retain(|name| is_wanted(name));
    }
}

/// The names held after a set of which some is taken.
fn after<'e>(
    held: BTreeSet<&'e String>,
    sent: &'e Sent,
    is_taken: impl Fn(&'e (String, Hash)) -> bool,
) -> BTreeSet<&'e String> {
    let names = sent.resources.iter().filter(|one| is_taken(one) || held.contains(&one.0));
    names.map(|(name, _)| name).collect()
}
