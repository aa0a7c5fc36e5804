//! What is measured.

use super::parts::rig::{ASKED, Rig, Side, Taken};
use super::parts::role::Style;
use super::parts::wire::Form;
use super::parts::world::{Event, Size};
use chancery::snapshot::kind::Kind;

pub fn run() {
    let quick = std::env::var("QUICK").is_ok_and(|value| !value.is_empty() && value != "0");
    let cases: &[(u32, usize)] = if quick { &[(100, 200), (1000, 200)] } else { &[(100, 1000), (1000, 1000)] };
    for (services, proxies) in cases {
        push(*services, *proxies, Form::Delta);
    }
    let count = if quick { 30 } else { 100 };
    first(1000, count);
    reconnect(1000, if quick { 200 } else { 1000 });
    large();
}

fn size(services: u32, proxies: usize, audiences: u32) -> Size {
    let proxies = u32::try_from(proxies).expect("a small fleet");
    Size { services, endpoints: 10, namespaces: 50, proxies, audiences }
}

fn print(what: &str, taken: &Taken, count: usize) {
    let at = |share: f64| {
        let index = (taken.times.len() as f64 * share) as usize;
        taken.times.get(index.min(taken.times.len().saturating_sub(1))).map_or(0.0, |time| *time as f64 / 1e6)
    };
    println!(
        "{what}: {:.1} us CPU, p50 {:.2} p99 {:.2} max {:.2} ms, {} bytes each, {} closed",
        taken.cpu as f64 / 1e3 / count as f64,
        at(0.5),
        at(0.99),
        at(1.0),
        taken.wire / count as u64,
        taken.closed
    );
}

fn push(services: u32, proxies: usize, form: Form) {
    let mut rig = Rig::start(Style::Processes, size(services, proxies, 1));
    println!("endpoint push, {services} services, {proxies} proxies");
    let ours = rig.group(Side::Ours, form, 1);
    print("  connect", &rig.connect(ours, proxies), proxies);
    rig.floor_answers(None);
    let floor = rig.group(Side::Floor, form, 1);
    rig.connect(floor, proxies);
    rig.happen(ours, vec![Event::Move(7)], Kind::Endpoint);
    rig.record(ours, &[Kind::Endpoint], "push");
    rig.push(floor, "push", Kind::Endpoint);
    for _ in 0..3 {
        for side in [Side::Ours, Side::Floor] {
            let mut sum = Taken::default();
            for number in 0..10 {
                let taken = match side {
                    Side::Ours => rig.happen(ours, vec![Event::Move(number)], Kind::Endpoint),
                    Side::Floor => rig.push(floor, "push", Kind::Endpoint),
                };
                sum.cpu += taken.cpu;
                sum.wire += taken.wire;
                sum.times.extend(taken.times);
            }
            sum.times.sort_unstable();
            print(&format!("  {side:?}"), &sum, proxies * 10);
        }
    }
}

fn first(services: u32, count: usize) {
    println!("first answers, {services} services, {count} proxies at once");
    for _ in 0..2 {
        let mut rig = Rig::start(Style::Processes, size(services, count * 4, 1));
        let cold = rig.group(Side::Ours, Form::Delta, 1);
        print("  just after start", &rig.connect(cold, count), count);
        rig.record(cold, &ASKED, "answers");
        rig.floor_answers(Some("answers"));
        for _ in 0..2 {
            for side in [Side::Ours, Side::Floor] {
                let group = rig.group(side, Form::Delta, 1);
                print(&format!("  {side:?} warm"), &rig.connect(group, count), count);
                rig.leave(group, false);
                rig.quiet(group);
            }
        }
    }
}

fn reconnect(services: u32, count: usize) {
    let mut rig = Rig::start(Style::Processes, size(services, count + 1, 1));
    println!("reconnect and memory, {services} services, {count} proxies");
    let group = rig.group(Side::Ours, Form::Delta, 1);
    rig.connect(group, 1);
    rig.quiet(group);
    let before = rig.costs();
    print("  first connect", &rig.connect(group, count), count);
    rig.quiet(group);
    for seconds in [1, 10] {
        std::thread::sleep(std::time::Duration::from_secs(seconds));
        let after = rig.costs();
        println!(
            "  memory: {} KB before, {} KB after, {:.1} KB each, peak {} KB",
            before.rss_kb,
            after.rss_kb,
            (after.rss_kb as f64 - before.rss_kb as f64) / count as f64,
            after.peak_kb
        );
    }
    for _ in 0..2 {
        print("  reconnect", &rig.come_back(group, count), count);
    }
    rig.happen(group, vec![Event::Move(1)], Kind::Endpoint);
}

fn large() {
    let mut size = size(10_000, 50, 50);
    size.endpoints = 5;
    let mut rig = Rig::start(Style::Processes, size);
    println!("memory, 10000 services of 5 endpoints");
    println!("  before any proxy: {:?}", rig.costs());
    let group = rig.group(Side::Ours, Form::Delta, 50);
    print("  connect", &rig.connect(group, 50), 50);
    rig.quiet(group);
    println!("  a proxy in each of 50 namespaces: {:?}", rig.costs());
}
