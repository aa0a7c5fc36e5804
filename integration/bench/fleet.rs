//! The fleet: groups of proxies in a process of their own, on one thread.

use super::floor::record;
use super::group::Group;
use super::knocks::{Knocks, knock};
use super::papers::Way;
use super::proxy::{self, Manner};
use super::role::{answer, cpu, now};
use super::tally::{Goal, Report};
use super::wire::Form;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, LocalSet};

/// What the fleet can be told.
#[derive(Serialize, Deserialize)]
pub enum Command {
    /// A new group, without proxies yet; they come over TLS if it is said how.
    Group { group: usize, form: Form, namespaces: usize, way: Option<Way> },
    /// Proxies connect, all at once. Answered with the time at which they begin.
    Connect { group: usize, port: u16, count: usize, manner: Manner },
    /// So many proxies connect so many times each, only to go again. Answered with [`Knocks`].
    Knock { group: usize, port: u16, proxies: usize, times: usize },
    /// Counting begins anew; what the first proxy hears and what the sample acknowledges is kept if asked for.
    Reset { group: usize, keep: bool, log: bool },
    /// Waits for a goal; answered with a [`Report`].
    Await { group: usize, goal: Goal, seconds: f64 },
    /// What was counted so far: a [`Report`].
    Report { group: usize },
    /// How much was heard so far, without taking any of it: [`Heard`].
    Heard { group: usize },
    /// Writes the newest messages that the first proxy has heard, of these kinds, to a file.
    Record { group: usize, kinds: Vec<usize>, file: PathBuf },
    /// Every proxy goes. If they return, they bring what they held.
    Leave { group: usize, return_later: bool },
}

/// When, and what CPU time the fleet had used by then.
#[derive(Serialize, Deserialize)]
pub struct Done {
    pub at: u64,
    pub cpu: u64,
}

/// What commands are answered with.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Done(Done),
    Heard(Heard),
    Knocks(Knocks),
    Report(Box<Report>),
}

/// Bytes heard since the last reset.
#[derive(Serialize, Deserialize)]
pub struct Heard {
    pub wire: u64,
}

struct Fleet {
    groups: BTreeMap<usize, (Rc<Group>, Vec<JoinHandle<()>>)>,
}

/// Runs until there are no more commands.
pub fn run(commands: Box<dyn BufRead + Send>, mut answers: Box<dyn Write + Send>) {
    let (sender, mut received) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in commands.lines().map_while(Result::ok) {
            _ = sender.send(serde_json::from_str::<Command>(&line).expect("a command"));
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let mut fleet = Fleet { groups: BTreeMap::new() };
        while let Some(command) = received.recv().await {
            answer(&mut answers, &fleet.obey(command).await);
        }
    });
}

impl Fleet {
    fn group(&mut self, group: usize) -> &mut (Rc<Group>, Vec<JoinHandle<()>>) {
        self.groups.get_mut(&group).expect("a group that was made")
    }

    async fn obey(&mut self, command: Command) -> Answer {
        match command {
            Command::Group { group, form, namespaces, way } => {
                self.groups.insert(group, (Rc::new(Group::new(form, namespaces, way)), Vec::new()));
            }
            Command::Connect { group, port, count, manner } => {
                let (group, proxies) = self.group(group);
                let first = proxies.len();
                group.prepare(first + count);
                let run = |index| tokio::task::spawn_local(proxy::run(group.clone(), index, port, manner));
                proxies.extend((first..first + count).map(run));
            }
            Command::Knock { group, port, proxies, times } => {
                let group = self.group(group).0.clone();
                group.prepare(proxies);
                return Answer::Knocks(knock(&group, port, proxies, times).await);
            }
            Command::Reset { group, keep, log } => {
                let mut tally = self.group(group).0.tally.borrow_mut();
                (tally.keeps, tally.logs) = (keep, log);
                tally.reset();
            }
            Command::Await { group, goal, seconds } => {
                let group = self.group(group).0.clone();
                let waker = Rc::new(Notify::new());
                group.tally.borrow_mut().wait_for(goal, waker.clone());
                _ = tokio::time::timeout(Duration::from_secs_f64(seconds), waker.notified()).await;
                let met = group.tally.borrow().is_met(goal);
                return Answer::Report(Box::new(group.tally.borrow_mut().report(met)));
            }
            Command::Report { group } => {
                return Answer::Report(Box::new(self.group(group).0.tally.borrow_mut().report(true)));
            }
            Command::Heard { group } => return Answer::Heard(Heard { wire: self.group(group).0.tally.borrow().wire }),
            Command::Record { group, kinds, file } => {
                let tally = self.group(group).0.tally.borrow();
                record(&file, &kinds.iter().map(|kind| tally.kept[*kind].clone()).collect::<Vec<_>>());
            }
            Command::Leave { group, return_later } => {
                let (group, proxies) = self.group(group);
                proxies.drain(..).for_each(|proxy| proxy.abort());
                group.returning.set(return_later);
                group.renew();
                // Aborted tasks drop their sockets when they are next looked at.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Answer::Done(Done { at: now(), cpu: cpu() })
    }
}
