//! What an application sends, by service address, by host, or to somebody nobody knows.

use crate::harness::client::{Answer, Client};
use crate::harness::network::{v4, v6};
use crate::harness::{Failure, Outcome};
use crate::speaker::{self, Speaker};
use crate::stage::{Stage, get, say, service, talk};
use std::net::SocketAddr;

/// The addresses from which a sidecar reaches its application.
const SIDECAR: [&str; 2] = ["127.0.0.6", "::6"];
/// A port of a stranger that speaks first, which no Service has.
const FIRST: u16 = 7778;
/// What a proxy adds to an answer that it has understood as HTTP.
const UNDERSTOOD: &str = "x-envoy-upstream-service-time";

/// Fails unless proxies understood the exchange, and the application answered and saw its own sidecar as the peer: an
/// address of either family, since an endpoint of either may have been chosen.
pub fn served(answer: &Answer) -> Outcome<()> {
    let body = String::from_utf8_lossy(&answer.body);
    let peer = SIDECAR.iter().any(|ip| body.contains(&format!("\"{ip}\"")) || body == format!("echo {ip}"));
    if understood(answer) && peer { Ok(()) } else { Err(strange(answer)) }
}

fn understood(answer: &Answer) -> bool {
    answer.status == 200 && answer.headers.contains_key(UNDERSTOOD)
}

fn strange(answer: &Answer) -> Failure {
    let body = String::from_utf8_lossy(&answer.body);
    Failure::new(format!("the answer was {} {:?} {body}", answer.status, answer.headers))
}

/// Fails unless the application said these words, to its own sidecar.
pub fn spoken(answer: &str, words: &str) -> Outcome<()> {
    let expected = SIDECAR.map(|ip| format!("echo {ip} {words}"));
    if expected.contains(&answer.to_owned()) { Ok(()) } else { heard(answer, &expected.join(" or ")) }
}

/// Fails unless it is that line.
pub fn heard(answer: &str, expected: &str) -> Outcome<()> {
    if answer == expected { Ok(()) } else { Err(Failure::new(format!("heard {answer:?}, expected {expected:?}"))) }
}

/// A request goes by its Host, whichever of the service's names it is, wherever it was sent to.
pub async fn http_by_address_and_host(stage: &mut Stage) -> Outcome<()> {
    let ip = service()[0];
    for host in ["echo", "echo.capture", "echo.capture.svc.cluster.local", "echo:80", "10.96.77.1"] {
        served(&get(&stage.client, ip, 80, host).await?).map_err(|failure| failure.with(host))?;
    }
    served(&get(&stage.client, "10.96.77.200".parse()?, 80, "echo").await?)
}

/// A TCP port carries bytes both ways.
pub async fn tcp_by_address(stage: &mut Stage) -> Outcome<()> {
    let mut talk = talk(&stage.client, service()[0], 9000).await?;
    spoken(&talk.say("hello").await?, "hello")?;
    spoken(&talk.say("again").await?, "again")
}

/// On a port that says nothing, HTTP is understood and anything else is passed on, to the same application.
pub async fn a_port_that_says_nothing(stage: &mut Stage) -> Outcome<()> {
    let ip = service()[0];
    served(&get(&stage.client, ip, 7000, "echo:7000").await?)?;
    spoken(&say(&stage.client, ip, 7000, "hello").await?, "hello")
}

/// A server that speaks first is heard at once on a port that says it is TCP.
pub async fn a_server_speaks_first(stage: &mut Stage) -> Outcome<()> {
    for ip in service() {
        let mut talk = talk(&stage.client, ip, 9025).await?;
        spoken(&talk.hear().await?, "welcome")?;
        spoken(&talk.say("hello").await?, "hello")?;
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
    for ip in service() {
        served(&get(&stage.server, ip, 80, "echo").await?)?;
        spoken(&say(&stage.server, ip, 9000, "hello").await?, "hello")?;
    }
    Ok(())
}

/// Everything by the service's other address.
pub async fn ipv6(stage: &mut Stage) -> Outcome<()> {
    let (ip, client) = (service()[1], &stage.client);
    for host in ["echo", "[fd00:96:77::1]"] {
        served(&get(client, ip, 80, host).await?).map_err(|failure| failure.with(host))?;
    }
    served(&get(client, ip, 7000, "echo:7000").await?)?;
    for port in [9000, 7000] {
        spoken(&say(client, ip, port, "hello").await?, "hello")?;
    }
    Ok(())
}

/// A Service loses its first address, and is served at the other without a gap in what proxies accept: no two listeners
/// have one address, not even while one comes and the other goes.
pub async fn an_address_goes_and_the_other_stays(stage: &mut Stage) -> Outcome<()> {
    let [first, second] = service();
    spoken(&say(&stage.client, first, 9000, "hello").await?, "hello")?;
    stage.edit(&[("clusterIPs: [10.96.77.1, \"fd00:96:77::1\"]", "clusterIPs: [\"fd00:96:77::1\"]")]).await?;
    served(&get(&stage.client, second, 80, "echo").await?)?;
    for port in [9000, 7000] {
        spoken(&say(&stage.client, second, port, "hello").await?, "hello")?;
    }
    match say(&stage.client, first, 9000, "hello").await {
        Ok(answer) => Err(Failure::new(format!("the address that is gone: {answer:?}"))),
        Err(_) => Ok(()),
    }
}

/// What no Service has is reached all the same, by anything that is not HTTP also on a port where others are; a server that
/// speaks first is heard at once where no port is known.
pub async fn what_nobody_knows_is_allowed(stage: &mut Stage) -> Outcome<()> {
    let _strangers = strangers().await?;
    for ip in [v4(1), v6(1)] {
        for port in [7777, 80] {
            let answer = say(&stage.client, ip, port, "hello").await?;
            if !answer.starts_with("stranger ") {
                return Err(Failure::new(format!("{ip} port {port}: {answer:?}")));
            }
        }
        let welcome = talk(&stage.client, ip, FIRST).await?.hear().await?;
        if !welcome.starts_with("stranger ") || !welcome.ends_with(" welcome") {
            return Err(Failure::new(format!("{ip} says first {welcome:?}")));
        }
        let answer = get(&stage.client, ip, 80, "stranger.example").await?;
        if !understood(&answer) || !answer.body.starts_with(b"stranger ") {
            return Err(strange(&answer));
        }
    }
    Ok(())
}

/// The control: the same strangers, and a mesh that allows only what it knows.
pub async fn what_nobody_knows_is_refused(stage: &mut Stage) -> Outcome<()> {
    let _strangers = strangers().await?;
    stage.restrict("outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n").await?;
    for ip in [v4(1), v6(1)] {
        for port in [7777, 80, FIRST] {
            if let Ok(answer) = say(&stage.client, ip, port, "hello").await {
                return Err(Failure::new(format!("{ip} port {port}: {answer:?}")));
            }
        }
        let answer = get(&stage.client, ip, 80, "stranger.example").await?;
        if answer.status != 502 {
            return Err(Failure::new(format!("{ip}: status {}", answer.status)));
        }
    }
    Ok(())
}

/// On the machine, beside the control plane: applications that belong to no Service.
async fn strangers() -> Outcome<Vec<Speaker>> {
    let mut strangers = vec![Speaker::start("stranger", 7777).await?, Speaker::start("stranger", 80).await?];
    strangers.push(Speaker::start_first("stranger", FIRST).await?);
    // They answer those who ask without a proxy.
    heard(&speaker::line(SocketAddr::new(v4(1), 80), "hello").await?, "stranger 10.77.0.1 hello")?;
    Client::default().get(SocketAddr::new(v4(1), 80), "/", &[]).await?;
    Ok(strangers)
}
