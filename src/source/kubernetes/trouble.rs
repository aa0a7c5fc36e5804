//! Kinds that can't be watched, in the log: each once when that begins and once when it is over, and in one line where many
//! have the same trouble.

use super::kinds::Watched;
use super::news::State;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which kinds have trouble.
#[derive(Default, Debug)]
pub struct Trouble {
    now: BTreeMap<String, &'static str>,
    begun: BTreeMap<Arc<str>, Vec<String>>,
    over: Vec<String>,
}

impl Trouble {
    /// A kind is in this state now.
    pub fn note(&mut self, kind: &'static Watched, state: &State) {
        match state {
            State::Failing(reason) | State::Denied(reason)
                if self.now.insert(kind.place(), state.as_str()) != Some(state.as_str()) =>
            {
                self.begun.entry(reason.clone()).or_default().push(kind.place());
            }
            State::Watching if self.now.remove(&kind.place()).is_some() => self.over.push(kind.place()),
            State::Missing => _ = self.now.remove(&kind.place()),
            _ => {}
        }
    }

    /// Writes what was noted since this was called last.
    pub fn log(&mut self) {
        for (reason, kinds) in std::mem::take(&mut self.begun) {
            let kinds = kinds.join(", ");
            tracing::warn!(kinds, %reason, "not watched; what is known of these stays in effect");
        }
        if !self.over.is_empty() {
            let kinds = std::mem::take(&mut self.over).join(", ");
            tracing::info!(kinds, "watched again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kubernetes::kinds::KINDS;

    #[test]
    fn each_trouble_is_noted_once_and_so_is_its_end() {
        let mut trouble = Trouble::default();
        let failing = |reason: &str| State::Failing(reason.into());
        for kind in &KINDS[..2] {
            trouble.note(kind, &failing("refused"));
            trouble.note(kind, &State::Listing(0));
            trouble.note(kind, &failing("reset"));
        }
        assert_eq!(trouble.begun.len(), 1, "one line for both, whatever is said later");
        assert_eq!(trouble.begun[&Arc::<str>::from("refused")].len(), 2);
        trouble.note(&KINDS[0], &State::Watching);
        trouble.note(&KINDS[0], &State::Watching);
        assert_eq!(trouble.over, [KINDS[0].to_string()]);
        trouble.note(&KINDS[1], &State::Missing);
        assert_eq!(trouble.over.len(), 1, "what isn't served is not watched");
    }
}
