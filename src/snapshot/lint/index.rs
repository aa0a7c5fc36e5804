//! What the resources of a layer name, and where its listeners are: kept as they change, so that a rule about two resources
//! needs no look at all the others.

use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Resource};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// An address of a listener, told apart from others by its hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AddressHash(u128);

/// The index of what a layer holds itself.
#[derive(Default, Debug)]
pub struct Index {
    /// How often each name is referred to. Endpoints by their own cluster, which has the same name, and what is private to a
    /// workload are left out.
    named: BTreeMap<Ref, u32>,
    /// Each address, and the name of a listener that has it.
    addresses: BTreeSet<(AddressHash, Arc<str>)>,
}

impl Index {
    /// Something of that name refers to these.
    pub fn name<'a>(&mut self, name: &str, refs: impl Iterator<Item = &'a Ref>) {
        for to in refs.filter(|to| is_kept(name, to)) {
            match self.named.get_mut(to) {
                Some(count) => *count += 1,
                None => _ = self.named.insert(to.clone(), 1),
            }
        }
    }

    /// Something of that name refers to these no more.
    pub fn unname<'a>(&mut self, name: &str, refs: impl Iterator<Item = &'a Ref>) {
        for to in refs.filter(|to| is_kept(name, to)) {
            let Some(count) = self.named.get_mut(to) else { continue };
            *count -= 1;
            if *count == 0 {
                self.named.remove(to);
            }
        }
    }

    /// A listener is there in place of another, or of none, or none is.
    pub fn set_addresses(&mut self, name: &Arc<str>, before: Option<&Resource>, after: Option<&Resource>) {
        let (before, after) = (before.map(addresses).unwrap_or_default(), after.map(addresses).unwrap_or_default());
        before.into_iter().for_each(|address| _ = self.addresses.remove(&(address, name.clone())));
        self.addresses.extend(after.into_iter().map(|address| (address, name.clone())));
    }

    pub(super) fn is_named(&self, to: &Ref) -> bool {
        self.named.contains_key(to)
    }

    pub(super) fn has_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// The listeners at an address.
    pub(super) fn at(&self, address: AddressHash) -> impl Iterator<Item = &Arc<str>> {
        let from = self.addresses.range((address, Arc::from(""))..);
        from.take_while(move |(other, _)| *other == address).map(|(_, name)| name)
    }
}

fn is_kept(name: &str, to: &Ref) -> bool {
    !(to.is_private() || to.kind == Kind::Endpoint && *to.name == *name)
}

/// The addresses of a listener.
pub(super) fn addresses(listener: &Resource) -> Vec<AddressHash> {
    let Some(listener) = listener.message::<Listener>() else { return Vec::new() };
    let additional = listener.additional_addresses.into_iter().filter_map(|additional| additional.address);
    let all = listener.address.into_iter().chain(additional);
    all.map(|address| AddressHash(xxh3_128(format!("{address:?}").as_bytes()))).collect()
}
