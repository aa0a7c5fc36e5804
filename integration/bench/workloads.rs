//! What is measured: each workload on a rig of its own, the server and the floor in turns.

use super::figures::{Figures, Row, Verdict, at};
use super::parts::engine::cost;
use super::parts::proxy::Manner;
use super::parts::rig::{ASKED, Rig, Side, Taken};
use super::parts::role::Style;
use super::parts::tally::SAMPLE;
use super::parts::wire::Form;
use super::parts::world::{Event, Size};
use chancery::snapshot::kind::Kind;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the sides take turns.
pub const TURNS: usize = 4;
/// How many times something happens in a turn.
pub const TIMES: u32 = 5;
/// How many endpoints move in a turn: enough of them that the last ACK of one in a hundred is no chance.
const MOVES: u32 = 50;
/// How often everybody connects, and how often bad neighbours come and go.
const STORMS: usize = 3;
/// How many changes the engine is given by itself.
const CHANGES: u32 = 500;
/// After how long a change of something large is a lone one again: the longest that the pace lets it wait.
const LONE: Duration = Duration::from_secs(2);

/// After how long the allocator has given back what answers took on their way, which may be as much as the door lets in
/// at once.
const SETTLED: Duration = Duration::from_secs(15);

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Extent {
    /// Proxies where the target says 1,000, and where it says 4,000.
    pub thousand: usize,
    pub storm: usize,
    /// Proxies that get a first answer at once.
    pub first: usize,
    /// How long a storm of changes lasts, and how long memory settles, in seconds.
    pub seconds: u32,
    pub idle: u64,
    /// How often something is done that takes less than a millisecond.
    pub often: u32,
}

impl Extent {
    pub const FULL: Self = Self { thousand: 1000, storm: 4000, first: 100, seconds: 4, idle: 60, often: 2000 };
    pub const QUICK: Self = Self { thousand: 100, storm: 200, first: 20, seconds: 1, idle: 2, often: 200 };
}

pub fn rig(services: u32, proxies: usize) -> Rig {
    let proxies = u32::try_from(proxies).expect("a small fleet");
    Rig::start(Style::Processes, Size { services, endpoints: 10, namespaces: 50, proxies, audiences: 1 })
}

pub fn case(services: u32, proxies: usize) -> String {
    format!("S={services} N={proxies}")
}

pub fn add(sum: &mut Taken, taken: &Taken) {
    sum.cpu += taken.cpu;
    sum.wire += taken.wire;
    sum.closed += taken.closed;
    sum.resumed += taken.resumed;
    sum.fleet += taken.fleet;
    sum.times.extend(&taken.times);
    sum.last.extend(&taken.last);
    for (counts, more) in sum.counts.iter_mut().zip(taken.counts) {
        counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
    }
}

/// Something of one kind happens again and again, and what it makes the server send the floor sends as well, in turns.
fn in_turns(
    rig: &mut Rig,
    [ours, floor]: [usize; 2],
    kind: Kind,
    times: u32,
    event: impl Fn(u32) -> Event,
) -> [Taken; 2] {
    // The first time is for warming, and for the floor to know what to send.
    rig.happen(ours, vec![event(0)], kind);
    rig.record(ours, &[kind], "push");
    rig.push(floor, "push", kind);
    let mut sums = [Taken::default(), Taken::default()];
    for _ in 0..TURNS {
        for number in 0..times {
            if kind != Kind::Endpoint {
                std::thread::sleep(LONE);
            }
            add(&mut sums[0], &rig.happen(ours, vec![event(number)], kind));
        }
        for _ in 0..times {
            add(&mut sums[1], &rig.push(floor, "push", kind));
        }
    }
    for sum in &mut sums {
        sum.times.sort_unstable();
        sum.last.sort_unstable();
    }
    sums
}

/// A fleet on the server, and as many proxies on the floor with as little as possible.
fn both(rig: &mut Rig, form: Form, proxies: usize) -> [usize; 2] {
    let groups = [rig.group(Side::Ours, form, 1), rig.group(Side::Floor, form, 1)];
    rig.connect(groups[0], proxies);
    rig.floor_answers(None);
    rig.connect(groups[1], proxies);
    rig.quiet(groups[0]);
    groups
}

/// One endpoint moves; then many do, one after the other, if rates are given.
pub fn endpoints(services: u32, proxies: usize, form: Form, rates: &[u32], seconds: u32) -> Vec<Row> {
    let mut rig = rig(services, proxies);
    let groups = both(&mut rig, form, proxies);
    let built = rig.costs().built;
    let [ours, floor] = in_turns(&mut rig, groups, Kind::Endpoint, MOVES, |number| Event::Move(number % services));
    let happened = TURNS * MOVES as usize;
    let built = (rig.costs().built - built) as f64 / (happened + 1) as f64;
    let count = proxies * happened;
    let mut name = case(services, proxies);
    if form == Form::Sotw {
        name += " SotW";
    }
    let mut row = Row::new("endpoint push", name)
        .sides(Figures::of(&ours, count), Some(Figures::of(&floor, count)))
        .also("built per change", built, "");
    row = last_acks(row, [&ours, &floor]);
    if let (Some((cpu, _)), Form::Delta, 1000) = (row.ratios(), form, proxies)
        && services <= 1000
    {
        let p99 = at(&ours.last, 0.99) / at(&floor.last, 0.99);
        row = row.verdict(Verdict::at_most("CPU per proxy", cpu, 3.0, "x the floor"));
        row = row.verdict(Verdict::at_most("change to last ACK, p99", p99, 2.0, "x the floor"));
    }
    let storms: Vec<Row> = rates.iter().map(|rate| churn(&mut rig, groups[0], [services, *rate, seconds])).collect();
    [row].into_iter().chain(storms).collect()
}

/// From each change to its last ACK, whoever gave it: where half of the changes are, ninety-nine of a hundred, and all.
fn last_acks(row: Row, sides: [&Taken; 2]) -> Row {
    [("p50", 0.5), ("p99", 0.99), ("max", 1.0)].into_iter().fold(row, |row, (name, share)| {
        let [ours, floor] = sides.map(|side| at(&side.last, share));
        row.also(format!("last ACK {name}"), ours, "ms").also("of the floor", floor, "ms")
    })
}

/// Endpoints move evenly, of one service after the other. Times are those of the proxies that are logged.
fn churn(rig: &mut Rig, group: usize, [services, rate, seconds]: [u32; 3]) -> Row {
    let proxies = rig.proxies(group);
    let count = rate * seconds;
    rig.reset(group, false, true);
    let before = rig.usage(group);
    let begun = rig.storm((0..count).map(|number| Event::Move(number % services)).collect(), rate.into());
    rig.quiet(group);
    let (after, report) = (rig.usage(group), rig.report(group));
    let mut acks: BTreeMap<(usize, u32), Vec<u64>> = BTreeMap::new();
    for (proxy, service, at) in report.log {
        acks.entry((proxy, service)).or_default().push(at);
    }
    let mut times = Vec::new();
    for (number, begun) in begun.iter().enumerate() {
        let service = u32::try_from(number).expect("few") % services;
        for proxy in 0..SAMPLE.min(proxies) {
            let acks = acks.get(&(proxy, service)).map_or(&[][..], |acks| acks);
            let heard = acks.iter().find(|at| *at > begun).expect("every change reaches every proxy");
            times.push(heard - begun);
        }
    }
    times.sort_unstable();
    let pushes = report.counts[Kind::Endpoint as usize][0];
    let (cpu, counts, wire) = (after.cpu - before.cpu, report.counts, report.wire);
    let taken = Taken { cpu, times, counts, wire, closed: report.closed, ..Taken::default() };
    Row::new("endpoint churn", format!("{} {rate}/s", case(services, proxies)))
        .sides(Figures::of(&taken, proxies * count as usize), None)
        .also("CPU per change", cpu as f64 / 1e3 / f64::from(count), "us")
        .also("CPU per message", cpu as f64 / 1e3 / pushes as f64, "us")
        .also("messages per change and proxy", pushes as f64 / f64::from(count) / proxies as f64, "")
}

/// A first configuration, just after start and with everything known, for so many at once.
pub fn first(services: u32, proxies: usize) -> Vec<Row> {
    let mut sums = [Taken::default(), Taken::default(), Taken::default()];
    for _ in 0..2 {
        let mut rig = rig(services, proxies * 3);
        let cold = rig.group(Side::Ours, Form::Delta, 1);
        add(&mut sums[0], &rig.connect(cold, proxies));
        rig.record(cold, &ASKED, "answers");
        rig.floor_answers(Some("answers"));
        for _ in 0..2 {
            for (sum, side) in [(1, Side::Ours), (2, Side::Floor)] {
                let group = rig.group(side, Form::Delta, 1);
                add(&mut sums[sum], &rig.connect(group, proxies));
                rig.leave(group, false);
                rig.quiet(cold);
            }
        }
    }
    sums.iter_mut().for_each(|sum| sum.times.sort_unstable());
    let floor = Figures::of(&sums[2], proxies * 4);
    let rows = [("just after start", &sums[0], 2), ("warm", &sums[1], 4)].map(|(when, sum, times)| {
        let row = Row::new("first answer", format!("{} {when}", case(services, proxies)))
            .sides(Figures::of(sum, proxies * times), Some(floor.clone()));
        let cpu = row.ratios().map_or(f64::NAN, |(cpu, _)| cpu);
        row.verdict(Verdict::at_most("CPU per proxy", cpu, 2.0, "x the floor"))
    });
    rows.into()
}

/// Everybody connects at once, to one side and to the other in turns; all of one turn are gone before the next comes.
pub fn connect_storm(services: u32, proxies: usize) -> Vec<Row> {
    let mut rig = rig(services, proxies);
    let mut sums = [Taken::default(), Taken::default()];
    for turn in 0..STORMS {
        for (sum, side) in sums.iter_mut().zip([Side::Ours, Side::Floor]) {
            let group = rig.group(side, Form::Delta, 1);
            add(sum, &rig.connect(group, proxies));
            if turn == 0 && side == Side::Ours {
                rig.record(group, &ASKED, "answers");
                rig.floor_answers(Some("answers"));
            }
            rig.leave(group, false);
            rig.quiet(group);
        }
    }
    sums.iter_mut().for_each(|sum| sum.times.sort_unstable());
    let [ours, floor] = sums.each_ref().map(|sum| Figures::of(sum, proxies * STORMS));
    let (last, refused) = (ours.max_ms, sums[0].closed as f64);
    let row = Row::new("connect storm", case(services, proxies))
        .sides(ours, Some(floor))
        .verdict(Verdict::at_most("all configured, in the worst of all turns", last, 3000.0, "ms"))
        .verdict(Verdict::at_most("refused", refused, 0.0, "streams"));
    vec![row]
}

/// Memory of who is connected and idle, and what it takes to come back with everything.
pub fn stay_and_return(services: u32, proxies: usize, idle: u64) -> Vec<Row> {
    let mut rig = rig(services, proxies + 1);
    let group = rig.group(Side::Ours, Form::Delta, 1);
    rig.connect(group, 1);
    rig.quiet(group);
    let before = rig.costs();
    let first = rig.connect(group, proxies);
    rig.quiet(group);
    std::thread::sleep(Duration::from_secs(idle));
    let after = rig.costs();
    let each = (after.rss_kb as f64 - before.rss_kb as f64) / proxies as f64;
    let case = case(services, proxies);
    let memory = Row::new("idle", format!("{case} {idle} s"))
        .also("RSS with one proxy", before.rss_kb as f64 / 1e3, "MB")
        .also("with all", after.rss_kb as f64 / 1e3, "MB")
        .also("at most", after.peak_kb as f64 / 1e3, "MB")
        .also("each", each, "KB")
        .verdict(Verdict::at_most("RSS per idle proxy", each, 100.0, "KB"));
    let mut back = Taken::default();
    let turns = 2;
    for _ in 0..turns {
        add(&mut back, &rig.come_back(group, proxies));
    }
    // Who came back without being subscribed would not hear of this.
    rig.happen(group, vec![Event::Move(1)], Kind::Endpoint);
    back.times.sort_unstable();
    let figures = Figures::of(&back, proxies * turns);
    let share = back.wire as f64 / turns as f64 / first.wire as f64 * 100.0;
    let returned = Row::new("reconnect storm", case)
        .verdict(Verdict::at_most("bytes of a first connect", share, 1.0, "%"))
        .verdict(Verdict::at_most("CPU per proxy", figures.cpu_us, 300.0, "us"))
        .also("share of the bytes of a first connect", share, "%")
        .sides(figures, None);
    vec![memory, returned]
}

/// What a change costs the engine must not depend on how many services there are.
pub fn engine(sizes: &[u32]) -> Vec<Row> {
    let costs: Vec<f64> = sizes.iter().map(|services| cost(*services, CHANGES).cpu as f64 / 1e3).collect();
    let row = |(services, cost): (&u32, &f64)| {
        Row::new("engine alone", format!("S={services}")).also("CPU per change", *cost, "us")
    };
    let mut rows: Vec<Row> = sizes.iter().zip(&costs).map(row).collect();
    let (least, most) = (costs.iter().copied().fold(f64::MAX, f64::min), costs.iter().copied().fold(0.0, f64::max));
    let verdict = Verdict::at_most("CPU per change over all sizes", most / least, 2.0, "x the least");
    rows.last_mut().into_iter().for_each(|row| row.verdicts.push(verdict.clone()));
    rows
}

/// Memory of a large world.
pub fn large(services: u32, spread: u32) -> Vec<Row> {
    let size = Size { services, endpoints: 5, namespaces: spread, proxies: spread, audiences: spread };
    let mut rig = Rig::start(Style::Processes, size);
    let nobody = rig.costs().rss_kb as f64 / 1e3;
    let group = rig.group(Side::Ours, Form::Delta, spread as usize);
    let taken = rig.connect(group, spread as usize);
    rig.quiet(group);
    let at_once = rig.costs().rss_kb as f64 / 1e3;
    std::thread::sleep(SETTLED);
    let costs = rig.costs();
    let spread_out = costs.rss_kb as f64 / 1e3;
    let row = Row::new("large world", format!("S={services} x 5"))
        .sides(Figures::of(&taken, spread as usize), None)
        .also("RSS before any proxy", nobody, "MB")
        .also(format!("with one in each of {spread} namespaces, at once"), at_once, "MB")
        .also(format!("{} s later", SETTLED.as_secs()), spread_out, "MB")
        .also("at most", costs.peak_kb as f64 / 1e3, "MB")
        .also("engine", costs.engine as f64 / 1e6, "ms")
        .verdict(Verdict::at_most("RSS before any proxy", nobody, 120.0, "MB"))
        .verdict(Verdict::at_most("RSS with one proxy in each namespace", spread_out, 250.0, "MB"));
    vec![row]
}

/// Routes of a service change, all services being in one route configuration; a service comes and goes; nothing changes;
/// others are slow or reject.
pub fn edits(services: u32, proxies: usize) -> Vec<Row> {
    let mut rig = rig(services, proxies);
    let groups = both(&mut rig, Form::Delta, proxies);
    let [ours, floor] = in_turns(&mut rig, groups, Kind::Route, 2, |number| Event::Route(number % services));
    let count = proxies * TURNS * 2;
    let row = Row::new("route edit", case(services, proxies))
        .sides(Figures::of(&ours, count), Some(Figures::of(&floor, count)));
    let row = last_acks(row, [&ours, &floor]);
    let cpu = row.ratios().map_or(f64::NAN, |(cpu, _)| cpu);
    let mut rows = vec![row.verdict(Verdict::at_most("CPU per proxy", cpu, 2.0, "x the floor"))];
    rows.extend(come_and_go(&mut rig, groups[0], services));
    rows.push(rewrites(&mut rig, groups[0], services));
    rows.push(neighbours(&mut rig, groups[0], services));
    rows
}

fn come_and_go(rig: &mut Rig, group: usize, services: u32) -> [Row; 2] {
    let proxies = rig.proxies(group);
    std::thread::sleep(LONE);
    let added = rig.happen(group, vec![Event::Add(services)], Kind::Route);
    rig.quiet(group);
    // The cluster itself goes some seconds after the routes that named it.
    let removed = rig.happen(group, vec![Event::Remove(services)], Kind::Cluster);
    let row = |name, taken| Row::new(name, case(services, proxies)).sides(Figures::of(taken, proxies), None);
    [row("service added", &added), row("service removed", &removed)]
}

/// Objects are written again with nothing new in them, or only a generation.
fn rewrites(rig: &mut Rig, group: usize, services: u32) -> Row {
    let count = 1000;
    let event = |number: u32| match number % 2 {
        0 => Event::Rewrite(number % services),
        _ => Event::RewriteRoute(0),
    };
    rig.happen(group, vec![Event::Route(0)], Kind::Route);
    rig.reset(group, false, false);
    let before = rig.usage(group);
    rig.storm((0..count).map(event).collect(), 1000.0);
    rig.quiet(group);
    let (after, wire) = (rig.usage(group), rig.report(group).wire);
    Row::new("no-op rewrites", case(services, rig.proxies(group)))
        .also("CPU per rewrite", (after.cpu - before.cpu) as f64 / 1e3 / f64::from(count), "us")
        .also("bytes sent", wire as f64, "B")
        .verdict(Verdict::at_most("bytes sent", wire as f64, 0.0, "B"))
}

/// One in ten is behind a line of 64 kbit/s, and one proxy rejects whatever comes: what the others see of it. Without them and with
/// them in turns.
fn neighbours(rig: &mut Rig, group: usize, services: u32) -> Row {
    let proxies = rig.proxies(group);
    let mut sums = [Taken::default(), Taken::default()];
    let mut memory = [0, 0];
    for _ in 0..STORMS {
        lone_edits(rig, group, &mut sums[0]);
        memory[0] = memory[0].max(rig.costs().rss_kb);
        let bad = [(Manner::Slow, (proxies / 10).max(1)), (Manner::Rejecting, 1)].map(|(manner, count)| {
            let bad = rig.group(Side::Ours, Form::Delta, 1);
            rig.connect_as(bad, count, manner);
            bad
        });
        rig.quiet(group);
        lone_edits(rig, group, &mut sums[1]);
        memory[1] = memory[1].max(rig.costs().rss_kb);
        bad.into_iter().for_each(|bad| rig.leave(bad, false));
        rig.quiet(group);
    }
    sums.iter_mut().for_each(|sum| sum.times.sort_unstable());
    let [alone, beside] = sums.each_ref().map(|sum| Figures::of(sum, proxies * STORMS * 2));
    let (p99, share) = (alone.p99_ms, beside.p99_ms / alone.p99_ms * 100.0);
    Row::new("bad neighbours", case(services, proxies))
        .sides(beside, None)
        .also("p99 without them", p99, "ms")
        .also("CPU without them", alone.cpu_us, "us")
        .also("RSS without them", memory[0] as f64 / 1e3, "MB")
        .also("with them", memory[1] as f64 / 1e3, "MB")
        .verdict(Verdict::at_most("p99 of the others", share, 120.0, "% of that without bad ones"))
}

/// A route changes twice.
fn lone_edits(rig: &mut Rig, group: usize, sum: &mut Taken) {
    for number in 1..=2 {
        std::thread::sleep(LONE);
        add(sum, &rig.happen(group, vec![Event::Route(number)], Kind::Route));
    }
}
