//! What a pod gets: on ports of its Service, on others, and on the ports of the capture itself. The callers are on the
//! machine, without a proxy, so that only the pod's own sidecar is on the way.

use crate::harness::client::Client;
use crate::harness::network::{INBOUND, OUTBOUND};
use crate::harness::{Failure, Outcome, deadline};
use crate::odd::refused;
use crate::outbound::{heard, spoken};
use crate::speaker::{Talk, line};
use crate::stage::{LATER, SOON, Stage, UNDECLARED, server, service, talk};
use std::net::SocketAddr;
use std::time::Duration;

/// How long what is drained may take to be closed: Envoys here drain for one second.
const DRAINED: Duration = Duration::from_secs(5);

/// Every sort of port, declared or not, is reached through the sidecar, which the application sees as its peer.
pub async fn ports_of_every_sort(_: &mut Stage) -> Outcome<()> {
    for (ip, peer) in server().into_iter().zip(["127.0.0.6", "::6"]) {
        let client = Client::default();
        for port in [8080, 7000, UNDECLARED] {
            let answer = client.get(SocketAddr::new(ip, port), "/", &[]).await?;
            let body = String::from_utf8_lossy(&answer.body);
            if answer.status != 200 || !body.contains(peer) {
                return Err(Failure::new(format!("{ip} port {port}: {} {body}", answer.status)));
            }
        }
        for port in [9000, 7000, UNDECLARED] {
            let answer = line(SocketAddr::new(ip, port), "hello").await;
            let answer = answer.map_err(|failure| failure.with(&format!("{ip} port {port}")))?;
            heard(&answer, &format!("echo {peer} hello"))?;
        }
    }
    Ok(())
}

/// A connection to the ports that captured connections arrive at would lead to itself for ever; it is closed.
pub async fn the_ports_of_the_capture_refuse(stage: &mut Stage) -> Outcome<()> {
    for ip in server() {
        for port in [OUTBOUND, INBOUND] {
            let address = SocketAddr::new(ip, port);
            closed(&format!("from outside, {address}"), line(address, "hello").await)?;
            let own = stage.server.run(line(address, "hello")).await;
            closed(&format!("from inside, {address}"), own)?;
        }
    }
    // It still serves.
    heard(&line(SocketAddr::new(server()[0], 9000), "hello").await?, "echo 127.0.0.6 hello")
}

/// The control: what is changed for the whole listener ends the connections of every port.
pub async fn a_change_of_the_listener_ends_all(stage: &mut Stage) -> Outcome<()> {
    let mut kept = Talk::begin(SocketAddr::new(server()[0], 9000)).await?;
    heard(&kept.say("before").await?, "echo 127.0.0.6 before")?;
    stage.restrict("protocolDetectionTimeout: 7s\n").await?;
    let gone = async || kept.say("still there?").await.is_err().then_some(());
    deadline::until("a connection of the changed listener is drained", DRAINED, gone).await
}

fn closed(what: &str, answer: Outcome<String>) -> Outcome<()> {
    match answer {
        Err(failure) if failure.0.contains("closed") || failure.0.contains("reset") => Ok(()),
        other => Err(Failure::new(format!("{what}: {other:?}"))),
    }
}

/// A port comes, another speaks something else from now on: connections of that one end, those of others don't notice, whatever
/// family they are of.
pub async fn ports_change_apart(stage: &mut Stage) -> Outcome<()> {
    let (mut changed, mut kept) = (Vec::new(), Vec::new());
    for (pod, service) in server().into_iter().zip(service()) {
        changed.push(Talk::begin(SocketAddr::new(pod, 7000)).await?);
        kept.push(Talk::begin(SocketAddr::new(pod, 9000)).await?);
        kept.push(Talk::begin(SocketAddr::new(pod, UNDECLARED)).await?);
        kept.push(talk(&stage.client, service, 9000).await?);
    }
    answered(&mut kept, "before").await?;
    answered(&mut changed, "before").await?;
    let more =
        format!("{{name: tcp-later, port: {LATER}, targetPort: {LATER}}}\n  - {{name: tcp-anything, port: 7000,");
    let slice = format!("{{name: tcp-later, port: {LATER}}}\n- {{name: tcp-anything, port: 7000}}");
    stage.edit(&[("{name: anything, port: 7000,", &more), ("{name: anything, port: 7000}", &slice)]).await?;
    for ip in service() {
        let line = stage.client.run(line(SocketAddr::new(ip, LATER), "hello")).await?;
        spoken(&line, "hello")?;
    }
    for changed in &mut changed {
        let gone = async || changed.say("still there?").await.is_err().then_some(());
        deadline::until("the connection of the changed port is drained", DRAINED, gone).await?;
    }
    answered(&mut kept, "after").await
}

/// Says the same over each connection and hears it back.
async fn answered(talks: &mut [Talk], what: &str) -> Outcome<()> {
    for talk in talks {
        spoken(&talk.say(what).await?, what)?;
    }
    Ok(())
}

/// Ports of the capture that would change places stay where they are, and the user is told; one after the other they do.
pub async fn the_ports_of_the_capture_change_places_in_turn(stage: &mut Stage) -> Outcome<()> {
    const FREE: u16 = 15016;
    let ports =
        |outbound: u16, inbound: u16| format!("proxyListenPort: {outbound}\nproxyInboundListenPort: {inbound}\n");
    stage.folder.replace("mesh.yaml", &ports(INBOUND, OUTBOUND))?;
    let api = stage.chancery.api();
    let told = async || {
        let problems = api.problems().await.ok()?;
        let both = ["proxyListenPort", "proxyInboundListenPort"];
        both.iter().all(|field| problems.iter().any(|problem| problem.field == *field)).then_some(())
    };
    deadline::until("both ports are reported", SOON, told).await?;
    stage.settled().await?;
    heard(&line(SocketAddr::new(server()[0], 9000), "hello").await?, "echo 127.0.0.6 hello")?;
    for (outbound, inbound) in
        [(FREE, INBOUND), (FREE, OUTBOUND), (INBOUND, OUTBOUND), (FREE, OUTBOUND), (FREE, INBOUND), (OUTBOUND, INBOUND)]
    {
        let moved = stage.restrict(&ports(outbound, inbound)).await;
        moved.map_err(|failure| failure.with(&format!("to {outbound} and {inbound}")))?;
    }
    if let Some(reason) = refused(stage).await? {
        return Err(Failure::new(reason));
    }
    heard(&line(SocketAddr::new(server()[0], 9000), "hello").await?, "echo 127.0.0.6 hello")?;
    // The control: a chancery that knows nothing of before lets them change places at once, and proxies refuse.
    stage.folder.replace("mesh.yaml", &ports(INBOUND, OUTBOUND))?;
    stage.chancery.kill()?;
    stage.chancery.restart().await?;
    deadline::until("the refusal is seen", SOON, async || refused(stage).await.ok()?.map(drop)).await
}
