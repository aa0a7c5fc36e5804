//! Much that goes at once: what proxies are told is what the World says, but somebody may have deleted more than was meant.
//!
//! It is noted, not held back: whether a deletion is meant nobody here can know, and a source that fails deletes nothing.

use crate::snapshot::kind::Kind;
use crate::snapshot::set::Layer;

/// How many resources of a kind may go without a word, however few there were.
pub const FEW: usize = 20;

/// So many resources of a kind were there, and so many of them are gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loss {
    /// The kind.
    pub kind: Kind,
    /// How many are gone, for the subject that lost most.
    pub gone: usize,
    /// Of how many.
    pub of: usize,
}

/// Adds what is to be said of a layer that is posted after another.
pub(super) fn note(losses: &mut Vec<Loss>, before: &Layer, after: &Layer) {
    for kind in Kind::ALL {
        let Some(gone) = after.gone_since(before, kind, FEW) else { continue };
        let of = before.len(kind);
        if gone * 2 <= of {
            continue;
        }
        match losses.iter_mut().find(|loss| loss.kind == kind) {
            Some(loss) => (loss.gone, loss.of) = (loss.gone, loss.of).max((gone, of)),
            None => losses.push(Loss { kind, gone, of }),
        }
    }
}
