//! Parsing of where things are and who may see them: Nodes, named ports, hints, exports, scopes, consistent hashing.

use crate::parsed;
use chancery::model::audience::Audience;
use chancery::model::destination::{HashKey, HashTable, LoadBalancer};
use chancery::model::exports::Exports;
use chancery::model::mesh::OutboundMode;
use chancery::model::name::Namespace;
use chancery::model::object::Object;
use chancery::model::service::{Protocol, TargetPort};
use chancery::model::sidecar::{EgressNamespace, Sidecar};
use chancery::model::view::View;
use std::time::Duration;

fn policy(kind: &str, spec: &str) -> (Vec<String>, Option<Object>) {
    parsed(&format!("{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: x}}, spec: {spec}}}"))
}

#[test]
fn nodes_have_no_namespace() {
    let (found, object) = parsed(
        "{apiVersion: v1, kind: Node, metadata: {name: n1.example, namespace: ignored, labels: {topology.kubernetes.io/region: r,
          topology.kubernetes.io/zone: z, topology.istio.io/subzone: s}}, status: {conditions: []}}",
    );
    assert_eq!(found, [""; 0]);
    let Some(Object::Node(node)) = object else { panic!() };
    assert_eq!(node.key().to_string(), "Node n1.example");
    let locality = &node.locality;
    assert_eq!((&*locality.region, &*locality.zone, &*locality.subzone), ("r", "z", "s"));
}

#[test]
fn pods_name_ports_and_slices_name_nodes() {
    let (found, object) = parsed(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: n1, containers: [
          {name: a, ports: [{name: web, containerPort: 8080}, {containerPort: 1}, {name: dns, containerPort: 53, protocol: UDP}]},
          {name: b, ports: [{name: admin, containerPort: 9090}]}]}}",
    );
    assert_eq!(found, [""; 0]);
    let Some(Object::Pod(pod)) = object else { panic!() };
    assert_eq!(pod.node.as_ref().map(|name| name.as_str()), Some("n1"));
    assert_eq!((pod.port_named("web"), pod.port_named("admin"), pod.port_named("dns")), (Some(8080), Some(9090), None));
    let (found, object) = parsed(
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, labels: {kubernetes.io/service-name: a}},
          addressType: IPv4, endpoints: [{addresses: [127.0.0.2], nodeName: n1, hints: {forZones: [{name: z2}, {name: z1}]}}]}",
    );
    assert_eq!(found, [""; 0]);
    let Some(Object::EndpointSlice(slice)) = object else { panic!() };
    assert_eq!(slice.endpoints[0].node.as_ref().map(|name| name.as_str()), Some("n1"));
    assert_eq!(slice.endpoints[0].for_zones, ["z1".into(), "z2".into()]);
}

#[test]
fn services_say_where_they_lead_and_for_whom_they_are() {
    let service = |annotation: &str, spec: &str| {
        parsed(&format!("{{apiVersion: v1, kind: Service, metadata: {{name: a{annotation}}}, spec: {spec}}}"))
    };
    let (found, object) = service(
        ", annotations: {networking.istio.io/exportTo: '., bank'}",
        "{clusterIP: None, ports: [{name: a, port: 80, targetPort: 8080}, {name: b, port: 81, targetPort: web}, {name: c, port: 82}]}",
    );
    assert_eq!(found, [""; 0]);
    let Some(Object::Service(service_of)) = object else { panic!() };
    let targets: Vec<_> = service_of.ports.iter().map(|port| port.target.clone()).collect();
    assert_eq!(targets, [TargetPort::Number(8080), TargetPort::Name("web".into()), TargetPort::Number(82)]);
    assert!(service_of.headless);
    assert_eq!(service_of.exports, Some(Exports::Some { own: true, namespaces: ["bank".into()].into() }));
    let (found, object) = service(
        "",
        "{ports: [{port: 80}], sessionAffinity: ClientIP, internalTrafficPolicy: Local, trafficDistribution: PreferFar}",
    );
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(object.is_some() && found.iter().all(|line| line.contains("so it has no effect")), "{found:?}");
    for (annotation, spec, field) in [
        (
            ", annotations: {networking.istio.io/exportTo: '*,a'}",
            "{ports: [{port: 80}]}",
            "networking.istio.io/exportTo",
        ),
        ("", "{ports: [{port: 80, targetPort: 70000}]}", "spec.ports[0].targetPort"),
        ("", "{ports: [{port: 80, targetPort: A}]}", "spec.ports[0].targetPort"),
    ] {
        let (found, object) = service(annotation, spec);
        assert!(found.len() == 1 && found[0].contains(field) && object.is_none(), "{found:?}");
    }
}

#[test]
fn policies_say_for_whom_they_are() {
    let exports = |text: &str| {
        let (found, object) = policy("DestinationRule", &format!("{{host: a, exportTo: {text}}}"));
        let Some(Object::DestinationRule(rule)) = object else { return Err(found) };
        Ok(rule.exports.clone())
    };
    assert_eq!(exports("[]"), Ok(None));
    assert_eq!(exports("['*']"), Ok(Some(Exports::Everyone)));
    assert_eq!(exports("['~']"), Ok(Some(Exports::NOBODY)));
    assert_eq!(exports("['.']"), Ok(Some(Exports::Some { own: true, namespaces: [].into() })));
    assert!(exports("['.', '~']").is_err() && exports("['bad name']").is_err());
    let (found, object) =
        policy("VirtualService", "{hosts: [a], exportTo: [b], http: [{route: [{destination: {host: a}}]}]}");
    assert_eq!(found, [""; 0]);
    let Some(Object::VirtualService(service)) = object else { panic!() };
    let exports = service.exports.as_ref().expect("exports");
    let own = Namespace::from("default");
    let [own_reader, other] = ["default", "b"].map(|name| Audience::of_everyone_in(name.into()));
    assert!(exports.reach(&own, &View::new(&other)));
    assert!(!exports.reach(&own, &View::new(&own_reader)), "a list leaves the own namespace out");
}

fn hash(text: &str) -> Result<(HashKey, HashTable), Vec<String>> {
    let text = format!("{{host: a, trafficPolicy: {{loadBalancer: {{consistentHash: {text}}}}}}}");
    let (found, object) = policy("DestinationRule", &text);
    let Some(Object::DestinationRule(rule)) = object else { return Err(found) };
    let Some(LoadBalancer::ConsistentHash { key, table }) = rule.policy.load_balancer.clone() else { panic!() };
    Ok((key, table))
}

#[test]
fn consistent_hashing() {
    let header = HashKey::Header("x-user".into());
    assert_eq!(hash("{httpHeaderName: X-User}"), Ok((header, HashTable::Ring(1024))));
    assert_eq!(hash("{useSourceIp: true, minimumRingSize: 7}"), Ok((HashKey::SourceIp, HashTable::Ring(7))));
    let ring = hash("{httpQueryParameterName: q, ringHash: {minimumRingSize: 9}}");
    assert_eq!(ring, Ok((HashKey::QueryParameter("q".into()), HashTable::Ring(9))));
    let cookie = |ttl| HashKey::Cookie { name: "c".into(), path: "/x".into(), ttl };
    let second = Some(Duration::from_secs(1));
    let maglev = HashTable::Maglev(Some(65_537));
    assert_eq!(
        hash("{httpCookie: {name: c, path: /x, ttl: 1s}, maglev: {tableSize: 65537}}"),
        Ok((cookie(second), maglev))
    );
    assert_eq!(hash("{httpCookie: {name: c, path: /x}, maglev: {}}"), Ok((cookie(None), HashTable::Maglev(None))));
    for (text, reason) in [
        ("{maglev: {}}", "exactly one of"),
        ("{useSourceIp: false}", "exactly one of"),
        ("{httpHeaderName: a, useSourceIp: true}", "exactly one of"),
        ("{useSourceIp: true, maglev: {tableSize: 65536}}", "not a prime"),
        ("{useSourceIp: true, maglev: {tableSize: 1}}", "not a prime"),
        ("{useSourceIp: true, maglev: {tableSize: 5000012}}", "between 0 and 5000011"),
        ("{useSourceIp: true, ringHash: {minimumRingSize: 8388609}}", "between 0 and 8388608"),
        ("{useSourceIp: true, ringHash: {}, maglev: {}}", "only one of ringHash and maglev"),
        ("{httpHeaderName: 'a b'}", "not the name of an HTTP header"),
        ("{httpCookie: {name: 'a=b'}}", "not the name of a cookie"),
        ("{httpCookie: {name: a, path: 'x;y'}}", "not the path of a cookie"),
        ("{httpCookie: {name: a, ttl: x}}", "not a duration"),
        ("{httpQueryParameterName: ''}", "1 to 256"),
    ] {
        let found = hash(text).expect_err(text);
        assert!(found.iter().any(|line| line.starts_with("error: ") && line.contains(reason)), "{text}: {found:?}");
    }
    let (found, _) = policy(
        "DestinationRule",
        "{host: a, trafficPolicy: {loadBalancer: {simple: RANDOM, consistentHash: {useSourceIp: true}}}}",
    );
    assert!(found[0].contains("only one of simple and consistentHash"), "{found:?}");
}

fn sidecar(spec: &str) -> (Vec<String>, Option<Sidecar>) {
    let (found, object) = policy("Sidecar", spec);
    let sidecar = object.map(|object| match object {
        Object::Sidecar(sidecar) => (*sidecar).clone(),
        other => panic!("{other:?}"),
    });
    (found, sidecar)
}

#[test]
fn what_a_sidecar_sees() {
    let (found, object) =
        sidecar("{egress: [{hosts: ['./*', 'bank/api.bank.svc.cluster.local']}, {hosts: ['*/*.Example.com', '~/*']}]}");
    assert_eq!(found, [""; 0]);
    let egress = object.expect("a Sidecar").egress.expect("hosts");
    let [listener] = &egress[..] else { panic!("{egress:?}") };
    assert_eq!((listener.port, listener.bind, listener.opened), (None, None, false));
    let seen: Vec<_> = listener.hosts.iter().map(|host| (host.namespace.clone(), host.host.as_str())).collect();
    let expected = [
        (EgressNamespace::Any, "*.example.com"),
        (EgressNamespace::Own, "*"),
        (EgressNamespace::Named("bank".into()), "api.bank.svc.cluster.local"),
    ];
    assert_eq!(seen, expected);
    let nothing = sidecar("{egress: [{hosts: ['~/*']}]}").1.expect("a Sidecar").egress.expect("egress");
    assert_eq!(nothing[0].hosts, []);
    assert_eq!(sidecar("{}").1.expect("a Sidecar").egress, None, "everything");
    assert!(sidecar("{egress: [{hosts: ['./echo']}]}").0[0].starts_with("warning: "));
    for (egress, reason) in [
        ("{hosts: []}", "at least one host"),
        ("{hosts: [echo]}", "namespace/host"),
        ("{hosts: ['a/b/c']}", "namespace/host"),
        ("{hosts: ['A/*']}", "not a name"),
        ("{hosts: ['~bank/*']}", "leaving hosts out is not supported yet"),
        ("{hosts: ['./*'], port: {number: 0, protocol: HTTP}}", "not a port"),
        ("{hosts: ['./*'], port: {number: 80, protocol: HTTP_PROXY}}", "not a protocol that can be served"),
        ("{hosts: ['./*'], bind: 'unix:///x'}", "not an IP address"),
        ("{hosts: ['./*'], captureMode: SOME}", "must be one of"),
        ("{hosts: ['./*'], bind: 10.0.0.1, captureMode: NONE}", "10.0.0.1 is none"),
        ("{hosts: ['./*'], port: {number: 1}}, {hosts: ['./*'], port: {number: 1}}", "for the same port"),
        ("{hosts: ['./*'], bind: 127.0.0.1}, {hosts: ['./*']}", "with another bind or captureMode"),
    ] {
        let (found, object) = sidecar(&format!("{{egress: [{egress}]}}"));
        assert!(object.is_none() && found.iter().any(|line| line.contains(reason)), "{egress}: {found:?}");
    }
}

#[test]
fn where_a_sidecar_sees_it() {
    let spec =
        "{egress: [{hosts: ['./*']}, {port: {number: 80, protocol: GRPC, name: x}, captureMode: NONE, bind: 127.0.0.9,
        hosts: ['*/*']}, {port: {number: 81}, captureMode: IPTABLES, bind: 10.0.0.1, hosts: ['*/*']}]}";
    let (found, object) = sidecar(spec);
    assert_eq!(found, [""; 0]);
    let egress = object.expect("a Sidecar").egress.expect("egress");
    let listeners: Vec<_> = egress.iter().map(|listener| (listener.port, listener.bind, listener.opened)).collect();
    let at = |text: &str| Some(text.parse().expect("an address"));
    let expected = [
        (None, None, false),
        (Some((80, Some(Protocol::Http2))), at("127.0.0.9"), true),
        (Some((81, None)), at("10.0.0.1"), false),
    ];
    assert_eq!(listeners, expected);
    let (found, object) = sidecar("{egress: [{bind: 0.0.0.0, captureMode: NONE, hosts: ['*/*']}]}");
    assert!(object.is_some() && found[0].starts_with("warning: spec.egress[0].bind: "), "{found:?}");
}

#[test]
fn what_becomes_of_unknown_hosts() {
    let mode = |text: &str| sidecar(&format!("{{outboundTrafficPolicy: {text}}}")).1.expect("a Sidecar").outbound;
    assert_eq!(mode("{mode: ALLOW_ANY}"), Some(OutboundMode::AllowAny));
    assert_eq!(mode("{mode: REGISTRY_ONLY}"), Some(OutboundMode::RegistryOnly));
    assert_eq!(mode("{}"), Some(OutboundMode::RegistryOnly), "Istio's zero value");
    assert_eq!(sidecar("{}").1.expect("a Sidecar").outbound, None);
}
