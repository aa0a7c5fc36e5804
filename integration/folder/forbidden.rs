//! Where nothing may lead, in every notation: the machine itself, the metadata services of clouds, ports of proxies.

use crate::parsed;
use chancery::model::object::Object;

fn outside(name: &str, port: u16) -> (Vec<String>, Option<Object>) {
    parsed(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: x}},
          spec: {{type: ExternalName, externalName: '{name}', ports: [{{name: http, port: {port}}}]}}}}"
    ))
}

#[test]
fn names_that_lead_nowhere_good_are_refused() {
    for name in [
        "",
        ".",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "localhost.localdomain",
        "ip6-localhost",
        "127.0.0.1",
        "127.1",
        "127.0.0.1.",
        "0x7f000001",
        "0x7f.1",
        "0x7f.0x0.0x0.0x1",
        "0177.0.0.1",
        "2130706433",
        "a.1",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
        "fe80::1%eth0",
        "169.254.169.254",
        "metadata",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
        "instance-data",
        "instance-data.ec2.internal",
        "*.example.com",
        "a..b",
        "a b",
        "a_b.example",
        "a.example:80",
        "http://a.example",
    ] {
        let (found, object) = outside(name, 80);
        assert!(object.is_none(), "{name} is taken");
        assert!(found.len() == 1 && found[0].starts_with("error: spec.externalName: "), "{name}: {found:?}");
    }
    for name in ["a.example", "A.Example.", "1.a.example", "localhost.example", "my-metadata.example", "0xyz"] {
        let (found, object) = outside(name, 80);
        assert!(object.is_some() && found.is_empty(), "the control {name}: {found:?}");
    }
}

#[test]
fn ports_of_proxies_have_no_name_outside() {
    for port in [15000, 15001, 15006, 15021, 15090] {
        let (found, object) = outside("a.example", port);
        assert!(object.is_none() && found[0].starts_with("error: spec.ports[0].port: "), "{port}: {found:?}");
    }
    assert!(outside("a.example", 15100).1.is_some(), "the control");
}

#[test]
fn a_port_that_is_open_to_others_does_not_lead_to_the_proxy() {
    let sidecar = |endpoint: &str| {
        parsed(&format!(
            "{{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {{name: s}}, spec: {{ingress: [
              {{port: {{number: 80, protocol: HTTP, name: http}}, defaultEndpoint: '{endpoint}'}}]}}}}"
        ))
    };
    for endpoint in ["127.0.0.1:15000", "127.0.0.2:15090", "0.0.0.0:15006", "[::1]:15000"] {
        let (found, object) = sidecar(endpoint);
        let refused = found.iter().any(|line| line.starts_with("error: spec.ingress[0].defaultEndpoint: "));
        assert!(object.is_none() && refused, "{endpoint}: {found:?}");
    }
    assert!(sidecar("127.0.0.1:15100").1.is_some(), "the control");
}

#[test]
fn addresses_that_lead_nowhere_good_are_refused() {
    let slice = |address: &str| {
        let family = if address.contains(':') { "IPv6" } else { "IPv4" };
        parsed(&format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s, labels: {{kubernetes.io/service-name: a}}}},
              addressType: {family}, ports: [{{port: 80}}], endpoints: [{{addresses: ['{address}']}}]}}"
        ))
    };
    for address in [
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "::ffff:169.254.169.254",
        "fe80::1",
        "fd00:ec2::254",
        "0.0.0.0",
        "::",
        "::ffff:0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "ff02::1",
    ] {
        let (found, object) = slice(address);
        assert!(object.is_none() && found[0].starts_with("error: endpoints[0].addresses: "), "{address}: {found:?}");
    }
    for address in ["10.0.0.1", "127.0.0.2", "fd00::1", "100.100.100.201"] {
        assert!(slice(address).1.is_some(), "the control {address}");
    }
}

#[test]
fn what_means_nothing_for_a_name_outside_is_said() {
    let (found, _) = parsed(
        "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {type: ExternalName, externalName: a.example,
          ports: [{name: tcp, port: 90, targetPort: 90}, {name: http, port: 80, targetPort: 8080}]}}",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("warning: spec.ports[1].targetPort: has no effect"), "{found:?}");
    let (found, _) = parsed(
        "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {externalName: a.example, ports: [{port: 80}]}}",
    );
    assert_eq!(found, ["warning: spec.externalName: has no effect: the Service is not of type ExternalName"]);
}
