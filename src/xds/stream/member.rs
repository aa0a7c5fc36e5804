//! Who is at the other end of a stream: what the connection has proven, and, once it has said so, which proxy it is.

use crate::model::audience::ProxyFacts;
use crate::model::identity::Identity;
use crate::snapshot::board::Seat;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{CERTIFICATE, Version};
use crate::snapshot::set::Snapshot;
use crate::xds::identity::Credential;
use crate::xds::registry::Listed;
use crate::xds::request::{Names, Request};
use crate::xds::shares::Client;
use crate::xds::trust::{Keyring, Means};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// Who opens a stream.
#[derive(Debug)]
pub struct Guest {
    /// Where from.
    pub peer: Option<SocketAddr>,
    /// What is proven.
    pub credential: Credential,
    /// By what; none where nothing is.
    pub means: Option<Means>,
    /// Who has the secrets of who has proven something.
    pub keyring: Option<Arc<dyn Keyring>>,
    /// When a certificate has to end that it is given, if that is limited.
    pub binds: Option<u64>,
    /// When it has to come back with a new credential.
    pub leaves: Option<Instant>,
    /// When the one by which it has come ends, and with it the stream.
    pub ends: Option<Instant>,
}

impl Guest {
    /// Somebody who has proven nothing.
    pub fn stranger(peer: Option<SocketAddr>) -> Self {
        Self { peer, credential: Credential::None, means: None, keyring: None, binds: None, leaves: None, ends: None }
    }
}

impl Guest {
    /// Whose share it has of what there is for all.
    pub(in crate::xds) fn client(&self) -> Option<Client> {
        match &self.credential {
            Credential::None => None,
            Credential::Workload(identity) => Client::of(identity, self.peer.map(|peer| peer.ip())),
        }
    }

    /// That time, or when the credential ends, if that is before.
    pub(super) fn at_most(&self, at: Instant) -> Instant {
        self.ends.map_or(at, |ends| ends.min(at))
    }

    /// Whether the time of its credential is over: one that had ended when it came may have been let in all the same, because
    /// clocks differ.
    pub(in crate::xds) fn is_over(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= Instant::now())
    }
}

/// A proxy that has said who it is.
pub(super) struct Member {
    pub(super) facts: ProxyFacts,
    pub(super) seat: Seat,
    pub(super) listed: Listed,
    pub(super) vault: Vault,
}

/// Whether a proxy has its secrets.
pub(super) enum Vault {
    /// It has not asked for any.
    Closed,
    /// It has, and holds a certificate of that version, but its Pod is not known yet.
    Asked(Option<Version>),
    /// It has them.
    Open,
}

impl Member {
    /// Notes that it asks for secrets, if this does.
    pub(super) fn hear(&mut self, request: &Request) {
        let asks = request.type_url == Kind::Secret.type_url() && !request.names.is_empty();
        if asks && matches!(self.vault, Vault::Closed) {
            self.vault = Vault::Asked(held(&request.names));
        }
    }

    /// Gives it its secrets if it has asked for them, and is where it belongs: nothing is signed for a Pod that isn't known.
    /// Whether it has them only now.
    pub(super) fn unlock(&mut self, guest: &Guest) -> bool {
        let (Vault::Asked(held), Some(keyring), Some(identity)) = (&self.vault, &guest.keyring, self.identity()) else {
            return false;
        };
        if guest.is_over() {
            return false;
        }
        let private = keyring.hold(identity, guest.binds, *held);
        self.seat.confide(private);
        self.vault = Vault::Open;
        true
    }

    fn identity(&self) -> Option<&Identity> {
        self.facts.identity.as_ref().filter(|_| self.seat.is_placed())
    }
}

/// The version of its certificate that a client states to hold.
fn held(names: &Names) -> Option<Version> {
    let Names::Change { initial, .. } = names else { return None };
    let (_, version) = initial.iter().find(|(name, _)| *name == CERTIFICATE)?;
    Version::parse(version)
}

/// The next snapshot of who has said who it is.
pub(super) async fn next_snapshot(member: Option<&mut Member>) -> Snapshot {
    match member {
        Some(member) => member.seat.changed().await,
        None => std::future::pending().await,
    }
}

/// Name and version of a client's software, from fields it fills in itself: cut to a sane length.
pub(super) fn user_agent(node: &Node) -> String {
    const SHOWN: usize = 100;
    let version = match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(version)) => version.clone(),
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => match &build.version {
            Some(v) => format!("{}.{}.{}", v.major_number, v.minor_number, v.patch),
            None => String::new(),
        },
        None => String::new(),
    };
    format!("{} {version}", node.user_agent_name).trim().chars().take(SHOWN).collect()
}
