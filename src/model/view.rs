//! Who looks at the World: an audience whose namespace can only be compared with others, every comparison being noted.
//!
//! What is computed for the common audience, which is in no namespace, is right for every namespace it was not compared
//! with: so audiences share it, and need results of their own only where a comparison was made.

use super::audience::{Audience, Families, Interception};
use super::mesh::OutboundMode;
use super::name::Namespace;
use super::outlook::Outlook;
use super::provenance::ObjectKey;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// An audience, as translation sees it.
#[derive(Debug)]
pub struct View<'a> {
    audience: &'a Audience,
    asked: RefCell<BTreeSet<Namespace>>,
}

impl<'a> View<'a> {
    /// The view of an audience, which has been compared with nothing.
    pub fn new(audience: &'a Audience) -> Self {
        Self { audience, asked: RefCell::default() }
    }

    /// Whether the audience is in a namespace. For the common audience the answer is no, and the question is noted.
    pub fn is_in(&self, namespace: &Namespace) -> bool {
        if self.audience.is_common() && !self.asked.borrow().contains(namespace) {
            self.asked.borrow_mut().insert(namespace.clone());
        }
        self.audience.namespace == *namespace
    }

    /// The namespaces whose audiences might have been given another answer.
    pub fn into_asked(self) -> BTreeSet<Namespace> {
        self.asked.into_inner()
    }

    /// Whether a rule that is for some workloads of its namespace only is for the audience's.
    pub fn is_chosen(&self, rule: &ObjectKey) -> bool {
        self.is_in(&rule.namespace) && self.audience.chosen.binary_search(rule).is_ok()
    }

    /// How traffic is captured.
    pub fn interception(&self) -> Interception {
        self.audience.interception
    }

    /// Whether the audience's proxies hold certificates.
    pub fn certified(&self) -> bool {
        self.audience.certified
    }

    /// The IP families of the audience's proxies.
    pub fn families(&self) -> Families {
        self.audience.families
    }

    /// What the audience sees, port by port.
    pub fn outlook(&self) -> &'a Outlook {
        &self.audience.outlook
    }

    /// What the audience may do with hosts nobody has.
    pub fn unknown(&self) -> OutboundMode {
        self.audience.unknown
    }

    /// The same on a port; see [`Audience::unknown_on`].
    pub fn unknown_on(&self, port: u16) -> OutboundMode {
        self.audience.unknown_on(port)
    }

    /// Whether the workload itself listens there, although its traffic is captured.
    pub fn listens_at(&self, address: IpAddr, port: u16) -> bool {
        self.audience.listens.binary_search(&(port, address)).is_ok()
    }

    /// Ports at the address of outbound listeners where the workload itself listens.
    pub fn taken(&self) -> &'a [u16] {
        &self.audience.taken
    }
}
