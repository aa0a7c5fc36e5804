//! What TLS and the authority cost: the same as in plain text, in turns with it in the same run, and each part by itself.
//!
//! Over TLS a proxy proves who it is, so more is done for it than to encipher: its token is verified, a certificate is signed
//! for it, and what it is told speaks of mutual TLS. There are no targets; every figure stands beside that of plain text.

use super::figures::{Figures, Row};
use super::parts::papers::Shows::{self, Certificate, Token};
use super::parts::rig::{Rig, Side, Taken};
use super::parts::role::Style;
use super::parts::signing;
use super::parts::wire::Form;
use super::parts::world::{Event, Size};
use super::workloads::{TIMES, TURNS, add, case, rig};
use chancery::snapshot::kind::Kind;
use std::time::Duration;

/// How many shake hands at the same time.
const AT_ONCE: usize = 8;
/// So many at once are a storm, in which handshakes are cut off.
const CROWD: usize = 1000;
/// How often everybody connects, besides the first time, which is for warming and for sessions to resume.
const RETURNS: usize = 2;

/// How a group connects: a name for it, and what it does over TLS, if it does: what it shows, and whether it resumes.
type Way = (&'static str, Option<(Shows, bool)>);

const PLAIN: Way = ("plain text", None);
const FULL: Way = ("TLS", Some((Token, false)));
const RESUMED: Way = ("TLS resumed", Some((Token, true)));
/// The ways in which everybody connects.
const WAYS: [Way; 3] = [PLAIN, FULL, RESUMED];

fn group(rig: &mut Rig, (_, tls): Way) -> usize {
    match tls {
        Some((shows, resumes)) => rig.secure_group(1, shows, resumes),
        None => rig.group(Side::Ours, Form::Delta, 1),
    }
}

/// Checks that sessions were resumed where they should be, and nowhere else: that what is measured is what the name says. In a
/// storm some have no ticket left, because they have used theirs up while they were cut off again and again.
fn check(taken: &Taken, (name, tls): Way, connections: usize) {
    let all = connections as u64;
    let expected = match tls {
        Some((_, true)) if connections < CROWD => all * 99 / 100..=all,
        Some((_, true)) => 0..=all,
        _ => 0..=0,
    };
    assert!(expected.contains(&taken.resumed), "{} of {connections} connections, {name}", taken.resumed);
}

/// A row of what was taken for `count` proxies, and how that is to plain text, if it isn't plain text.
fn row(workload: &'static str, case: String, (taken, count): (&Taken, usize), plain: Option<&Figures>) -> Row {
    let figures = Figures::of(taken, count);
    let ratios = plain.map(|plain| (figures.cpu_us / plain.cpu_us, figures.p99_ms / plain.p99_ms));
    let row = Row::new(workload, case).sides(figures, None);
    match ratios {
        Some((cpu, p99)) => row.also("CPU to plain text", cpu, "x").also("p99 to plain text", p99, "x"),
        None => row,
    }
}

/// The rows of several ways, the first of which is plain text.
fn rows(workload: &'static str, case: &str, sums: &mut [(Way, Taken)], count: usize) -> Vec<Row> {
    sums.iter_mut().for_each(|(_, taken)| taken.times.sort_unstable());
    let plain = Figures::of(&sums[0].1, count);
    let of_way = |((name, tls), taken): &(Way, Taken)| {
        row(workload, format!("{case} {name}"), (taken, count), tls.is_some().then_some(&plain))
    };
    sums.iter().map(of_way).collect()
}

/// A server with a fleet: the group, and the memory in kilobytes with one proxy of it and with all.
type Stay = (Rig, usize, [u64; 2]);

/// Memory of who is connected and idle, and then one endpoint that moves; two servers, one for each way, in turns.
pub fn stay_and_push(services: u32, proxies: usize, idle: u64) -> Vec<Row> {
    let mut sides = [PLAIN, RESUMED].map(|way| {
        let mut rig = rig(services, proxies + 1);
        let group = group(&mut rig, way);
        let memory = [1, proxies].map(|count| {
            let before = rig.costs().rss_kb;
            rig.connect(group, count);
            rig.quiet(group);
            before
        });
        (rig, group, memory)
    });
    std::thread::sleep(Duration::from_secs(idle));
    sides.iter_mut().for_each(|(rig, _, memory)| *memory = [memory[1], rig.costs().rss_kb]);
    let name = case(services, proxies);
    let mut found = idle_rows(&sides, &format!("{name} {idle} s"), proxies);
    let mut sums = [PLAIN, ("TLS", RESUMED.1)].map(|way| (way, Taken::default()));
    for turn in 0..=TURNS {
        for ((rig, group, _), (_, sum)) in sides.iter_mut().zip(&mut sums) {
            for number in 0..TIMES {
                let taken = rig.happen(*group, vec![Event::Move(number)], Kind::Endpoint);
                // The first turn is for warming.
                (turn > 0).then(|| add(sum, &taken));
            }
        }
    }
    found.extend(rows("TLS endpoint push", &name, &mut sums, (proxies + 1) * TURNS * TIMES as usize));
    found
}

fn idle_rows(sides: &[Stay; 2], case: &str, proxies: usize) -> Vec<Row> {
    let each = sides.each_ref().map(|(.., [one, all])| (*all as f64 - *one as f64) / proxies as f64);
    let row = |(way, (_, _, [one, all]), each): (&str, &Stay, f64)| {
        Row::new("TLS idle", format!("{case} {way}"))
            .also("RSS with one proxy", *one as f64 / 1e3, "MB")
            .also("with all", *all as f64 / 1e3, "MB")
            .also("each", each, "KB")
    };
    let tls = row(("TLS", &sides[1], each[1]));
    let tls =
        tls.also("more than in plain text", each[1] - each[0], "KB").also("to plain text", each[1] / each[0], "x");
    vec![row(("plain text", &sides[0], each[0])), tls]
}

/// A first configuration for so many at once, with everything known but who they are.
pub fn first(services: u32, proxies: usize) -> Vec<Row> {
    let mut sums = connects(&mut rig(services, proxies), proxies, |_, _| {});
    rows("TLS first answer", &case(services, proxies), &mut sums, proxies * RETURNS)
}

/// Everybody connects at once, and is configured; and comes back at once with what was held.
pub fn storm(services: u32, proxies: usize) -> Vec<Row> {
    let (mut rig, name) = (rig(services, proxies), case(services, proxies));
    let mut back = WAYS.map(|way| (way, Taken::default()));
    let mut sums = connects(&mut rig, proxies, |rig, (group, number)| {
        let taken = rig.come_back(group, proxies);
        check(&taken, WAYS[number], proxies);
        add(&mut back[number].1, &taken);
    });
    let each = (proxies * RETURNS) as f64;
    let mut found = Vec::new();
    for (workload, sums) in [("TLS connect storm", &mut sums), ("TLS reconnect storm", &mut back)] {
        let rows = rows(workload, &name, sums, proxies * RETURNS);
        found.extend(rows.into_iter().zip(sums.iter()).map(|(row, (_, sum))| {
            row.also("server's CPU", sum.cpu as f64 / 1e9 / RETURNS as f64, "s")
                .also("fleet's CPU for each", sum.fleet as f64 / 1e3 / each, "us")
                .also("ended", sum.closed as f64, "")
                .also("resumed", sum.resumed as f64 / each * 100.0, "%")
        }));
    }
    found
}

/// Everybody connects and gets a first configuration, in each way in turns; then something else happens to them, and they go.
fn connects(rig: &mut Rig, proxies: usize, mut then: impl FnMut(&mut Rig, (usize, usize))) -> [(Way, Taken); 3] {
    // Somebody of each kind stays, so that what all have in common is there.
    for way in [PLAIN, ("TLS", Some((Certificate, false)))] {
        let stays = group(rig, way);
        rig.connect(stays, 1);
        rig.quiet(stays);
    }
    let groups = WAYS.map(|way| group(rig, way));
    let mut sums = WAYS.map(|way| (way, Taken::default()));
    for turn in 0..=RETURNS {
        for (number, group) in groups.into_iter().enumerate() {
            let taken = rig.connect(group, proxies);
            rig.quiet(group);
            if turn > 0 {
                check(&taken, WAYS[number], proxies);
                add(&mut sums[number].1, &taken);
                then(rig, (group, number));
            }
            rig.leave(group, false);
            rig.quiet(group);
        }
    }
    sums
}

/// Connections on which nothing is asked: what shaking hands costs, and how often one core can do it.
pub fn handshakes(often: u32) -> Vec<Row> {
    const WITH: &str = "with the client's certificate";
    let size = Size { services: 1, endpoints: 1, namespaces: 1, proxies: 1, audiences: 1 };
    let mut rig = Rig::start(Style::Processes, size);
    let ways = [
        PLAIN,
        ("full", FULL.1),
        ("resumed", RESUMED.1),
        ("full", Some((Certificate, false))),
        ("resumed", Some((Certificate, true))),
    ];
    let groups = ways.map(|way| group(&mut rig, way));
    let times = often as usize / AT_ONCE / TURNS;
    let mut sums = ways.map(|_| Taken::default());
    for turn in 0..=TURNS {
        for ((group, way), sum) in groups.into_iter().zip(ways).zip(&mut sums) {
            if turn == 0 {
                // For warming, and for sessions to resume.
                rig.knock(group, AT_ONCE, 1);
                continue;
            }
            let taken = rig.knock(group, AT_ONCE, times);
            check(&taken, way, AT_ONCE * times);
            add(sum, &taken);
        }
    }
    sums.iter_mut().for_each(|taken| taken.times.sort_unstable());
    let count = AT_ONCE * times * TURNS;
    let plain = Figures::of(&sums[0], count);
    let of_way = |((name, tls), taken): (Way, &Taken)| {
        let name =
            if tls.is_some_and(|(shows, _)| shows == Certificate) { format!("{name} {WITH}") } else { name.into() };
        let compared = tls.is_some().then_some(&plain);
        let row = row("TLS handshake", name, (taken, count), compared);
        let cpu = taken.cpu as f64 / 1e3 / count as f64;
        let row = row.also("on one core", 1e6 / cpu, "a second");
        compared.into_iter().fold(row, |row, plain| row.also("TLS alone", cpu - plain.cpu_us, "us"))
    };
    ways.into_iter().zip(&sums).map(of_way).collect()
}

/// The authority by itself, and who verifies tokens.
pub fn signing(often: u32) -> Vec<Row> {
    let row = |(name, cpu): signing::Cost| {
        let cpu = cpu as f64 / 1e3;
        Row::new("signing", name).also("CPU", cpu, "us").also("on one core", 1e6 / cpu, "a second")
    };
    signing::costs(often).map(row).into()
}
