//! What a Sidecar says of captured pods: where the ports of others are, where the application is, how much may arrive.

use crate::harness::{Failure, Outcome};
use crate::outbound::{heard, served, spoken};
use crate::speaker::{Talk, line};
use crate::stage::{LATER, Stage, get, say, server, service};
use std::fs::{Permissions, set_permissions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;

/// For the client: a port that says nothing becomes HTTP and is opened really, another is at an address of its own.
const EGRESS: &str = "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: client, namespace: capture}
spec:
  workloadSelector: {labels: {app: client}}
  egress:
  - {port: {number: 7000, protocol: HTTP, name: http}, captureMode: NONE, hosts: ['./*']}
  - {port: {number: 9000, protocol: TCP, name: tcp}, bind: 10.96.77.9, hosts: ['./*']}
";

/// Ports are where the Sidecar says, and nowhere else; the control is that nobody was there before it said so.
pub async fn ports_are_where_a_sidecar_says(stage: &mut Stage) -> Outcome<()> {
    let (client, own) = (&stage.client, service()[0]);
    let (opened, moved) = (IpAddr::V4(Ipv4Addr::LOCALHOST), "10.96.77.9".parse()?);
    nobody("the opened port, before", get(client, opened, 7000, "echo").await)?;
    nobody("the moved port, before", say(client, moved, 9000, "hello").await)?;
    for port in [7000, 9000] {
        spoken(&say(client, own, port, "hello").await?, "hello")?;
    }
    stage.declare("sidecar.yaml", EGRESS, "lds", &[client]).await?;
    served(&get(client, opened, 7000, "echo").await?)?;
    spoken(&say(client, moved, 9000, "hello").await?, "hello")?;
    for port in [80, 7000, 9000] {
        nobody(&format!("port {port} of the service's own address"), say(client, own, port, "hello").await)?;
    }
    // Passed on to where it was sent, such a request would come back for ever.
    match get(client, opened, 7000, "nobody.example").await?.status.as_u16() {
        502 => Ok(()),
        status => Err(Failure::new(format!("an unknown host got {status}"))),
    }
}

fn nobody<T>(what: &str, answer: Outcome<T>) -> Outcome<()> {
    if answer.is_ok() { Err(Failure::new(format!("{what}: somebody answered"))) } else { Ok(()) }
}

/// The port that a Sidecar opens really.
const OPENED: u16 = 9201;
/// The port of the application that is on a socket.
const SOCKET: u16 = 9202;

fn ingress(socket: &Path) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: echo, namespace: capture}}
spec:
  workloadSelector: {{labels: {{app: echo}}}}
  ingress:
  - {{port: {{number: 9000, protocol: TCP, name: tcp}}, defaultEndpoint: '0.0.0.0:{LATER}'}}
  - {{port: {{number: 7000, protocol: TCP, name: six}}, defaultEndpoint: '[::]:{LATER}'}}
  - {{port: {{number: {OPENED}, protocol: TCP, name: open}}, captureMode: NONE, defaultEndpoint: '127.0.0.1:{LATER}'}}
  - {{port: {{number: {SOCKET}, protocol: TCP, name: unix}}, defaultEndpoint: 'unix://{}'}}
",
        socket.display()
    )
}

/// An application is reached at the Pod's own addresses, behind a port that is really open, and on a socket; the control
/// is that none of the ports answers, or answers so, before.
pub async fn an_application_is_where_a_sidecar_says(stage: &mut Stage) -> Outcome<()> {
    let path = stage.files().join("application.sock");
    let listener = UnixListener::bind(&path)?;
    set_permissions(&path, Permissions::from_mode(0o777))?;
    let application = tokio::spawn(answer(listener));
    let at = |port| SocketAddr::new(server()[0], port);
    for port in [OPENED, SOCKET] {
        nobody(&format!("port {port}, before"), line(at(port), "hello").await)?;
    }
    heard(&line(at(7000), "hello").await?, "echo 127.0.0.6 hello")?;
    stage.declare("sidecar.yaml", &ingress(&path), "lds", &[&stage.server]).await?;
    heard(&line(at(9000), "hello").await?, "echo 127.0.0.6 hello")?;
    heard(&line(at(7000), "hello").await?, "echo ::6 hello")?;
    heard(&line(at(OPENED), "hello").await?, "echo 127.0.0.1 hello")?;
    heard(&line(at(SOCKET), "hello").await?, "socket hello")?;
    application.abort();
    Ok(())
}

/// Answers each line of one connection after the other.
async fn answer(listener: UnixListener) -> std::io::Result<()> {
    loop {
        let (read, mut write) = listener.accept().await?.0.into_split();
        let mut lines = BufReader::new(read).lines();
        while let Some(line) = lines.next_line().await? {
            write.write_all(format!("socket {line}\n").as_bytes()).await?;
        }
    }
}

const RULE: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo, namespace: capture}
spec: {host: echo, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}}
";
const POOL: &str = "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: echo, namespace: capture}
spec: {workloadSelector: {labels: {app: echo}}, inboundConnectionPool: {tcp: {maxConnections: 2}}}
";

/// How many connections a captured port takes: any number, then what the rule of its Service says, then what the Sidecar
/// says instead. The callers have no proxy, so nobody else limits them.
pub async fn what_arrives_is_limited(stage: &mut Stage) -> Outcome<()> {
    taken("without limits", 3, 3).await?;
    stage.declare("rule.yaml", RULE, "cds", &[&stage.server]).await?;
    taken("by the rule of the Service", 3, 1).await?;
    stage.declare("sidecar.yaml", POOL, "cds", &[&stage.server]).await?;
    taken("by the Sidecar", 3, 2).await
}

/// Fails unless of some connections at once so many are served.
async fn taken(what: &str, tried: usize, expected: usize) -> Outcome<()> {
    let mut open = Vec::new();
    for _ in 0..tried {
        let mut talk = Talk::begin(SocketAddr::new(server()[0], 9000)).await?;
        if talk.say("hello").await.is_ok() {
            open.push(talk);
        }
    }
    if open.len() == expected {
        return Ok(());
    }
    Err(Failure::new(format!("{what}: {} of {tried} connections were served, expected {expected}", open.len())))
}
