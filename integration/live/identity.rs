//! Who proves who it is, without an agent: a plain Envoy with a token on its disk.

use crate::far::Far;
use crate::harness::authority::Certificate;
use crate::harness::client::Client;
use crate::harness::envoy::Setup;
use crate::harness::scene::{RECONNECT, SOON, Scene, TRAFFIC};
use crate::harness::{Failure, Outcome, deadline, timing};
use crate::on;
use crate::secrets::{becomes, manifests, secret};
use std::fs;
use std::path::Path;

/// A proxy reads the token that is on its disk for each stream, and has no other way in.
pub async fn a_token_on_disk_is_read_by_the_next_stream(setup: Setup) -> Outcome<()> {
    on(Scene::secured().await?.with_envoys(setup, false).await?, async |scene| {
        let tally = scene.requests(100).run().await?;
        tally.clean()?;
        let client = scene.client().node.clone();
        let token = scene.files.path().join("client.first-light.token");
        let (good, chancery) = (fs::read_to_string(&token)?, &mut scene.chancery);
        put(&token, &format!("{NO_TOKEN}\n"))?;
        chancery.kill()?;
        chancery.restart().await?;
        let api = chancery.api();
        let refused = async || {
            let metrics = api.metrics().await.ok()?;
            let count = metrics.sum("chancery_xds_refusals_total", &[("reason", "token_malformed")]);
            (count > 0.0).then_some(())
        };
        deadline::until("the client's proxy is refused", RECONNECT, refused).await?;
        let others: Vec<&str> = scene.envoys[1..].iter().map(|envoy| envoy.node.as_str()).collect();
        api.settled(&others, RECONNECT).await?;
        let connected = api.proxies().await?;
        if connected.iter().any(|proxy| proxy.node == client) {
            return Err(Failure::new("a proxy without a good token is connected"));
        }
        is_told_of(&scene.chancery.written())?;
        scene.requests(100).run().await?.clean()?;
        put(&token, &good)?;
        scene.settled_within(RECONNECT).await?;
        scene.requests(100).run().await?.clean()
    })
    .await
}

/// What is no token, and found where it is shown.
const NO_TOKEN: &str = "this.never.a-token-to-be-shown";

/// The log names the address and the reason of who was not believed, and not what it has shown.
fn is_told_of(log: &str) -> Outcome<()> {
    let said = log.lines().find(|line| line.contains("refused a proxy"));
    let line = said.ok_or_else(|| Failure::new("nothing was said of who was refused"))?;
    for part in ["peer=127.", "reason=\"token_malformed\""] {
        if !line.contains(part) {
            return Err(Failure::new(format!("{part} is not in {line}")));
        }
    }
    match log.contains("a-token-to-be-shown") {
        true => Err(Failure::new("what was shown is in the log")),
        false => Ok(()),
    }
}

/// Replaces a file as a kubelet does: the new one is complete when it takes the old one's place.
fn put(file: &Path, text: &str) -> Outcome<()> {
    let beside = file.with_extension("new");
    fs::write(&beside, text)?;
    Ok(fs::rename(beside, file)?)
}

/// Whatever is asked and however much is logged, no key is shown: not the authority's, nor that of who issues tokens, nor a
/// workload's, nor that of a Secret, nor a token. The control: what stands beside them is found.
pub async fn no_key_is_shown(setup: Setup) -> Outcome<()> {
    on(Scene::secured().await?, async |scene| {
        authenticated(scene, setup, "1h").await?;
        let far = Far::start().await?;
        let Certificate { chain, key } = far.client("first")?;
        scene.folder.replace("far.yaml", &(manifests(&far) + "---\n" + &secret(&far, &chain, &key)))?;
        scene.chancery.flags = ["--log-level", "trace"].map(str::to_owned).to_vec();
        scene.chancery.kill()?;
        scene.chancery.restart().await?;
        scene.settled_within(RECONNECT).await?;
        scene.requests(50).run().await?.clean()?;
        becomes(scene, "the Secret is used", 200, "first").await?;
        let mut shown = scene.chancery.written();
        let lists = ["proxies", "problems", "objects", "kinds", "status"].map(|list| format!("/api/v1/{list}"));
        for path in lists.iter().map(String::as_str).chain(["/metrics", "/livez", "/readyz"]) {
            let answer = Client::default().get(scene.chancery.admin, path, &[]).await?;
            shown += &String::from_utf8_lossy(&answer.body);
        }
        let folder = scene.chancery.identity();
        // A key in PEM as it is, and as bytes are printed for who looks for mistakes.
        let begins: Vec<String> = b"PRIVATE KEY".iter().map(u8::to_string).collect();
        let mut secrets = vec!["PRIVATE KEY".to_owned(), begins.join(", ")];
        for name in ["ca-key.pem", "issuer-key.pem"] {
            let text = fs::read_to_string(folder.join(name))?;
            secrets.extend(text.lines().filter(|line| line.len() > 40).map(str::to_owned));
        }
        secrets.extend(key.lines().filter(|line| line.len() > 40).map(str::to_owned));
        let token = fs::read_to_string(scene.files.path().join("client.first-light.token"))?;
        secrets.push(token.trim().rsplit('.').next().unwrap_or_default().to_owned());
        if secrets.len() < 7 || secrets.iter().any(|secret| secret.len() < 10) {
            return Err(Failure::new("the control: these are no keys"));
        }
        if let Some(secret) = secrets.iter().find(|secret| shown.contains(*secret)) {
            return Err(Failure::new(format!("this was shown: {secret}")));
        }
        for beside in ["TRACE", "a proxy has connected", "chancery_ca_certificates_signed_total", &scene.client().node]
        {
            if !shown.contains(beside) {
                return Err(Failure::new(format!("the control: {beside:?} is not shown")));
            }
        }
        Ok(())
    })
    .await
}

/// Nobody speaks to the secure door in plain text, or without proving anything.
pub async fn plain_text_is_not_understood(setup: Setup) -> Outcome<()> {
    on(Scene::secured().await?, async |scene| {
        scene.chancery.secure = false;
        scene.envoys = vec![scene.launched(setup)?];
        let api = scene.chancery.api();
        let refused = async || {
            let metrics = api.metrics().await.ok()?;
            (metrics.sum("chancery_xds_refusals_total", &[("reason", "handshake")]) > 0.0).then_some(())
        };
        deadline::until("a handshake fails", SOON, refused).await?;
        match scene.client().is_ready().await {
            Some(true) => Err(Failure::new("a proxy that speaks plain text was configured")),
            _ => Ok(()),
        }
    })
    .await
}

/// Nothing but authenticated workloads may talk in the namespace.
const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: everybody, namespace: first-light}
spec: {mtls: {mode: STRICT}}
";

/// Renewals a second, at least: each of three certificates is renewed every second, and machines may be slow; were one not renewed at
/// all, there would be two.
const RENEWALS: f64 = 2.25;

/// Workloads that have sidecars talk with mutual TLS, nobody else is let in where a policy says so, and certificates that
/// are renewed every second cost no request and no handshake, for ten seconds or as long as `CHANCERY_SOAK` says.
pub async fn certificates_are_renewed_under_load(setup: Setup) -> Outcome<()> {
    on(Scene::secured().await?, async |scene| {
        authenticated(scene, setup, "2s").await?;
        let (before, mut load) = (signed(scene).await?, scene.traffic());
        load.time = timing::soak(10);
        let time = load.time.as_secs();
        let tally = load.run().await?;
        let renewed = signed(scene).await? - before;
        println!("{} requests and {renewed} renewals in {time} s, {} requests failed", tally.answers(), tally.failed);
        tally.clean()?;
        if renewed < RENEWALS * time as f64 {
            return Err(Failure::new(format!("the control: {renewed} renewals are too few")));
        }
        hands_were_shaken(scene).await
    })
    .await
}

/// The example with sidecars that talk with mutual TLS, where nobody else is let in, and handshakes all the time.
/// Certificates last `lifetime`.
pub async fn authenticated(scene: &mut Scene, setup: Setup, lifetime: &str) -> Outcome<()> {
    let text = scene.folder.read("workloads.yaml")?;
    let labelled = text.replace("labels: {app: echo,", "labels: {security.istio.io/tlsMode: istio, app: echo,");
    scene.folder.replace("workloads.yaml", &labelled)?;
    let rules = scene.folder.read(TRAFFIC)?;
    // Handshakes all the time.
    let tired = rules.replace(
        "      tcp: {connectTimeout: 2s}",
        "      tcp: {connectTimeout: 2s}\n      http: {maxRequestsPerConnection: 5}",
    );
    scene.folder.replace(TRAFFIC, &tired)?;
    if labelled == text || tired == rules {
        return Err(Failure::new("the example is another than this test knows"));
    }
    scene.chancery.flags = ["--certificate-lifetime", lifetime].map(str::to_owned).to_vec();
    scene.chancery.kill()?;
    scene.chancery.restart().await?;
    let mut envoys = Vec::new();
    for pod in ["client", "echo-v1", "echo-v2"] {
        envoys.push(scene.started(pod, setup).await?);
    }
    scene.envoys = envoys;
    scene.settled().await?;
    let by_hand = async || Client::default().get(scene.pod(2), "/", &[("host", "echo")]).await;
    by_hand()
        .await
        .map_err(|failure| failure.with("the control: who shows nothing is served as long as nobody forbids it"))?;
    scene.folder.replace("strict.yaml", STRICT)?;
    let refused = async || by_hand().await.is_err().then_some(());
    deadline::until("plain text is refused", SOON, refused).await?;
    scene.settled().await
}

/// What counts handshakes that fail at the server, whoever of the two ends them: one that the client ends, because it doesn't believe the
/// server's certificate, is an error of the connection there and nothing at the client.
const FAILURES: [&str; 4] = ["connection_error", "fail_verify_no_cert", "fail_verify_san", "fail_verify_error"];

/// How many handshakes a cluster of the client has seen.
///
/// # Errors
/// One failed there or at a server, or nobody counts.
pub async fn good_handshakes(scene: &Scene, cluster: &str) -> Outcome<u64> {
    let counted = async |name: &str| {
        let value = scene.client().stat(&format!("cluster.{cluster};.ssl.{name}")).await?;
        value.ok_or_else(|| Failure::new(format!("nobody counts {name} of {cluster}")))
    };
    for server in &scene.envoys[1..] {
        let metrics = server.scrape().await?;
        for failures in FAILURES.map(|failures| format!("envoy_listener_ssl_{failures}")) {
            if metrics.of(&failures).next().is_none() {
                return Err(Failure::new(format!("nobody counts {failures} of {}", server.node)));
            }
            let count = metrics.sum(&failures, &[]);
            if count > 0.0 {
                return Err(Failure::new(format!("{failures} of {}: {count}", server.node)));
            }
        }
    }
    match counted("connection_error").await? {
        0 => counted("handshake").await,
        count => Err(Failure::new(format!("{count} handshakes failed of {cluster}"))),
    }
}

/// Many handshakes, of which none failed.
pub async fn hands_were_shaken(scene: &Scene) -> Outcome<()> {
    let mut handshakes = 0;
    for subset in ["v1", "v2"] {
        handshakes +=
            good_handshakes(scene, &format!("outbound|8080|{subset}|echo.first-light.svc.cluster.local")).await?;
    }
    if handshakes < 50 {
        return Err(Failure::new(format!("the control: {handshakes} handshakes are too few")));
    }
    Ok(())
}

/// How many certificates were signed.
pub async fn signed(scene: &Scene) -> Outcome<f64> {
    Ok(scene.chancery.api().metrics().await?.sum("chancery_ca_certificates_signed_total", &[]))
}
