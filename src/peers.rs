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
use members::{Member, Members};
use serde_json::Value;
use server::Proxies;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
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
    /// The installation whose replicas these are: several may be in one namespace.
    pub installation: String,
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

/// What a replica tells the others of itself.
pub struct Own {
    /// What it knows.
    pub standing: watch::Receiver<Arc<Standing>>,
    /// The proxies that are connected to it.
    pub proxies: Proxies,
}

/// Asks all other replicas a question now. Cloning is cheap.
#[derive(Clone)]
pub struct Asker {
    identity: Arc<Identity>,
    members: watch::Receiver<Members>,
    /// One question at a time: each may be a large answer of every replica.
    turn: Arc<Mutex<()>>,
}

impl Asker {
    /// Whether it is known which other replicas there are.
    pub fn is_complete(&self) -> bool {
        self.members.borrow().known
    }

    /// The proxies of every other replica that there should be, by its name; none where it doesn't answer.
    pub async fn proxies(&self) -> BTreeMap<String, Option<Vec<Value>>> {
        let _turn = self.turn.lock().await;
        let members = self.members.borrow().by_name.clone();
        let mut questions = JoinSet::new();
        for (name, member) in members {
            let identity = self.identity.clone();
            questions.spawn(async move {
                let answer = follow::once(&member, &identity, wire::PROXIES).await;
                let answer = answer.inspect_err(|failure| tracing::debug!(replica = name, "no proxies: {failure}"));
                (name, answer.ok())
            });
        }
        questions.join_all().await.into_iter().collect()
    }
}

/// The talk among replicas: to be run, and to ask with.
pub struct Talk {
    identity: Arc<Identity>,
    members: watch::Sender<Members>,
    known: watch::Receiver<Members>,
}

impl Talk {
    /// A replica that knows of no other yet.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn new() -> Result<Self, PeersError> {
        let (members, known) = watch::channel(Members::default());
        Ok(Self { identity: Arc::new(Identity::new()?), members, known })
    }

    /// Asks the others.
    pub fn asker(&self) -> Asker {
        Asker { identity: self.identity.clone(), members: self.known.clone(), turn: Arc::default() }
    }

    /// Talks until the process ends. `all` is told what all replicas know together.
    ///
    /// # Errors
    /// If a task of it ends.
    pub async fn run(
        self,
        options: Options,
        client: Client,
        listener: TcpListener,
        own: Own,
        all: watch::Sender<Arc<Standing>>,
    ) -> Result<(), PeersError> {
        let Self { identity, members, mut known } = self;
        let Own { standing: mut mine, proxies } = own;
        let (answers, mut heard) = mpsc::channel(ANSWERS);
        let mut tasks = JoinSet::new();
        tasks.spawn(members::run(client, options, identity.certificate_pem().to_owned(), members));
        tasks.spawn(server::run(listener, identity.clone(), known.clone(), mine.clone(), proxies));
        let mut others = Others { identity, answers, known: false, following: BTreeMap::new(), tasks: JoinSet::new() };
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
}

/// The replicas that are followed.
struct Others {
    identity: Arc<Identity>,
    answers: mpsc::Sender<Heard>,
    /// Whether it is known who there is.
    known: bool,
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
    fn follow(&mut self, Members { known, by_name: members }: &Members) {
        self.known = *known;
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
        all.reaches.partial |= !self.known;
        for followed in self.following.values() {
            match &followed.standing {
                Some(standing) => all.join(standing),
                None => all.reaches.partial = true,
            }
        }
        all
    }
}
