//! What the Envoys of the test are given: a workload whose ports have every mode and every protocol, and a client.

use crate::harness::addresses::Subnet;
use crate::harness::{Failure, Outcome};
use chancery::model::problem::Severity;
use chancery::model::world::World;
use chancery::source::parse::{Parsed, object, settings};
use chancery::source::yaml;
use serde_json::json;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

/// Ports, what they speak (nothing is bytes or HTTP), and whether HTTP is behind them. The hundreds say the mode: PERMISSIVE,
/// STRICT, DISABLE; of the two where servers speak first the lower is STRICT.
const PORTS: [(u16, &str, bool); 14] = [
    (3306, "TCP", false),
    (27017, "TCP", false),
    (8080, "HTTP", true),
    (8180, "HTTP", true),
    (8280, "HTTP", true),
    (9090, "TCP", false),
    (9190, "TCP", false),
    (9290, "TCP", false),
    (7070, "", false),
    (7170, "", false),
    (7270, "", false),
    (7570, "", true),
    (7670, "", true),
    (7770, "", true),
];
const STRICT: [u16; 5] = [8180, 9190, 7170, 7670, 3306];
const DISABLED: [u16; 4] = [8280, 9290, 7270, 7770];

/// What rules say of servers outside the mesh: name, port, `tls`. Those that demand a certificate are at another address.
pub const OUTSIDE: [(&str, u16, &str); 7] = [
    ("simple", 8601, "mode: SIMPLE, caCertificates: FILES/ca.pem, sni: far.example, subjectAltNames: [far.example]"),
    ("asked-for", 8602, "mode: SIMPLE, caCertificates: FILES/ca.pem"),
    (
        "misnamed",
        8603,
        "mode: SIMPLE, caCertificates: FILES/ca.pem, sni: far.example, subjectAltNames: [other.example]",
    ),
    ("unvouched", 8604, "mode: SIMPLE, sni: far.example, subjectAltNames: [far.example]"),
    ("unchecked", 8605, "mode: SIMPLE, insecureSkipVerify: true"),
    ("certless", 8607, "mode: SIMPLE, caCertificates: FILES/ca.pem, sni: far.example, subjectAltNames: [far.example]"),
    (
        "mutual",
        8606,
        "mode: MUTUAL, caCertificates: FILES/ca.pem, clientCertificate: FILES/cert.pem, privateKey: FILES/key.pem, \
      sni: far.example, subjectAltNames: [far.example]",
    ),
];

/// Those at the server that demands a certificate.
const DEMANDED: [&str; 2] = ["mutual", "certless"];

/// Where the servers outside are: one for everybody, and one that demands a certificate.
pub fn outside(subnet: &Subnet) -> [SocketAddr; 2] {
    [5, 6].map(|host| SocketAddr::new(subnet.ip(host), 8443))
}

/// Where applications listen.
#[derive(Clone, Copy)]
pub struct Behind {
    /// One that speaks HTTP.
    pub http: SocketAddr,
    /// One that answers lines.
    pub lines: SocketAddr,
    /// One that speaks first.
    pub greeter: SocketAddr,
}

/// The World, with files of the client in that folder.
pub fn world(subnet: &Subnet, behind: Behind, files: &Path) -> Outcome<World> {
    let mut world = World::default();
    let format = "%FILTER_CHAIN_NAME% %DOWNSTREAM_PEER_URI_SAN%\n";
    let mesh = settings(&json!({"accessLogFile": "/dev/stdout", "accessLogFormat": format}));
    let text = format!("{}{}", text(subnet, behind)?, rules(subnet, files)?);
    let content = yaml::read(text.as_bytes());
    assert_eq!(content.failures, []);
    for parsed in [mesh].into_iter().chain(content.documents.iter().map(|document| object(&document.value))) {
        let Parsed::Known { object: Some(object), problems, .. } = parsed else {
            return Err(Failure::new(format!("{parsed:?}")));
        };
        assert!(problems.iter().all(|problem| problem.severity != Severity::Error), "{problems:?}");
        world.apply([(object.key().clone(), Some(object))]);
    }
    Ok(world)
}

fn text(subnet: &Subnet, applications: Behind) -> Outcome<String> {
    let (web, client) = (subnet.ip(2), subnet.ip(110));
    let mut text = String::new();
    for (pod, account, ip) in [("web-1", "web", web), ("bank-1", "bank", web), ("client", "client", client)] {
        writeln!(
            text,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, namespace: shop, labels: {{app: {account}, \
             security.istio.io/tlsMode: istio}}}}\nspec: {{serviceAccountName: {account}, containers: [{{name: a, image: a}}]}}\n\
             status: {{podIPs: [{{ip: {ip}}}]}}"
        )?;
    }
    let (mut ports, mut targets, mut ingress) = (String::new(), String::new(), String::new());
    for (port, protocol, is_http) in PORTS {
        let name =
            if protocol.is_empty() { format!("any-{port}") } else { format!("{}-{port}", protocol.to_lowercase()) };
        let behind = match port {
            3306 | 27017 => applications.greeter,
            _ if is_http => applications.http,
            _ => applications.lines,
        };
        let said = if protocol.is_empty() { String::new() } else { format!(", protocol: {protocol}") };
        write!(ports, "{{name: {name}, port: {port}}}, ")?;
        write!(targets, "{{name: {name}, port: {port}}}, ")?;
        write!(ingress, "{{port: {{number: {port}{said}}}, bind: {web}, defaultEndpoint: \"{behind}\"}}, ")?;
    }
    service(&mut text, ("web", 10), &ports, Some((&targets, "web-1", &web.to_string())))?;
    let strict = format!("{{name: http, port: {}}}", STRICT[0]);
    service(&mut text, ("front", 11), "{name: http, port: 80}", None)?;
    service(&mut text, ("impostor", 12), "{name: http, port: 8480}", Some((&strict, "bank-1", &web.to_string())))?;
    service(&mut text, ("named", 13), "{name: http, port: 8481}", Some((&strict, "web-1", &web.to_string())))?;
    let modes = STRICT.map(|port| format!("{port}: {{mode: STRICT}}")).join(", ");
    let disabled = DISABLED.map(|port| format!("{port}: {{mode: DISABLE}}")).join(", ");
    writeln!(
        text,
        "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: web, namespace: shop}}\n\
         spec: {{selector: {{matchLabels: {{app: web}}}}, portLevelMtls: {{{modes}, {disabled}}}}}\n\
         ---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: web, namespace: shop}}\n\
         spec: {{workloadSelector: {{labels: {{app: web}}}}, ingress: [{ingress}]}}\n\
         ---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: named, namespace: shop}}\n\
         spec: {{host: named, trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL, subjectAltNames: [\"spiffe://cluster.local/ns/shop/sa/other\"]}}}}}}\n\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: front, namespace: shop}}\n\
         spec:\n  hosts: [front]\n  http:"
    )?;
    for (path, port) in [("/both", 7570), ("/mutual", 7670), ("/plain", 7770)] {
        writeln!(
            text,
            "  - {{match: [{{uri: {{prefix: {path}}}}}], route: [{{destination: {{host: web, port: {{number: {port}}}}}}}]}}"
        )?;
    }
    Ok(text)
}

fn rules(subnet: &Subnet, files: &Path) -> Outcome<String> {
    let mut text = String::new();
    for (at, (name, port, tls)) in (20..).zip(OUTSIDE) {
        let ip = outside(subnet)[usize::from(DEMANDED.contains(&name))].ip().to_string();
        let ports = format!("{{name: http, port: {port}}}");
        service(&mut text, (name, at), &ports, Some(("{name: http, port: 8443}", "nobody", &ip)))?;
        let tls = tls.replace("FILES", &files.display().to_string());
        writeln!(
            text,
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{host: {name}, trafficPolicy: {{tls: {{{tls}}}}}}}"
        )?;
    }
    Ok(text)
}

/// A Service, and the slice with its one endpoint: the ports there, the Pod and its address.
fn service(
    text: &mut String,
    (name, host): (&str, u8),
    ports: &str,
    endpoint: Option<(&str, &str, &str)>,
) -> Outcome<()> {
    writeln!(
        text,
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{clusterIP: 10.96.0.{host}, selector: {{app: {name}}}, ports: [{ports}]}}"
    )?;
    if let Some((targets, pod, ip)) = endpoint {
        writeln!(
            text,
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}-a, namespace: shop, \
             labels: {{kubernetes.io/service-name: {name}}}}}\naddressType: IPv4\nports: [{targets}]\n\
             endpoints: [{{addresses: [\"{ip}\"], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: {pod}}}}}]"
        )?;
    }
    Ok(())
}
