//! Mutual TLS between real Envoys, each mode on ports of each protocol: who is served by which chain, and who is refused.
//! The Envoys run on what chancery would give them, with certificates of an authority of the test.

#[path = "mutual/frozen.rs"]
mod frozen;
mod harness;
#[path = "mutual/manifests.rs"]
mod manifests;
#[path = "mutual/server.rs"]
mod server;
#[path = "mutual/words.rs"]
mod words;

use chancery::model::audience::{Interception, ProxyFacts};
use frozen::{Frozen, Identity};
use harness::addresses::Subnet;
use harness::authority::{Authority, Certificate};
use harness::caller::Caller;
use harness::client::{self, Client};
use harness::deadline;
use harness::echo::Echo;
use harness::tools::{self, Release};
use harness::{Failure, Outcome};
use manifests::Behind;
use server::Server;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const HTTP: &str = "GET /by-hand HTTP/1.1\r\nhost: web\r\n\r\n";
const LINE: &str = "hello\n";
/// Why somebody is refused: plain text, no certificate, another trust domain, another authority.
const REFUSED: [&str; 4] =
    ["no_filter_chain_match", "ssl.fail_verify_no_cert", "ssl.fail_verify_san", "ssl.fail_verify_error"];

/// A server's and a client's Envoy, an application behind the one, and certificates. Dropped in order.
struct Stage {
    server: Frozen,
    client: Frozen,
    _echo: Echo,
    _servers: [Server; 2],
    _greeter: JoinHandle<()>,
    _files: TempDir,
    subnet: Subnet,
    good: Certificate,
    foreign: Certificate,
    unknown: Certificate,
}

impl Stage {
    async fn open(release: Release) -> Outcome<Self> {
        let (subnet, authority) = (Subnet::take()?, Authority::new()?);
        let files = tempfile::Builder::new().prefix("chancery-").tempdir()?;
        let echo = Echo::start("web", subnet.ip(3), 0, 0).await?;
        let (greeter, greeting) = greeter(&subnet).await?;
        let behind = Behind { http: echo.http, lines: echo.tcp, greeter };
        let world = manifests::world(&subnet, behind, files.path())?;
        let servers = outside(&subnet, files.path()).await?;
        let name = |account: &str| format!("spiffe://cluster.local/ns/shop/sa/{account}");
        let (web, client) = (authority.issue(&name("web"))?, authority.issue(&name("client"))?);
        let facts = |pod: &str, host: u8| {
            let interception = Interception::None { bind: subnet.ip(host) };
            ProxyFacts { authenticated: true, ..ProxyFacts::new("shop".into(), pod.into(), interception) }
        };
        let of = |certificate| Identity { certificate, authority: &authority.certificate };
        let at = (subnet.ip(1), release);
        let server = Frozen::start(&world, facts("web-1", 120), &of(&web), at, files.path()).await?;
        let client_proxy = Frozen::start(&world, facts("client", 110), &of(&client), at, files.path()).await?;
        Ok(Self {
            server,
            client: client_proxy,
            _echo: echo,
            _servers: servers,
            _greeter: greeting,
            _files: files,
            good: client,
            foreign: authority.issue("spiffe://other.example/ns/shop/sa/client")?,
            unknown: Authority::new()?.issue(&name("client"))?,
            subnet,
        })
    }

    /// The server's port.
    fn server(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.subnet.ip(2), port)
    }

    /// Where the client's application finds a Service's port.
    fn outbound(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.subnet.ip(110), port)
    }

    async fn ask(&self, port: u16, host: &str, path: &str) -> Outcome<u16> {
        Ok(Client::default().get(self.outbound(port), path, &[("host", host)]).await?.status.as_u16())
    }

    /// Waits until the server has logged one more connection or request that way.
    async fn logged(&self, line: &str, times: usize) -> Outcome<()> {
        let seen = || self.server.written().lines().filter(|written| *written == line).count();
        let what = format!("{times} times {line:?}");
        let logged = deadline::until(&what, Duration::from_secs(5), async || (seen() >= times).then_some(()));
        logged.await.map_err(|failure| failure.with(&self.server.tail()))
    }

    /// Whether a caller by hand is answered there.
    async fn answers(&self, port: u16, says: &str, tls: Option<(Option<&Certificate>, &[&str])>) -> Outcome<bool> {
        Ok(Caller { says, tls }.call(self.server(port)).await?.is_some_and(|text| text.contains("web")))
    }
}

/// An application that speaks first, and closes.
async fn greeter(subnet: &Subnet) -> Outcome<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind((subnet.ip(3), 0)).await?;
    let address = listener.local_addr()?;
    let greeting = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"web speaks first\n").await.ok();
        }
    });
    Ok((address, greeting))
}

/// Servers outside the mesh, and the files that the client's proxy has for them.
async fn outside(subnet: &Subnet, files: &Path) -> Outcome<[Server; 2]> {
    let authority = Authority::new()?;
    let (server, client) = (authority.issue_for_host("far.example")?, authority.issue_for_host("client.example")?);
    for (name, text) in [("ca.pem", &authority.certificate), ("cert.pem", &client.chain), ("key.pem", &client.key)] {
        std::fs::write(files.join(name), text)?;
    }
    let [open, demanding] = manifests::outside(subnet);
    let open = Server::start(open, &server, None).await?;
    Ok([open, Server::start(demanding, &server, Some(&authority)).await?])
}

const CLIENT: &str = "spiffe://cluster.local/ns/shop/sa/client";

/// Through a proxy of the mesh, each port is served, by the chain that its mode and what is said there call for.
async fn the_mesh_is_served(stage: &Stage) -> Outcome<()> {
    for (port, chain) in [(8080, "-mtls"), (8180, "-mtls"), (8280, "")] {
        assert_eq!(stage.ask(port, "web", "/").await?, 200, "HTTP on {port}");
        let name = if chain.is_empty() { "-" } else { CLIENT };
        stage.logged(&format!("{}_{port}{chain} {name}", stage.subnet.ip(2)), 1).await?;
    }
    for (port, chain) in
        [(9090, "-mtls"), (9190, "-mtls"), (9290, ""), (7070, "-mtls-tcp"), (7170, "-mtls-tcp"), (7270, "-tcp")]
    {
        assert_eq!(client::line(stage.outbound(port), "hello").await?, "web: hello", "bytes on {port}");
        let name = if chain.starts_with("-mtls") { CLIENT } else { "-" };
        stage.logged(&format!("inbound|{port}||{chain} {name}"), 1).await?;
    }
    // HTTP that a route leads to a port of which nobody says what it speaks.
    for (path, port, chain) in
        [("/both", 7570, "-mtls-http"), ("/mutual", 7670, "-mtls-http"), ("/plain", 7770, "-http")]
    {
        assert_eq!(stage.ask(80, "front", path).await?, 200, "{path}");
        let name = if path == "/plain" { "-" } else { CLIENT };
        stage.logged(&format!("{}_{port}{chain} {name}", stage.subnet.ip(2)), 1).await?;
    }
    Ok(())
}

/// Who shows no certificate, or a wrong one, and who speaks plain text, where only mutual TLS is taken; each with who is served.
async fn strangers_are_refused(stage: &Stage) -> Outcome<()> {
    let alpn: &[&str] = &["istio-http/1.1", "istio", "http/1.1"];
    for (port, says) in [(8180, HTTP), (9190, LINE), (7170, LINE), (7670, HTTP)] {
        let who = |certificate| Some((certificate, if says == HTTP { alpn } else { &["istio"] }));
        assert!(stage.answers(port, says, who(Some(&stage.good))).await?, "the control: a good certificate on {port}");
        assert!(!stage.answers(port, says, None).await?, "plain text on {port}");
        assert!(!stage.answers(port, says, who(None)).await?, "no certificate on {port}");
        assert!(!stage.answers(port, says, who(Some(&stage.foreign))).await?, "another trust domain on {port}");
        assert!(!stage.answers(port, says, who(Some(&stage.unknown))).await?, "another authority on {port}");
    }
    // Where both are taken, plain text is, and no stranger's TLS that claims to be of the mesh; where nothing else is, mutual
    // TLS is not opened.
    let disabled = [(8280, HTTP), (9290, LINE), (7270, LINE), (7770, HTTP)];
    for (port, says) in [(8080, HTTP), (9090, LINE), (7070, LINE), (7570, HTTP)].into_iter().chain(disabled) {
        assert!(stage.answers(port, says, None).await?, "plain text on {port}");
        for (who, certificate) in [
            ("no certificate", None),
            ("another trust domain", Some(&stage.foreign)),
            ("another authority", Some(&stage.unknown)),
        ] {
            let shown = Some((certificate, if says == HTTP { alpn } else { &["istio"][..] }));
            assert!(!stage.answers(port, says, shown).await?, "{who} on {port}");
        }
    }
    assert!(!stage.answers(8280, HTTP, Some((Some(&stage.good), alpn))).await?, "mutual TLS where it is disabled");
    Ok(())
}

/// What the server's proxy counts of a listener, by the names that the reference has; who was refused above is in it, each for
/// its reason. The control: where mutual TLS is disabled there is nothing to count.
async fn refusals_are_counted(stage: &Stage) -> Outcome<()> {
    let counted = async |port: u16, name: &str| {
        let listener = format!("listener.{}_{port};.", stage.subnet.ip(2));
        let text = Client::default().text(stage.server.admin, "/stats?filter=listener").await.ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(&listener)?.strip_prefix(name)?.strip_prefix(": "));
        Some(line.and_then(|value| value.parse().ok()).unwrap_or(0_u64))
    };
    let page = std::fs::read_to_string(tools::root().join("docs/reference/metrics.md"))?;
    for name in REFUSED.into_iter().chain(["ssl.handshake"]) {
        assert!(page.contains(&format!("`envoy_listener_{}`", name.replace('.', "_"))), "{name} is not on the page");
        let seen = async || (counted(8180, name).await? > 0).then_some(());
        deadline::until(name, Duration::from_secs(5), seen).await?;
    }
    for name in REFUSED.into_iter().skip(1) {
        assert_eq!(counted(8280, name).await, Some(0), "{name} where it is disabled");
    }
    Ok(())
}

/// TLS of an application's own is passed on untouched where both are taken.
async fn other_tls_is_not_opened(stage: &Stage) -> Outcome<()> {
    for (port, alpn) in [(9090, &[][..]), (9090, &["h2"]), (7070, &["http/1.1"])] {
        assert!(!stage.answers(port, LINE, Some((None, alpn))).await?, "the application speaks no TLS");
    }
    stage.logged("inbound|9090||-tls -", 2).await?;
    stage.logged("inbound|7070||-tls -", 1).await
}

/// A client's proxy doesn't talk to a workload that runs as somebody else than those behind the Service, nor where a rule names
/// somebody else; and it calls in plain text who takes no mutual TLS.
async fn clients_know_whom_they_call(stage: &Stage) -> Outcome<()> {
    assert_eq!(stage.ask(8180, "web", "/").await?, 200, "the control");
    for (port, host) in [(8480, "impostor"), (8481, "named")] {
        let refused = stage.ask(port, host, "/").await?;
        assert_eq!(refused, 503, "{host}: {}", stage.client.tail());
    }
    Ok(())
}

/// What somebody says who is only connected to; none if nothing comes.
async fn heard(address: SocketAddr) -> Outcome<Option<String>> {
    Caller { says: "", tls: None }.call(address).await
}

/// Where the server speaks first nobody waits: mutual TLS where nothing else is taken, else plain text, and both ends know.
async fn who_speaks_first_is_heard(stage: &Stage) -> Outcome<()> {
    let begun = Instant::now();
    for (port, line) in [(3306, format!("inbound|3306||-mtls {CLIENT}")), (27017, "inbound|27017|| -".to_owned())] {
        let said = heard(stage.outbound(port)).await?;
        assert!(said.is_some_and(|said| said.starts_with("web")), "{port}");
        stage.logged(&line, 1).await?;
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "somebody waited: {:?}", begun.elapsed());
    assert!(heard(stage.server(27017)).await?.is_some(), "plain text from elsewhere");
    assert!(heard(stage.server(3306)).await?.is_none(), "plain text where only mutual TLS is taken");
    Ok(())
}

/// TLS with files of the proxy: what is checked, against whom, and what is shown.
async fn servers_outside_are_checked(stage: &Stage) -> Outcome<()> {
    for (name, port, _) in manifests::OUTSIDE {
        let expected = if ["simple", "unchecked", "mutual"].contains(&name) { 200 } else { 503 };
        let status = stage.ask(port, name, "/").await?;
        assert_eq!(status, expected, "{name}");
    }
    Ok(())
}

async fn all(release: Release) -> Outcome<()> {
    let stage = Stage::open(release).await?;
    let outcome = async {
        the_mesh_is_served(&stage).await?;
        strangers_are_refused(&stage).await?;
        refusals_are_counted(&stage).await?;
        other_tls_is_not_opened(&stage).await?;
        clients_know_whom_they_call(&stage).await?;
        who_speaks_first_is_heard(&stage).await?;
        servers_outside_are_checked(&stage).await?;
        words::every_word_leads_to_its_chain(&stage).await
    };
    outcome.await.map_err(|failure: Failure| failure.with(&stage.server.tail()).with(&stage.client.tail()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutual_tls_newest() -> Outcome<()> {
    all(Release::Newest).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutual_tls_oldest() -> Outcome<()> {
    all(Release::Oldest).await
}
