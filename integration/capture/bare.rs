//! The network by itself, without any proxy: what the rules capture and what they leave alone. If this is wrong, no
//! other test here means anything; if the rules did nothing, the other tests would fail, as the last one shows.

use crate::harness::network::{INBOUND, Network, OUTBOUND, Pod, on_a_network, v4, v6};
use crate::harness::spawner;
use crate::harness::{Failure, Outcome};
use crate::speaker::{Speaker, line};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Addresses that nobody has, as a service's.
const NOWHERE: [&str; 2] = ["10.96.77.9", "fd00:96:77::9"];

/// A pod with an application on 8080 and, in place of a proxy, something that names the port it was captured at.
struct Bare {
    pod: Pod,
    _speakers: Vec<Speaker>,
}

impl Bare {
    async fn new(network: &Network, name: &str, host: u8) -> Outcome<Self> {
        let pod = network.pod(name, host)?;
        let mut speakers = Vec::new();
        for (port, says) in [(OUTBOUND, "outbound"), (INBOUND, "inbound"), (15021, "health"), (8080, "application")] {
            speakers.push(pod.run(Speaker::start(says, port)).await?);
        }
        Ok(Self { pod, _speakers: speakers })
    }

    /// Who answers the pod's application at an address.
    async fn asks(&self, ip: IpAddr, port: u16) -> Outcome<String> {
        self.pod.run(line(SocketAddr::new(ip, port), "who")).await
    }
}

fn nowhere() -> Outcome<[IpAddr; 2]> {
    Ok([NOWHERE[0].parse()?, NOWHERE[1].parse()?])
}

fn expect(what: &str, answer: Outcome<String>, expected: &str) -> Outcome<()> {
    match answer {
        Ok(answer) if answer.starts_with(&format!("{expected} ")) => Ok(()),
        other => Err(Failure::new(format!("{what}: expected {expected:?}, got {other:?}"))),
    }
}

/// Both families and both directions, the application's own connections and what stays inside the pod.
#[test]
fn the_rules_capture_what_applications_send_and_get() -> Outcome<()> {
    on_a_network(async |network| {
        let (one, two) = (Bare::new(network, "one", 10).await?, Bare::new(network, "two", 2).await?);
        one.pod.capture()?;
        two.pod.capture()?;
        for (nowhere, own, other) in [(nowhere()?[0], v4(10), v4(2)), (nowhere()?[1], v6(10), v6(2))] {
            expect("to a service", one.asks(nowhere, 80).await, "outbound")?;
            expect("to a pod", one.asks(other, 8080).await, "outbound")?;
            expect("to its own address", one.asks(own, 8080).await, "application")?;
            expect("from the machine", line(SocketAddr::new(other, 8080), "who").await, "inbound")?;
            expect("from the machine, health", line(SocketAddr::new(other, 15021), "who").await, "health")?;
        }
        expect("over loopback", one.asks([127, 0, 0, 1].into(), 8080).await, "application")
    })
}

/// The sidecar's own connections leave, except to its own pod, where they arrive as from any other.
#[test]
fn the_rules_tell_the_sidecar_from_the_application() -> Outcome<()> {
    on_a_network(async |network| {
        let (one, two) = (Bare::new(network, "one", 10).await?, Bare::new(network, "two", 2).await?);
        one.pod.capture()?;
        for (own, other) in [(v4(10), v4(2)), (v6(10), v6(2))] {
            expect("to another pod", as_sidecar(&one.pod, other).await, "application")?;
            expect("to its own pod", as_sidecar(&one.pod, own).await, "inbound")?;
        }
        for (source, own) in [("127.0.0.6", v4(10)), ("::6", v6(10))] {
            let (source, own) = (SocketAddr::new(source.parse()?, 0), SocketAddr::new(own, 8080));
            let answer = one.pod.run(crate::speaker::line_from(source, own, "who")).await;
            expect("from the sidecar's address", answer, "application")?;
        }
        drop(two);
        Ok(())
    })
}

/// What a child that runs as the sidecar hears from port 8080 of an address.
async fn as_sidecar(pod: &Pod, ip: IpAddr) -> Outcome<String> {
    let files = tempfile::tempdir()?;
    let log = files.path().join("log");
    let script = format!("exec 3<>/dev/tcp/{ip}/8080 && echo who >&3 && head -n 1 <&3");
    let bash = Path::new("/bin/bash");
    let mut child = spawner::start_in(&pod.sidecar(), "a sidecar", bash, &["-c", &script], &log)?;
    child.ended(Duration::from_secs(5)).await?;
    Ok(std::fs::read_to_string(&log)?)
}

/// The control: without rules nothing is captured, and a service's address leads nowhere.
#[test]
fn without_rules_nothing_is_captured() -> Outcome<()> {
    on_a_network(async |network| {
        let (one, two) = (Bare::new(network, "one", 10).await?, Bare::new(network, "two", 2).await?);
        for (nowhere, other) in [(nowhere()?[0], v4(2)), (nowhere()?[1], v6(2))] {
            expect("to a pod", one.asks(other, 8080).await, "application")?;
            if let Ok(answer) = one.asks(nowhere, 80).await {
                return Err(Failure::new(format!("{nowhere} leads nowhere, and {answer:?} came from there")));
            }
        }
        drop(two);
        Ok(())
    })
}
