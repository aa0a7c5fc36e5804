//! What manifests may say although nobody would: whatever is let through, sidecars accept, also while one strange thing
//! takes the place of another.

use crate::harness::api::Problem;
use crate::harness::network::v4;
use crate::harness::{Failure, Outcome, deadline};
use crate::outbound::served;
use crate::speaker::Speaker;
use crate::stage::{SOON, Stage, get, service};
use std::time::Duration;

/// Manifests in place of each other, by kind, name and spec. None is looked up in DNS, which would make proxies wait.
const ODD: &[(&str, &str)] = &[
    (
        "VirtualService echo",
        r#"{hosts: [ECHO.], http: [{name: "a\0\nb", timeout: 8760h, match: [{name: "\u202e", method: {exact: "GE T"},
            uri: {prefix: ""}, headers: {"!#$%&'*+-.^_`|~": {exact: "\u0001\u007f"}, Host: {}, "x": {regex: "*"}}}],
            route: [{destination: {host: echo}, weight: 2147483647}, {destination: {host: nobody}, weight: 2147483647}]}]}"#,
    ),
    (
        "VirtualService echo",
        r#"{hosts: ["*.capture.svc.cluster.local"], http: [{match: [{uri: {regex: '(a{10}){100}|[[:alpha:][:^digit:]\d\pL-]*'}},
            {uri: {regex: '\A(?P<n>.)*?(?i)\z'}}, {uri: {exact: "no?path"}}, {headers: {x: {regex: '[^]é]|()|'}}}],
            route: [{destination: {host: echo, port: {number: 80}}}]}, {route: [{destination: {host: echo}}]}]}"#,
    ),
    (
        "DestinationRule echo",
        r#"{host: "*", trafficPolicy: {connectionPool: {tcp: {maxConnections: 2147483647, connectTimeout: 8760h,
            idleTimeout: 0s, maxConnectionDuration: 8760h, tcpKeepalive: {probes: 127, time: 32767s, interval: 32767s}},
            http: {maxRequestsPerConnection: 2147483647, maxConcurrentStreams: 2147483647, idleTimeout: 1ms}},
            outlierDetection: {consecutive5xxErrors: 4294967295, interval: 1ms, baseEjectionTime: 8760h,
            maxEjectionPercent: 0, minHealthPercent: 100}}}"#,
    ),
    (
        "DestinationRule echo",
        r#"{host: echo, trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: "%7|~", path: " ", ttl: 0s},
            maglev: {tableSize: 2}}}}, subsets: [{name: "0"}, {name: p, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}}]}"#,
    ),
    ("Service mapped", r#"{clusterIP: "::ffff:10.96.77.1", ports: [{name: tcp, port: 9000}, {name: http, port: 80}]}"#),
    (
        "Service same",
        r#"{clusterIPs: ["fd00:96:77::1", 10.96.77.1], ports: [{name: tcp, port: 9000}, {name: x, port: 7000}]}"#,
    ),
    ("Service pods", r#"{clusterIP: 10.77.0.2, ports: [{name: tcp, port: 8080}, {name: http, port: 9000}]}"#),
    (
        "Service home",
        r#"{clusterIP: 127.0.0.1, ports: [{name: http, port: 15001}, {name: tcp, port: 15006}, {name: x, port: 15021}]}"#,
    ),
    (
        "Service twin",
        r#"{clusterIP: None, selector: {app: echo}, ports: [{name: http, port: 80}, {name: tcp, port: 9000}]}"#,
    ),
    ("Service svc", r#"{clusterIP: None, ports: [{name: http, port: 80}, {name: x, port: 80, protocol: UDP}]}"#),
    ("Service circle", r#"{type: ExternalName, externalName: circle.capture.svc.cluster.local, ports: [{port: 80}]}"#),
    (
        "Sidecar any",
        r#"{egress: [{port: {number: 80, protocol: HTTP}, bind: "::", hosts: ["*/*"]},
            {port: {number: 9000, protocol: TCP}, bind: 0.0.0.0, hosts: ["*/*"]}, {hosts: ["*/*"]}]}"#,
    ),
    (
        "Sidecar opened",
        r#"{egress: [{port: {number: 9000, protocol: HTTP}, captureMode: NONE, hosts: ["*/*"]},
            {port: {number: 7000}, bind: "::1", captureMode: NONE, hosts: ["./*"]}, {bind: 127.0.0.9, hosts: ["*/*"]}]}"#,
    ),
    (
        "Sidecar sockets",
        r#"{workloadSelector: {labels: {app: client}}, ingress: [
            {port: {number: 8081, protocol: HTTP}, captureMode: NONE, bind: 0.0.0.0, defaultEndpoint: "unix://@x"},
            {port: {number: 9000, protocol: TCP}, captureMode: NONE, defaultEndpoint: "127.0.0.1:9001"},
            {port: {number: 65535, protocol: GRPC-Web}, bind: "::1"}]}"#,
    ),
];

/// Every one is accepted by both sidecars, and at the end they serve as before.
pub async fn what_is_odd_is_accepted(stage: &mut Stage) -> Outcome<()> {
    for (index, (object, spec)) in ODD.iter().enumerate() {
        // Its port is another one each time, so that there is something to wait for.
        let witness = format!("{{clusterIP: 10.96.77.99, ports: [{{name: tcp, port: {}}}]}}", 8100 + index);
        let text = format!("{}\n---\n{}", manifest(object, spec), manifest("Service witness", &witness));
        let declared = stage.declare("odd.yaml", &text, "lds", &[&stage.client, &stage.server]).await;
        declared.map_err(|failure| failure.with(object))?;
        if let Some(reason) = refused(stage).await? {
            return Err(Failure::new(format!("{object} {spec}: {reason}")));
        }
    }
    stage.folder.remove("odd.yaml")?;
    served(&get(&stage.client, service()[0], 80, "echo").await?)
}

/// The control: what only the machine knows, that an application has the address already, is refused and seen.
pub async fn what_is_refused_is_seen(stage: &mut Stage) -> Outcome<()> {
    const PORT: u16 = 9999;
    let _application = stage.client.run(Speaker::start("first", PORT)).await?;
    let service = format!("{{clusterIP: 10.96.77.99, ports: [{{name: tcp, port: {PORT}}}]}}");
    let egress = format!("{{port: {{number: {PORT}, protocol: TCP}}, captureMode: NONE, hosts: ['*/*']}}");
    let sidecar = format!("{{egress: [{egress}, {{hosts: ['*/*']}}]}}");
    let text = format!("{}\n---\n{}", manifest("Service late", &service), manifest("Sidecar late", &sidecar));
    stage.folder.replace("odd.yaml", &text)?;
    deadline::until("the refusal is seen", SOON, async || refused(stage).await.ok()?.map(drop)).await?;
    // A second later at the latest it is said of the object, with the proxy's own words.
    let named = async || stage.chancery.api().problems().await.ok()?.iter().any(is_in_use).then_some(());
    deadline::until("the problem names the object", Duration::from_secs(1), named).await?;
    let counted = async || (rejected(stage).await.ok()? == 1.0).then_some(());
    deadline::until("what is rejected is counted", Duration::from_secs(1), counted).await?;
    served(&get(&stage.client, v4(2), 8080, "echo").await?)?;
    stage.folder.remove("odd.yaml")?;
    let over = async || (!stage.chancery.api().problems().await.ok()?.iter().any(is_in_use)).then_some(());
    deadline::until("the problem goes with the object", SOON, over).await?;
    let uncounted = async || (rejected(stage).await.ok()? == 0.0).then_some(());
    deadline::until("and is counted no more", SOON, uncounted).await
}

/// How many listeners are found to be rejected, by what Prometheus would be told.
async fn rejected(stage: &Stage) -> Outcome<f64> {
    Ok(stage.chancery.api().metrics().await?.sum("chancery_xds_rejected", &[("type", "lds")]))
}

fn manifest(object: &str, spec: &str) -> String {
    let (kind, name) = object.split_once(' ').expect("a kind and a name");
    let version = if kind == "Service" { "v1" } else { "networking.istio.io/v1" };
    format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: capture}}\nspec: {spec}")
}

/// Whether this is what a sidecar says of an address that somebody has.
fn is_in_use(problem: &Problem) -> bool {
    let words = ["rejects lds", "what it accepted last", "Address already in use"];
    problem.severity == "error"
        && problem.object.as_deref() == Some("Sidecar capture/late")
        && words.iter().all(|words| problem.text.contains(words))
}

/// What a sidecar has refused so far.
pub async fn refused(stage: &Stage) -> Outcome<Option<String>> {
    let proxies = stage.chancery.api().proxies().await?;
    let all = proxies.iter().flat_map(|proxy| proxy.types.iter().map(move |(kind, progress)| (proxy, kind, progress)));
    let found = all.filter(|(.., progress)| progress.nacked.is_some());
    Ok(found.map(|(proxy, kind, _)| format!("{} refuses {kind}", proxy.node)).next())
}
