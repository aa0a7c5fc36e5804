//! What an application sends, by service address, by host, or to somebody nobody knows.

use crate::harness::client::{Answer, Client};
use crate::harness::network::v4;
use crate::harness::{Failure, Outcome};
use crate::speaker::{self, Speaker};
use crate::stage::{Stage, get, say, service, talk};
use std::net::{IpAddr, SocketAddr};

/// The addresses from which a sidecar reaches its application.
const SIDECAR: [&str; 2] = ["127.0.0.6", "::6"];
/// What a proxy adds to an answer that it has understood as HTTP.
const UNDERSTOOD: &str = "x-envoy-upstream-service-time";

/// Fails unless the application answered, saw its own sidecar as the peer, and proxies understood the exchange.
fn served(answer: &Answer, peer: &str) -> Outcome<()> {
    let body = String::from_utf8_lossy(&answer.body);
    let good = answer.status == 200 && answer.headers.contains_key(UNDERSTOOD) && body.contains(peer);
    if good { Ok(()) } else { Err(Failure::new(format!("{} {:?} {body}", answer.status, answer.headers))) }
}

/// Fails unless it is that line.
pub fn heard(answer: &str, expected: &str) -> Outcome<()> {
    if answer == expected { Ok(()) } else { Err(Failure::new(format!("heard {answer:?}, expected {expected:?}"))) }
}

/// A request goes by its Host, whichever of the service's names it is; without one, by the address it was sent to.
pub async fn http_by_address_and_host(stage: &mut Stage) -> Outcome<()> {
    let ip = service()[0];
    for host in ["echo", "echo.capture", "echo.capture.svc.cluster.local", "echo:80", "10.96.77.1"] {
        served(&get(&stage.client, ip, 80, host).await?, SIDECAR[0]).map_err(|failure| failure.with(host))?;
    }
    let elsewhere: IpAddr = "10.96.77.200".parse()?;
    served(&get(&stage.client, elsewhere, 80, "echo").await?, SIDECAR[0])
}

/// A TCP port carries bytes both ways.
pub async fn tcp_by_address(stage: &mut Stage) -> Outcome<()> {
    heard(&say(&stage.client, service()[0], 9000, "hello").await?, "echo 127.0.0.6 hello")
}

/// On a port that says nothing, HTTP is understood and anything else is passed on, to the same application.
pub async fn a_port_that_says_nothing(stage: &mut Stage) -> Outcome<()> {
    let ip = service()[0];
    served(&get(&stage.client, ip, 7000, "echo:7000").await?, SIDECAR[0])?;
    heard(&say(&stage.client, ip, 7000, "hello").await?, "echo 127.0.0.6 hello")
}

/// A server that speaks first is heard at once on a port that says it is TCP.
pub async fn a_server_speaks_first(stage: &mut Stage) -> Outcome<()> {
    for ip in service() {
        let peer = if ip.is_ipv4() { SIDECAR[0] } else { SIDECAR[1] };
        let mut talk = talk(&stage.client, ip, 9025).await?;
        heard(&talk.hear().await?, &format!("echo {peer} welcome"))?;
        heard(&talk.say("hello").await?, &format!("echo {peer} hello"))?;
    }
    Ok(())
}

/// The control: where a port says nothing, a proxy waits for the client's first bytes, and the welcome is late.
pub async fn a_server_speaks_first_unannounced(stage: &mut Stage) -> Outcome<()> {
    stage.edit(&[("name: tcp-greeting", "name: greeting")]).await?;
    match talk(&stage.client, service()[0], 9025).await?.hear().await {
        Ok(line) => Err(Failure::new(format!("{line:?} came at once, so waiting isn't noticed"))),
        Err(_) => Ok(()),
    }
}

/// A pod that calls the service it belongs to goes through its sidecar twice, like any other client.
pub async fn a_pod_calls_itself(stage: &mut Stage) -> Outcome<()> {
    for (ip, peer) in service().into_iter().zip(SIDECAR) {
        served(&get(&stage.server, ip, 80, "echo").await?, peer)?;
        heard(&say(&stage.server, ip, 9000, "hello").await?, &format!("echo {peer} hello"))?;
    }
    Ok(())
}

/// Everything by the service's other address.
pub async fn ipv6(stage: &mut Stage) -> Outcome<()> {
    let (ip, client) = (service()[1], &stage.client);
    for host in ["echo", "[fd00:96:77::1]"] {
        served(&get(client, ip, 80, host).await?, "").map_err(|failure| failure.with(host))?;
    }
    for port in [9000, 7000] {
        let answer = say(client, ip, port, "hello").await?;
        if !SIDECAR.iter().any(|peer| answer == format!("echo {peer} hello")) {
            return Err(Failure::new(format!("port {port}: {answer:?}")));
        }
    }
    served(&get(client, ip, 7000, "echo:7000").await?, "")
}

/// What no Service has is reached all the same, by anything that is not HTTP also on a port where others are.
pub async fn what_nobody_knows_is_allowed(stage: &mut Stage) -> Outcome<()> {
    let _strangers = strangers().await?;
    for ip in [v4(1), crate::harness::network::v6(1)] {
        for port in [7777, 80] {
            let answer = say(&stage.client, ip, port, "hello").await?;
            if !answer.starts_with("stranger ") {
                return Err(Failure::new(format!("{ip} port {port}: {answer:?}")));
            }
        }
        let answer = get(&stage.client, ip, 80, "stranger.example").await?;
        served(&answer, "stranger")?;
    }
    Ok(())
}

/// The control: the same strangers, and a mesh that allows only what it knows.
pub async fn what_nobody_knows_is_refused(stage: &mut Stage) -> Outcome<()> {
    let _strangers = strangers().await?;
    stage.restrict("outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n").await?;
    for port in [7777, 80] {
        if let Ok(answer) = say(&stage.client, v4(1), port, "hello").await {
            return Err(Failure::new(format!("port {port}: {answer:?}")));
        }
    }
    let answer = get(&stage.client, v4(1), 80, "stranger.example").await?;
    if answer.status == 502 { Ok(()) } else { Err(Failure::new(format!("status {}", answer.status))) }
}

/// On the machine, beside the control plane: applications that belong to no Service.
async fn strangers() -> Outcome<Vec<Speaker>> {
    let strangers = vec![Speaker::start("stranger", 7777).await?, Speaker::start("stranger", 80).await?];
    // They answer those who ask without a proxy.
    heard(&speaker::line(SocketAddr::new(v4(1), 80), "hello").await?, "stranger 10.77.0.1 hello")?;
    Client::default().get(SocketAddr::new(v4(1), 80), "/", &[]).await?;
    Ok(strangers)
}
