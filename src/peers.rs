//! The other replicas: who they are, and what they know of the proxies that are connected to them.
//!
//! In reading order: [`identity`] is who we are; `members` finds the others; `server` tells them what we know, `follow`
//! asks each what it knows; `wire` is how that is written. What all know together leaves here. Proxies are served whether
//! or not any of this works.

mod follow;
pub mod identity;
mod members;
mod server;
mod wire;

use crate::model::reach::Standing;
use follow::Heard;
use identity::{Identity, IdentityError};
use kube::Client;
use members::Member;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

/// How many answers of other replicas may wait.
const ANSWERS: usize = 16;

/// How a replica takes part.
#[derive(Clone, Debug)]
pub struct Options {
    /// The replica's name: that of its Pod.
    pub replica: String,
    /// Where others reach it.
    pub advertised: SocketAddr,
    /// The namespace in which the replicas say who they are; none: that of the kubeconfig or the service account.
    pub namespace: Option<String>,
}

/// Why there can't be any talk among replicas.
#[derive(Debug, Error)]
pub enum PeersError {
    /// We can't prove who we are.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A task ended that never should.
    #[error("the talk among replicas ended unexpectedly")]
    Ended,
}

/// Talks with the other replicas until the process ends. `own` is what this one knows, `all` what all know together.
///
/// # Errors
/// If no key can be made, or a task of it ends.
pub async fn run(
    options: Options,
    client: Client,
    listener: TcpListener,
    own: watch::Receiver<Arc<Standing>>,
    all: watch::Sender<Arc<Standing>>,
) -> Result<(), PeersError> {
    let identity = Arc::new(Identity::new()?);
    let (members, mut known) = watch::channel(BTreeMap::new());
    let (answers, mut heard) = mpsc::channel(ANSWERS);
    let mut tasks = JoinSet::new();
    tasks.spawn(members::run(client, options, identity.certificate_pem().to_owned(), members));
    tasks.spawn(server::run(listener, identity.clone(), known.clone(), own.clone()));
    let mut others = Others { identity, answers, following: BTreeMap::new(), tasks: JoinSet::new() };
    let mut mine = own;
    loop {
        tokio::select! {
            _ = tasks.join_next() => return Err(PeersError::Ended),
            changed = known.changed() => {
                changed.map_err(|_| PeersError::Ended)?;
                others.follow(&known.borrow_and_update());
            }
            Some((name, answer)) = heard.recv() => others.heard(&name, answer),
            changed = mine.changed() => changed.map_err(|_| PeersError::Ended)?,
        }
        let together = others.together(&mine.borrow_and_update());
        all.send_if_modified(|all| {
            let news = **all != together;
            if news {
                *all = Arc::new(together);
            }
            news
        });
    }
}

/// The replicas that are followed.
struct Others {
    identity: Arc<Identity>,
    answers: mpsc::Sender<Heard>,
    following: BTreeMap<String, Followed>,
    tasks: JoinSet<()>,
}

struct Followed {
    member: Member,
    task: AbortHandle,
    /// What it knows; none while it does not answer.
    standing: Option<Standing>,
}

impl Others {
    /// These are there now.
    fn follow(&mut self, members: &BTreeMap<String, Member>) {
        self.following.retain(|name, followed| {
            let stays = members.get(name) == Some(&followed.member);
            if !stays {
                followed.task.abort();
            }
            stays
        });
        for (name, member) in members {
            if !self.following.contains_key(name) {
                let following = follow::run(name.clone(), member.clone(), self.identity.clone(), self.answers.clone());
                let task = self.tasks.spawn(following);
                let followed = Followed { member: member.clone(), task, standing: None };
                self.following.insert(name.clone(), followed);
            }
        }
        while self.tasks.try_join_next().is_some() {}
    }

    fn heard(&mut self, name: &str, answer: Option<Standing>) {
        if let Some(followed) = self.following.get_mut(name) {
            followed.standing = answer;
        }
    }

    /// What all know together.
    fn together(&self, own: &Standing) -> Standing {
        let mut all = own.clone();
        for followed in self.following.values() {
            match &followed.standing {
                Some(standing) => all.join(standing),
                None => all.reaches.partial = true,
            }
        }
        all
    }
}
