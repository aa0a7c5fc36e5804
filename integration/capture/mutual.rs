//! Mutual TLS where traffic is captured: on ports of every sort, known and unknown, who has a good certificate is served and
//! everybody else refused, as far as policies say so.

use crate::harness::authority::{Authority, Certificate, issued};
use crate::harness::caller::Caller;
use crate::harness::client::Client;
use crate::harness::envoy::Setup;
use crate::harness::{Failure, Outcome};
use crate::outbound::{served, spoken};
use crate::speaker::{Talk, line};
use crate::stage::{Stage, UNDECLARED, get, on_secure_stage, say, server, service, talk};
use std::net::{IpAddr, SocketAddr};

/// Nobody but who has a certificate of the mesh may talk to anybody.
const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: everybody, namespace: capture}
spec: {mtls: {mode: STRICT}}
";
/// On one port of the server's, everybody may.
const EXCEPT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: echo, namespace: capture}
spec: {selector: {matchLabels: {app: echo}}, portLevelMtls: {9000: {mode: DISABLE}}}
";
const HTTP: &str = "GET / HTTP/1.1\r\nhost: echo\r\n\r\n";
const LINE: &str = "hello\n";
/// What is said to each port, and the words of ALPN: HTTP, bytes, nothing stated, and a port that no Service has.
const PORTS: [(u16, &str, &[&str]); 4] = [
    (8080, HTTP, &["istio-http/1.1", "istio", "http/1.1"]),
    (9000, LINE, &["istio"]),
    (7000, LINE, &["istio"]),
    (UNDECLARED, LINE, &["istio"]),
];
/// Where the server speaks first.
const FIRST: u16 = 9025;

/// Callers by hand, from the machine.
struct Callers {
    good: Certificate,
    /// Those that nobody should believe.
    bad: [(&'static str, Certificate); 2],
}

impl Callers {
    fn of(stage: &Stage) -> Outcome<Self> {
        let (name, identity) = ("spiffe://cluster.local/ns/capture/sa/default", stage.chancery.identity());
        let elsewhere = issued(&identity, "spiffe://other.example/ns/capture/sa/default")?;
        let bad = [("another trust domain", elsewhere), ("another authority", Authority::new()?.issue(name)?)];
        Ok(Self { good: issued(&identity, name)?, bad })
    }

    /// Fails unless on each of these ports who has a good certificate is answered, and nobody who hasn't.
    async fn only_the_mesh_is_served(&self, ports: &[u16]) -> Outcome<()> {
        for (ip, (port, says, alpn)) in each(ports) {
            let at = SocketAddr::new(ip, port);
            let answers = async |shown| is_answered(at, says, Some((shown, alpn))).await;
            if !answers(Some(&self.good)).await? {
                return Err(Failure::new(format!("{at}: a good certificate is refused")));
            }
            for (what, bad) in &self.bad {
                if answers(Some(bad)).await? {
                    return Err(Failure::new(format!("{at}: {what} is served")));
                }
            }
            if answers(None).await? {
                return Err(Failure::new(format!("{at}: no certificate is served")));
            }
        }
        Ok(())
    }
}

/// Both addresses of the server, with each of those ports.
fn each(ports: &[u16]) -> impl Iterator<Item = (IpAddr, (u16, &'static str, &'static [&'static str]))> {
    let asked = PORTS.into_iter().filter(move |(port, ..)| ports.contains(port));
    let asked: Vec<_> = asked.collect();
    server().into_iter().flat_map(move |ip| asked.clone().into_iter().map(move |port| (ip, port)))
}

/// Whether a caller gets what the application says.
async fn is_answered(at: SocketAddr, says: &str, tls: Option<(Option<&Certificate>, &[&str])>) -> Outcome<bool> {
    let word = if says == HTTP { " 200 " } else { "hello" };
    Ok(Caller { says, tls }.call(at).await?.is_some_and(|answer| answer.contains(word)))
}

/// Fails unless plain text is answered on these ports, or on none of them.
async fn plain_text(ports: &[u16], answered: bool) -> Outcome<()> {
    for (ip, (port, says, _)) in each(ports) {
        let at = SocketAddr::new(ip, port);
        if is_answered(at, says, None).await? != answered {
            return Err(Failure::new(format!("{at}: plain text is {}answered", if answered { "not " } else { "" })));
        }
    }
    Ok(())
}

/// An application whose pod has a sidecar reaches every port of the Service.
async fn the_mesh_is_served(stage: &Stage) -> Outcome<()> {
    for ip in service() {
        served(&get(&stage.client, ip, 80, "echo").await?)?;
        for port in [9000, 7000] {
            spoken(&say(&stage.client, ip, port, "hello").await?, "hello")?;
        }
        spoken(&talk(&stage.client, ip, FIRST).await?.hear().await?, "welcome")?;
    }
    Ok(())
}

/// What the server's sidecar has counted, over all listeners.
async fn counted(stage: &Stage, metric: &str) -> Outcome<f64> {
    Ok(stage.scrape(1).await?.sum(metric, &[]))
}

async fn captured_ports_take_mutual_tls(stage: &mut Stage) -> Outcome<()> {
    let (callers, all) = (Callers::of(stage)?, PORTS.map(|(port, ..)| port));
    // The control: as long as nobody forbids it plain text is served, and mutual TLS, too.
    the_mesh_is_served(stage).await?;
    plain_text(&all, true).await?;
    callers.only_the_mesh_is_served(&all).await?;

    stage.declare("strict.yaml", STRICT, "lds", &[&stage.server]).await?;
    stage.drained().await?;
    let [before, refused] = [
        counted(stage, "envoy_listener_ssl_handshake").await?,
        counted(stage, "envoy_listener_no_filter_chain_match").await?,
    ];
    the_mesh_is_served(stage).await?;
    if counted(stage, "envoy_listener_ssl_handshake").await? < before + 4.0 {
        return Err(Failure::new("the mesh is served, and hardly anybody has shaken hands"));
    }
    callers.only_the_mesh_is_served(&all).await?;
    plain_text(&all, false).await?;
    if counted(stage, "envoy_listener_no_filter_chain_match").await? < refused + 2.0 * all.len() as f64 {
        return Err(Failure::new("plain text was refused, and not as what no chain is for"));
    }
    for ip in server() {
        let greeting = Talk::begin(SocketAddr::new(ip, FIRST)).await?.hear().await;
        if let Ok(greeting) = greeting {
            return Err(Failure::new(format!("{ip}: somebody in plain text was told {greeting:?}")));
        }
    }

    // A port of its own: what it says is of the server's port, and the others stay as they are.
    stage.declare("except.yaml", EXCEPT, "lds", &[&stage.server]).await?;
    stage.drained().await?;
    plain_text(&[9000], true).await?;
    plain_text(&[8080, 7000, UNDECLARED], false).await?;
    callers.only_the_mesh_is_served(&[8080, 7000, UNDECLARED]).await?;
    if is_answered(SocketAddr::new(server()[0], 9000), LINE, Some((Some(&callers.good), &["istio"]))).await? {
        return Err(Failure::new("mutual TLS is opened where it is disabled"));
    }
    the_mesh_is_served(stage).await?;
    // Its sidecar's own port and health are no part of it.
    let at = SocketAddr::new(server()[0], 15021);
    let health = Client::default().get(at, "/healthz/ready", &[]).await?;
    let nowhere = line(SocketAddr::new(server()[0], 15006), "hello").await;
    if !health.status.is_success() || nowhere.is_ok() {
        return Err(Failure::new(format!("health: {}, the port of the capture: {nowhere:?}", health.status)));
    }
    Ok(())
}

/// Under STRICT captured ports serve a client with mutual TLS and refuse plain text, and whoever else shows something; one port may
/// be left out.
pub fn test(setup: Setup) -> Outcome<()> {
    on_secure_stage(setup, captured_ports_take_mutual_tls)
}
