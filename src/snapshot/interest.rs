//! What a stream wants to hear of: by kind nothing, some names, or everything.

use super::kind::Kind;
use super::names::{NameSet, NameSum};
use super::set::Layer;
use std::sync::Arc;

/// What is wanted of one kind.
#[derive(Clone, Debug, Default)]
pub enum Wanted {
    /// Nothing.
    #[default]
    Nothing,
    /// Resources of these names, whether there are any or not.
    Names(NameSet),
    /// Every resource.
    Everything,
}

/// What is wanted of every kind. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Interest([Wanted; Kind::ALL.len()]);

/// Tells interests apart without comparing names.
pub(super) type Key = [(bool, NameSum); Kind::ALL.len()];

impl Interest {
    /// What is wanted of each kind.
    pub fn new(wanted: impl Fn(Kind) -> Wanted) -> Self {
        Self(Kind::ALL.map(wanted))
    }

    /// What is wanted of an inbound half: there is little, and all of it is asked for, but for endpoints.
    pub(super) fn of_inbound(&self) -> Self {
        Self(Kind::ALL.map(|kind| match kind {
            Kind::Endpoint => self.0[kind as usize].clone(),
            _ => Wanted::Everything,
        }))
    }

    pub(super) fn key(&self) -> Key {
        Kind::ALL.map(|kind| match &self.0[kind as usize] {
            Wanted::Nothing => Default::default(),
            Wanted::Names(names) => (false, names.sum()),
            Wanted::Everything => (true, NameSum::default()),
        })
    }

    /// Whether any of it may be another one in `new` than it was in the layer posted before.
    pub(super) fn meets(&self, new: &Layer, before: &Arc<Layer>) -> bool {
        let Some(news) = new.news_since(before) else { return true };
        self.0.iter().zip(news).any(|(wanted, news)| match wanted {
            Wanted::Nothing => false,
            Wanted::Names(names) => news.iter().any(|name| names.contains(name)),
            Wanted::Everything => !news.is_empty(),
        })
    }
}
