//! A server, a floor and a fleet, running, and how one thing that happens is measured on them.

use super::fleet::{self, Done};
use super::floor::{self, Listening, Usage, record};
use super::knocks::Knocks;
use super::papers::{Shows, Way};
use super::proxy::Manner;
use super::role::{Role, Style};
use super::server::{self, Costs};
use super::tally::{Counts, Goal, Report};
use super::wire::Form;
use super::world::{Event, Size};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::wire::put_field;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long anything may take that isn't meant to take long.
const PATIENCE: f64 = 120.0;
/// How long a server gets to finish what nobody waits for.
const REST: Duration = Duration::from_millis(5);

/// The kinds a client asks for, in its order.
pub const ASKED: [Kind; 4] = [Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route];

/// Everything that runs.
pub struct Rig {
    server: Role<server::Command>,
    floor: Role<floor::Command>,
    fleet: Role<fleet::Command>,
    ports: [u16; 2],
    /// The port of the secure door, once it is open.
    secure: Option<u16>,
    groups: Vec<(Side, usize)>,
    folder: tempfile::TempDir,
}

/// Which of the two is measured, and at which door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The server, in plain text.
    Ours,
    /// The server, over TLS.
    Secure,
    Floor,
}

/// What something took.
#[derive(Clone, Default, Debug)]
pub struct Taken {
    /// CPU time of the side's process in nanoseconds.
    pub cpu: u64,
    /// From the beginning to each ACK or configuration, in nanoseconds, ascending.
    pub times: Vec<u64>,
    /// The last of these of each change.
    pub last: Vec<u64>,
    /// By kind: messages, resources in them, names removed, bytes of messages.
    pub counts: Counts,
    /// Bytes on sockets.
    pub wire: u64,
    /// Connections that ended.
    pub closed: u64,
    /// Connections that resumed a session.
    pub resumed: u64,
    /// CPU time of the fleet in nanoseconds, where proxies connect.
    pub fleet: u64,
}

impl Rig {
    /// Starts all three and loads a world.
    pub fn start(style: Style, size: Size) -> Self {
        let mut server = Role::start(style, "serve", server::run);
        let mut floor = Role::start(style, "floor", floor::run);
        let fleet = Role::start(style, "fleet", fleet::run);
        let ports = [server.answer::<Listening>().port, floor.answer::<Listening>().port];
        let folder = tempfile::tempdir().expect("a folder");
        let mut rig = Self { server, floor, fleet, ports, secure: None, groups: Vec::new(), folder };
        rig.server.call::<Usage>(&server::Command::Load(size));
        rig
    }

    pub fn costs(&mut self) -> Costs {
        self.server.call(&server::Command::Costs)
    }

    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// A new group of proxies that will connect to that side in plain text.
    pub fn group(&mut self, side: Side, form: Form, namespaces: usize) -> usize {
        self.add(side, form, namespaces, None)
    }

    /// A new group of proxies that will connect over TLS, in the incremental form.
    pub fn secure_group(&mut self, namespaces: usize, shows: Shows, resumes: bool) -> usize {
        let folder = self.path("identity");
        if self.secure.is_none() {
            let command = server::Command::Secure { folder: folder.clone() };
            self.secure = Some(self.server.call::<Listening>(&command).port);
        }
        self.add(Side::Secure, Form::Delta, namespaces, Some(Way { folder, shows, resumes }))
    }

    fn add(&mut self, side: Side, form: Form, namespaces: usize, way: Option<Way>) -> usize {
        let group = self.groups.len();
        self.groups.push((side, 0));
        self.fleet.call::<Done>(&fleet::Command::Group { group, form, namespaces, way });
        group
    }

    /// Where a group connects.
    fn port_of(&self, group: usize) -> u16 {
        match self.groups[group].0 {
            Side::Ours => self.ports[0],
            Side::Secure => self.secure.expect("a group at the secure door has opened it"),
            Side::Floor => self.ports[1],
        }
    }

    /// How many proxies of a group have connected.
    pub fn proxies(&self, group: usize) -> usize {
        self.groups[group].1
    }

    pub fn reset(&mut self, group: usize, keep: bool, log: bool) {
        self.fleet.call::<Done>(&fleet::Command::Reset { group, keep, log });
    }

    /// Proxies connect and get their first configuration.
    pub fn connect(&mut self, group: usize, count: usize) -> Taken {
        self.connect_as(group, count, Manner::Prompt)
    }

    /// The same, of proxies that behave in another way afterwards.
    pub fn connect_as(&mut self, group: usize, count: usize, manner: Manner) -> Taken {
        self.reset(group, true, false);
        let before = self.usage(group);
        let begun: Done = self.begin(group, count, manner);
        let report = self.await_goal(group, Goal::Configured(count), PATIENCE);
        let complete = report.configured.len();
        assert!(report.met, "{complete} of {count} have a first configuration, {} were closed", report.closed);
        let after = self.usage(group);
        let fleet = report.cpu.saturating_sub(begun.cpu);
        Taken { fleet, ..taken(&before, &after, &report, begun.at, &report.configured) }
    }

    /// So many proxies connect so many times each, one time after the other, and go when the server has said its first word.
    pub fn knock(&mut self, group: usize, proxies: usize, times: usize) -> Taken {
        let (before, port) = (self.usage(group), self.port_of(group));
        let Knocks { times, resumed } = self.fleet.call(&fleet::Command::Knock { group, port, proxies, times });
        self.quiet(group);
        let cpu = self.usage(group).cpu.saturating_sub(before.cpu);
        Taken { cpu, times, resumed, ..Taken::default() }
    }

    /// Proxies connect; nothing is waited for.
    pub fn begin(&mut self, group: usize, count: usize, manner: Manner) -> Done {
        let port = self.port_of(group);
        self.groups[group].1 += count;
        self.fleet.call(&fleet::Command::Connect { group, port, count, manner })
    }

    /// All proxies of a group go.
    pub fn leave(&mut self, group: usize, return_later: bool) {
        self.groups[group].1 = 0;
        self.fleet.call::<Done>(&fleet::Command::Leave { group, return_later });
    }

    /// Proxies come back with what they held; whoever they come back to has next to nothing to say, so it is over when each has
    /// accepted that and it is quiet.
    pub fn come_back(&mut self, group: usize, count: usize) -> Taken {
        self.leave(group, true);
        self.quiet(group);
        self.reset(group, false, false);
        let before = self.usage(group);
        let begun = self.begin(group, count, Manner::Prompt);
        let goal = Goal::Acks(Kind::Cluster as usize, count);
        let report = self.await_goal(group, goal, PATIENCE);
        assert!(report.met, "{} of {count} came back", report.acks[Kind::Cluster as usize].len());
        self.quiet(group);
        let after = self.usage(group);
        let report: Report = self.fleet.call(&fleet::Command::Report { group });
        let times: Vec<u64> = report.acks.iter().flatten().copied().collect();
        let fleet = report.cpu.saturating_sub(begun.cpu);
        Taken { fleet, ..taken(&before, &after, &report, begun.at, &times) }
    }

    pub fn await_goal(&mut self, group: usize, goal: Goal, seconds: f64) -> Report {
        self.fleet.call(&fleet::Command::Await { group, goal, seconds })
    }

    pub fn report(&mut self, group: usize) -> Report {
        self.fleet.call(&fleet::Command::Report { group })
    }

    /// Something happens on the server; waits until every proxy of the group has acknowledged the kind.
    pub fn happen(&mut self, group: usize, events: Vec<Event>, kind: Kind) -> Taken {
        self.reset(group, true, false);
        let begun: Usage = self.server.call(&server::Command::Happen(events));
        self.finish(group, kind, begun)
    }

    /// The floor writes what was recorded of the server.
    pub fn push(&mut self, group: usize, file: &str, kind: Kind) -> Taken {
        self.reset(group, false, false);
        let begun: Usage = self.floor.call(&floor::Command::Push { file: self.path(file) });
        self.finish(group, kind, begun)
    }

    fn finish(&mut self, group: usize, kind: Kind, begun: Usage) -> Taken {
        let goal = Goal::Acks(kind as usize, self.groups[group].1);
        let report = self.await_goal(group, goal, PATIENCE);
        assert!(report.met, "{} of {:?} ACKs of {kind}", report.acks[kind as usize].len(), goal);
        let after = self.usage(group);
        taken(&begun, &after, &report, begun.at, &report.acks[kind as usize])
    }

    /// Things that happen evenly on the server, while the group is watched. Answers when each happened.
    pub fn storm(&mut self, events: Vec<Event>, per_second: f64) -> Vec<u64> {
        self.server.call::<server::Happened>(&server::Command::Storm { events, per_second }).at
    }

    /// What the side of a group has used, a moment later so that it has done what nobody waits for.
    pub fn usage(&mut self, group: usize) -> Usage {
        std::thread::sleep(REST);
        match self.groups[group].0 {
            Side::Ours | Side::Secure => {
                let Costs { at, cpu, rss_kb, .. } = self.costs();
                Usage { at, cpu, rss_kb }
            }
            Side::Floor => self.floor.call(&floor::Command::Usage),
        }
    }

    /// Waits until neither CPU is used nor anything heard.
    pub fn quiet(&mut self, group: usize) {
        let deadline = Instant::now() + Duration::from_secs_f64(PATIENCE);
        let mut before = (u64::MAX, 0);
        let mut calm = 0;
        while calm < 3 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
            let now = (self.usage(group).cpu, self.wire(group));
            calm = if now.0.saturating_sub(before.0) < 2_000_000 && now.1 == before.1 { calm + 1 } else { 0 };
            before = now;
        }
    }

    fn wire(&mut self, group: usize) -> u64 {
        self.fleet.call::<fleet::Heard>(&fleet::Command::Heard { group }).wire
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Records the newest messages that the first proxy of a group has heard.
    pub fn record(&mut self, group: usize, kinds: &[Kind], file: &str) {
        let kinds = kinds.iter().map(|kind| *kind as usize).collect();
        let file = self.path(file);
        self.fleet.call::<Done>(&fleet::Command::Record { group, kinds, file });
    }

    /// What the floor answers first requests with: a recording, or as little as possible.
    pub fn floor_answers(&mut self, file: Option<&str>) {
        let file = self.path(file.unwrap_or("least"));
        if !file.exists() {
            record(&file, &ASKED.map(least));
        }
        self.floor.call::<Usage>(&floor::Command::Answers { file });
    }
}

/// A response of that type with nothing in it.
fn least(kind: Kind) -> Vec<u8> {
    let mut message = Vec::new();
    put_field(&mut message, 4, kind.type_url().as_bytes());
    put_field(&mut message, 5, b"1");
    message
}

fn taken(before: &Usage, after: &Usage, report: &Report, begun: u64, times: &[u64]) -> Taken {
    let times: Vec<_> = times.iter().map(|time| time.saturating_sub(begun)).collect();
    Taken {
        cpu: after.cpu.saturating_sub(before.cpu),
        last: times.last().copied().into_iter().collect(),
        times,
        counts: report.counts,
        wire: report.wire,
        closed: report.closed,
        resumed: report.resumed,
        fleet: 0,
    }
}
