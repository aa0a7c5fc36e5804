//! A service of a thousand endpoints is rolled out, endpoint by endpoint, before a real Envoy: what that costs it.

use super::figures::Row;
use super::harness::addresses::{Subnet, ports};
use super::harness::client::Client;
use super::harness::envoy::{Envoy, Seat, Wire};
use super::harness::spawner::Place;
use super::harness::{Outcome, deadline, tools};
use super::parts::rig::{Rig, Side};
use super::parts::role::Style;
use super::parts::wire::Form;
use super::parts::world::{Event, Size};
use chancery::snapshot::kind::Kind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const ENDPOINTS: u32 = 1000;
/// Endpoints replaced in a second.
const RATE: u32 = 100;
const SOON: Duration = Duration::from_secs(15);

/// The row.
pub fn rollout() -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let measured = runtime.expect("a runtime").block_on(measure());
    vec![measured.unwrap_or_else(|failure| panic!("no rollout before a real Envoy: {failure}"))]
}

async fn measure() -> Outcome<Row> {
    tools::envoy(super::harness::tools::Release::Newest)?;
    let size = Size { services: 1, endpoints: ENDPOINTS, namespaces: 1, proxies: 2, audiences: 1 };
    let mut rig = Rig::start(Style::Processes, size);
    let group = rig.group(Side::Ours, Form::Delta, 1);
    rig.connect(group, 1);
    let (subnet, folder) = (Subnet::take()?, tempfile::tempdir()?);
    let ip = subnet.ip(1);
    let seat = Seat {
        pod: "p1".into(),
        namespace: "ns0".into(),
        ip,
        metadata: vec!["INTERCEPTION_MODE=NONE".into(), format!("OUTBOUND_BIND={ip}")],
        ports: ports(ip)?,
        credential: None,
        place: Place::default(),
        client: Client::default(),
    };
    let xds = SocketAddr::from((Ipv4Addr::LOCALHOST, rig.port()));
    let envoy = Envoy::start(&seat, xds, Wire::Delta.into(), folder.path()).await?;
    let cluster = "outbound|8080||s0.ns0.svc.cluster.local";
    deadline::until("Envoy has the endpoints", SOON, async || {
        let endpoints = envoy.endpoints(cluster).await.ok()?;
        (endpoints.len() == ENDPOINTS as usize).then_some(())
    })
    .await?;
    rig.quiet(group);
    rig.reset(group, false, false);
    let (before, server) = (cpu(envoy.pid())?, rig.usage(group));
    rig.storm((0..ENDPOINTS).map(|_| Event::Move(0)).collect(), RATE.into());
    rig.quiet(group);
    let (after, used) = (cpu(envoy.pid())?, rig.usage(group));
    let [messages, _, _, bytes] = rig.report(group).counts[Kind::Endpoint as usize];
    Ok(Row::new("rollout", format!("{ENDPOINTS} endpoints {RATE}/s"))
        .also("Envoy's CPU", after - before, "ms")
        .also("messages", messages as f64, "")
        .also("bytes to a proxy", bytes as f64 / 1e6, "MB")
        .also("if each change were sent", bytes as f64 / messages as f64 * f64::from(ENDPOINTS) / 1e6, "MB")
        .also("our CPU", (used.cpu - server.cpu) as f64 / 1e6, "ms"))
}

/// The CPU time a process has used, in milliseconds: of its whole line in `/proc`, user and system, a hundredth of a second
/// each.
pub fn cpu(pid: u32) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    Ok(fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() * 10.0)
}
