//! The tables of the core kinds against the types of Kubernetes, which say what fields there are, and against the parser, which
//! shows by pairs of manifests that differ in one field what becomes of it.

use crate::{kind, parsed, secret_fields};
use chancery::source::parse::fields::{Field, Shape, State, fields, rows};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const KINDS: [&str; 6] = ["Namespace", "Node", "Pod", "Service", "EndpointSlice", "Secret"];

/// Every field is set, and by name: one that Kubernetes adds makes this fail to compile.
fn whole_service() -> core::ServiceSpec {
    let text = || Some("x".to_owned());
    let texts = || Some(vec!["x".to_owned()]);
    let port = core::ServicePort {
        app_protocol: text(),
        name: text(),
        node_port: Some(1),
        port: 1,
        protocol: text(),
        target_port: Some(IntOrString::Int(1)),
    };
    let client_ip = core::ClientIPConfig { timeout_seconds: Some(1) };
    core::ServiceSpec {
        allocate_load_balancer_node_ports: Some(true),
        cluster_ip: text(),
        cluster_ips: texts(),
        external_ips: texts(),
        external_name: text(),
        external_traffic_policy: text(),
        health_check_node_port: Some(1),
        internal_traffic_policy: text(),
        ip_families: texts(),
        ip_family_policy: text(),
        load_balancer_class: text(),
        load_balancer_ip: text(),
        load_balancer_source_ranges: texts(),
        ports: Some(vec![port]),
        publish_not_ready_addresses: Some(true),
        selector: Some([("x".to_owned(), "x".to_owned())].into()),
        session_affinity: text(),
        session_affinity_config: Some(core::SessionAffinityConfig { client_ip: Some(client_ip) }),
        traffic_distribution: text(),
        type_: text(),
    }
}

/// As for [`whole_service`].
fn whole_slice() -> discovery::EndpointSlice {
    let text = || Some("x".to_owned());
    let target = core::ObjectReference {
        api_version: text(),
        field_path: text(),
        kind: text(),
        name: text(),
        namespace: text(),
        resource_version: text(),
        uid: text(),
    };
    let hints = discovery::EndpointHints {
        for_nodes: Some(vec![discovery::ForNode { name: "x".to_owned() }]),
        for_zones: Some(vec![discovery::ForZone { name: "x".to_owned() }]),
    };
    let endpoint = discovery::Endpoint {
        addresses: vec!["x".to_owned()],
        conditions: Some(discovery::EndpointConditions {
            ready: Some(true),
            serving: Some(true),
            terminating: Some(true),
        }),
        deprecated_topology: Some([("x".to_owned(), "x".to_owned())].into()),
        hints: Some(hints),
        hostname: text(),
        node_name: text(),
        target_ref: Some(target),
        zone: text(),
    };
    let port = discovery::EndpointPort { app_protocol: text(), name: text(), port: Some(1), protocol: text() };
    discovery::EndpointSlice {
        address_type: "x".to_owned(),
        endpoints: Some(vec![endpoint]),
        metadata: Default::default(),
        ports: Some(vec![port]),
    }
}

/// Where a table and a value that has every field differ; metadata is another matter.
fn differences(fields: &[Field], value: &Value, path: &str, found: &mut Vec<String>) {
    let members = value.as_object().expect("a table is of a map");
    let ours: BTreeSet<&str> = fields.iter().map(|field| field.name).collect();
    // What every object has besides is no field of its kind.
    let theirs: BTreeSet<&str> = members
        .keys()
        .map(String::as_str)
        .filter(|name| *name != "apiVersion" && *name != "kind" || !path.is_empty())
        .collect();
    found.extend(ours.symmetric_difference(&theirs).map(|name| format!("{path}.{name}")));
    for field in fields.iter().filter(|field| field.name != "metadata") {
        let Some(value) = members.get(field.name) else { continue };
        let path = format!("{path}.{}", field.name);
        match field.shape {
            Shape::Object(inner) => differences(inner, value, &path, found),
            Shape::List(Shape::Object(inner)) => differences(inner, &value[0], &path, found),
            _ if value.is_object() => {
                assert!(matches!(field.shape, Shape::Map(_)) || field.name == "status", "{path} is cut short")
            }
            _ => {}
        }
    }
}

fn missing(name: &str, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    differences(fields(kind(name)), value, "", &mut found);
    found
}

#[test]
fn the_tables_hold_exactly_the_fields_of_kubernetes() {
    let service =
        core::Service { metadata: Default::default(), spec: Some(whole_service()), status: Some(Default::default()) };
    let mut service = serde_json::to_value(service).expect("a Service is JSON");
    assert_eq!(missing("Service", &service), [""; 0]);
    let slice = serde_json::to_value(whole_slice()).expect("a slice is JSON");
    assert_eq!(missing("EndpointSlice", &slice), [""; 0]);
    service["spec"]["ports"][0]["more"] = json!(1);
    assert_eq!(missing("Service", &service), [".spec.ports.more"], "the control");
}

/// For each field two specs, or in other places than `spec` two objects, that differ in it alone; the second asks for it.
const PAIRS: &[(&str, &str, &str, &str)] = &[
    ("Namespace", "metadata.labels", "{metadata: {name: x}}", "{metadata: {name: x, labels: {a: b}}}"),
    (
        "Node",
        r#"metadata.labels["topology.kubernetes.io/region"]"#,
        "{metadata: {name: x, labels: {topology.kubernetes.io/region: a}}}",
        "{metadata: {name: x, labels: {topology.kubernetes.io/region: b}}}",
    ),
    (
        "Node",
        r#"metadata.labels["topology.kubernetes.io/zone"]"#,
        "{metadata: {name: x, labels: {topology.kubernetes.io/zone: a}}}",
        "{metadata: {name: x, labels: {topology.kubernetes.io/zone: b}}}",
    ),
    (
        "Node",
        r#"metadata.labels["topology.istio.io/subzone"]"#,
        "{metadata: {name: x, labels: {topology.istio.io/subzone: a}}}",
        "{metadata: {name: x, labels: {topology.istio.io/subzone: b}}}",
    ),
    ("Pod", "metadata.labels", "{metadata: {name: x}}", "{metadata: {name: x, labels: {a: b}}}"),
    ("Pod", "spec.serviceAccountName", "{spec: {containers: []}}", "{spec: {containers: [], serviceAccountName: b}}"),
    ("Pod", "spec.hostNetwork", "{spec: {containers: []}}", "{spec: {containers: [], hostNetwork: true}}"),
    ("Pod", "spec.nodeName", "{spec: {containers: []}}", "{spec: {containers: [], nodeName: b}}"),
    (
        "Pod",
        "spec.containers[].ports[].name",
        "{spec: {containers: [{name: x, ports: [{name: a, containerPort: 1}]}]}}",
        "{spec: {containers: [{name: x, ports: [{name: b, containerPort: 1}]}]}}",
    ),
    (
        "Pod",
        "spec.containers[].ports[].containerPort",
        "{spec: {containers: [{name: x, ports: [{name: a, containerPort: 1}]}]}}",
        "{spec: {containers: [{name: x, ports: [{name: a, containerPort: 2}]}]}}",
    ),
    (
        "Pod",
        "spec.containers[].ports[].protocol",
        "{spec: {containers: [{name: x, ports: [{name: a, containerPort: 1}]}]}}",
        "{spec: {containers: [{name: x, ports: [{name: a, containerPort: 1, protocol: UDP}]}]}}",
    ),
    (
        "Pod",
        "spec.initContainers[].restartPolicy",
        "{spec: {initContainers: [{name: x, ports: [{name: a, containerPort: 1}]}]}}",
        "{spec: {initContainers: [{name: x, restartPolicy: Always, ports: [{name: a, containerPort: 1}]}]}}",
    ),
    (
        "Pod",
        "spec.initContainers[].ports[].name",
        "{spec: {initContainers: [{name: x, restartPolicy: Always, ports: [{name: a, containerPort: 1}]}]}}",
        "{spec: {initContainers: [{name: x, restartPolicy: Always, ports: [{name: b, containerPort: 1}]}]}}",
    ),
    (
        "Pod",
        "spec.initContainers[].ports[].containerPort",
        "{spec: {initContainers: [{name: x, restartPolicy: Always, ports: [{name: a, containerPort: 1}]}]}}",
        "{spec: {initContainers: [{name: x, restartPolicy: Always, ports: [{name: a, containerPort: 2}]}]}}",
    ),
    (
        "Pod",
        "spec.initContainers[].ports[].protocol",
        "{spec: {initContainers: [{name: x, restartPolicy: Always, ports: [{name: a, containerPort: 1}]}]}}",
        "{spec: {initContainers: [{name: x, restartPolicy: Always, ports: [{name: a, containerPort: 1, protocol: UDP}]}]}}",
    ),
    ("Pod", "status.podIPs[].ip", "{status: {podIPs: [{ip: 10.0.0.1}]}}", "{status: {podIPs: [{ip: 10.0.0.2}]}}"),
    ("Pod", "status.podIP", "{status: {podIP: 10.0.0.1}}", "{status: {podIP: 10.0.0.2}}"),
    (
        "Service",
        r#"metadata.annotations["networking.istio.io/exportTo"]"#,
        "{metadata: {name: x}, spec: {ports: [{port: 80}]}}",
        "{metadata: {name: x, annotations: {networking.istio.io/exportTo: a}}, spec: {ports: [{port: 80}]}}",
    ),
    (
        "Service",
        r#"metadata.annotations["service.kubernetes.io/topology-mode"]"#,
        "{metadata: {name: x}, spec: {ports: [{port: 80}]}}",
        "{metadata: {name: x, annotations: {service.kubernetes.io/topology-mode: Auto}}, spec: {ports: [{port: 80}]}}",
    ),
    ("Service", "status", "{spec: {ports: [{port: 80}]}}", "{spec: {ports: [{port: 80}]}, status: {loadBalancer: {}}}"),
];

/// The same for `spec` of a Service, which has a port in any case unless the pair is about it.
const SERVICE: &[(&str, &str, &str)] = &[
    ("type", "type: LoadBalancer", "type: ExternalName, externalName: a.example"),
    ("clusterIP", "clusterIP: 10.0.0.1", "clusterIP: None"),
    ("clusterIPs", "clusterIPs: [10.0.0.1]", "clusterIPs: [10.0.0.1, '2001:db8::1']"),
    ("publishNotReadyAddresses", "publishNotReadyAddresses: false", "publishNotReadyAddresses: true"),
    ("selector", "selector: {a: b}", "selector: {a: c}"),
    ("sessionAffinity", "sessionAffinity: None", "sessionAffinity: ClientIP"),
    ("sessionAffinityConfig.clientIP.timeoutSeconds", "", "sessionAffinityConfig: {clientIP: {timeoutSeconds: 9}}"),
    ("internalTrafficPolicy", "internalTrafficPolicy: Cluster", "internalTrafficPolicy: Local"),
    ("trafficDistribution", "", "trafficDistribution: PreferClose"),
    ("externalName", "type: ExternalName, externalName: a.example", "type: ExternalName, externalName: b.example"),
    ("externalTrafficPolicy", "externalTrafficPolicy: Cluster", "externalTrafficPolicy: Local"),
    ("externalIPs", "externalIPs: []", "externalIPs: [192.0.2.1]"),
    ("ipFamilies", "ipFamilies: [IPv4, IPv6]", "ipFamilies: [IPv6, IPv4]"),
    ("ipFamilyPolicy", "ipFamilyPolicy: SingleStack", "ipFamilyPolicy: PreferDualStack"),
    ("allocateLoadBalancerNodePorts", "allocateLoadBalancerNodePorts: true", "allocateLoadBalancerNodePorts: false"),
    ("healthCheckNodePort", "", "healthCheckNodePort: 30001"),
    ("loadBalancerClass", "", "loadBalancerClass: a/b"),
    ("loadBalancerIP", "", "loadBalancerIP: 192.0.2.1"),
    ("loadBalancerSourceRanges", "", "loadBalancerSourceRanges: [192.0.2.0/24]"),
    ("ports[].name", "ports: [{port: 80, name: a}]", "ports: [{port: 80, name: b}]"),
    ("ports[].port", "ports: [{port: 80}]", "ports: [{port: 81}]"),
    ("ports[].targetPort", "ports: [{port: 80, targetPort: 80}]", "ports: [{port: 80, targetPort: web}]"),
    ("ports[].appProtocol", "ports: [{port: 80}]", "ports: [{port: 80, appProtocol: http}]"),
    ("ports[].protocol", "ports: [{port: 80, protocol: TCP}]", "ports: [{port: 80, protocol: UDP}]"),
    ("ports[].nodePort", "ports: [{port: 80}]", "ports: [{port: 80, nodePort: 30001}]"),
];

/// The same for members of the only endpoint of a slice.
const ENDPOINT: &[(&str, &str, &str)] = &[
    ("addresses", "addresses: [10.0.0.1]", "addresses: [10.0.0.2]"),
    ("conditions.ready", "conditions: {ready: true}", "conditions: {ready: false}"),
    ("conditions.terminating", "conditions: {terminating: false}", "conditions: {terminating: true}"),
    (
        "conditions.serving",
        "conditions: {ready: false, terminating: true}",
        "conditions: {ready: false, terminating: true, serving: false}",
    ),
    ("targetRef.kind", "targetRef: {kind: Pod, name: a}", "targetRef: {kind: Node, name: a}"),
    ("targetRef.name", "targetRef: {kind: Pod, name: a}", "targetRef: {kind: Pod, name: b}"),
    ("targetRef.namespace", "targetRef: {kind: Pod, name: a}", "targetRef: {kind: Pod, name: a, namespace: b}"),
    ("targetRef.apiVersion", "targetRef: {kind: Pod, name: a}", "targetRef: {kind: Pod, name: a, apiVersion: v1}"),
    ("targetRef.fieldPath", "targetRef: {kind: Pod, name: a}", "targetRef: {kind: Pod, name: a, fieldPath: b}"),
    (
        "targetRef.resourceVersion",
        "targetRef: {kind: Pod, name: a}",
        "targetRef: {kind: Pod, name: a, resourceVersion: b}",
    ),
    ("targetRef.uid", "targetRef: {kind: Pod, name: a}", "targetRef: {kind: Pod, name: a, uid: b}"),
    ("nodeName", "", "nodeName: a"),
    ("zone", "zone: a", "zone: b"),
    ("hostname", "", "hostname: a"),
    ("deprecatedTopology", "", "deprecatedTopology: {a: b}"),
    ("hints.forZones[].name", "hints: {forZones: [{name: a}]}", "hints: {forZones: [{name: b}]}"),
    ("hints.forNodes[].name", "hints: {forNodes: [{name: a}]}", "hints: {forNodes: [{name: b}]}"),
];

/// The same for other members of a slice.
const SLICE: &[(&str, &str, &str)] = &[
    ("addressType", "addressType: IPv4", "addressType: FQDN"),
    ("ports[].name", "ports: [{port: 1, name: a}]", "ports: [{port: 1, name: b}]"),
    ("ports[].port", "ports: [{port: 1}]", "ports: [{port: 2}]"),
    ("ports[].protocol", "ports: [{port: 1}]", "ports: [{port: 1, protocol: UDP}]"),
    ("ports[].appProtocol", "ports: [{port: 1}]", "ports: [{port: 1, appProtocol: http}]"),
    (
        r#"metadata.labels["kubernetes.io/service-name"]"#,
        "metadata: {name: x, labels: {kubernetes.io/service-name: a}}",
        "metadata: {name: x, labels: {kubernetes.io/service-name: b}}",
    ),
    (
        r#"metadata.labels["endpointslice.kubernetes.io/managed-by"]"#,
        "metadata: {name: x, labels: {kubernetes.io/service-name: a}}",
        "metadata: {name: x, labels: {kubernetes.io/service-name: a,
          endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}}",
    ),
];

/// Fields that the parser keeps for later, although nothing depends on them yet.
const KEPT: [&str; 1] = ["metadata.labels"];

fn yaml(text: &str) -> Value {
    chancery::source::yaml::read(text.as_bytes()).documents.remove(0).value.clone()
}

/// `base` with the members of the flow map `text`.
fn with(base: &str, text: &str) -> Value {
    let mut value = yaml(base);
    for (name, member) in yaml(&format!("{{{text}}}")).as_object().expect("a map") {
        value[name] = member.clone();
    }
    value
}

struct Pair {
    kind: &'static str,
    path: String,
    plain: Value,
    asking: Value,
}

fn pairs() -> Vec<Pair> {
    let whole = PAIRS.iter().map(|(kind, path, plain, asking)| Pair {
        kind,
        path: (*path).to_owned(),
        plain: yaml(plain),
        asking: yaml(asking),
    });
    let spec = |text| json!({"spec": with("{ports: [{port: 80}]}", text)});
    let services = SERVICE.iter().map(|(path, plain, asking)| Pair {
        kind: "Service",
        path: format!("spec.{path}"),
        plain: spec(plain),
        asking: spec(asking),
    });
    let base = "{metadata: {name: x, labels: {kubernetes.io/service-name: a}}, addressType: IPv4, ports: [{port: 1}],
        endpoints: [{addresses: [10.0.0.1]}]}";
    let endpoint = move |text| {
        let mut slice = yaml(base);
        slice["endpoints"][0] = with("{addresses: [10.0.0.1]}", text);
        slice
    };
    let endpoints = ENDPOINT.iter().map(move |(path, plain, asking)| {
        let path = format!("endpoints[].{path}");
        Pair { kind: "EndpointSlice", path, plain: endpoint(plain), asking: endpoint(asking) }
    });
    let slices = SLICE.iter().map(move |(path, plain, asking)| {
        let path = (*path).to_owned();
        Pair { kind: "EndpointSlice", path, plain: with(base, plain), asking: with(base, asking) }
    });
    let secrets = secret_fields::pairs().into_iter();
    let secrets = secrets.map(|(path, plain, asking)| Pair { kind: "Secret", path, plain, asking });
    whole.chain(services).chain(endpoints).chain(slices).chain(secrets).collect()
}

/// The manifest of a pair's half.
fn manifest(kind: &str, half: &Value) -> String {
    let mut object = half.clone();
    object["apiVersion"] = json!(if kind == "EndpointSlice" { "discovery.k8s.io/v1" } else { "v1" });
    object["kind"] = json!(kind);
    if object.get("metadata").is_none() {
        object["metadata"] = json!({"name": "x"});
    }
    object.to_string()
}

#[test]
fn each_field_of_the_core_kinds_does_what_its_state_says() {
    for Pair { kind: name, path, plain, asking } in pairs() {
        let rows = rows(kind(name));
        let row = rows.iter().find(|row| row.path == path).unwrap_or_else(|| panic!("{name} has no row {path}"));
        let ((quiet, before), (found, after)) = (parsed(&manifest(name, &plain)), parsed(&manifest(name, &asking)));
        assert_eq!(quiet, [""; 0], "{name} {path}: what is ordinary is not reported");
        assert!(before.is_some(), "{name} {path}");
        let says = found.iter().any(|line| line.contains("so it has no effect"));
        match row.state {
            State::Done => assert!(before != after && !says, "{name} {path}: {found:?}"),
            State::Silent if KEPT.contains(&&*path) => assert!(before != after && found.is_empty(), "{name} {path}"),
            State::Silent => assert!(before == after && found.is_empty(), "{name} {path}: {found:?}"),
            State::NoEffect => {
                // Its warning is about the field, or about the one that holds it.
                let about = |line: &String| {
                    let field = line.strip_prefix("warning: ").and_then(|line| line.split(": ").next());
                    field.is_some_and(|field| path.starts_with(field) && field != "spec")
                        && line.ends_with(reason(&rows, field.unwrap_or_default()))
                };
                assert!(found.len() == 1 && about(&found[0]), "{name} {path}: {found:?}");
                assert!(before == after, "{name} {path}");
            }
            State::Refused => panic!("{name} {path}: no field of a core kind is refused"),
        }
    }
}

fn reason(rows: &[chancery::source::parse::fields::Row], path: &str) -> &'static str {
    rows.iter().find(|row| row.path == path).map_or("no such row", |row| row.field.text)
}

#[test]
fn no_field_of_the_core_kinds_is_left_untried() {
    let tried: BTreeSet<_> = pairs().into_iter().map(|pair| (pair.kind, pair.path)).collect();
    for name in KINDS {
        for row in rows(kind(name)) {
            let holds = matches!(row.field.shape, Shape::Object(_) | Shape::List(Shape::Object(_)));
            assert!(holds || tried.contains(&(name, row.path.clone())), "{name} {} has no pair", row.path);
        }
    }
}

/// The parser follows the table, so a promise to users must not hang on the table alone.
#[test]
fn what_users_would_expect_to_work_is_reported() {
    let mut reported = Vec::new();
    for name in KINDS {
        let rows = rows(kind(name)).into_iter().filter(|row| row.field.state == State::NoEffect);
        reported.extend(rows.map(|row| format!("{name} {}", row.path)));
    }
    let expected = [
        "Service spec.sessionAffinity",
        "Service spec.sessionAffinityConfig",
        r#"Secret data["ca.crl"]"#,
        "Secret data.crl",
        r#"Secret stringData["ca.crl"]"#,
        "Secret stringData.crl",
    ];
    assert_eq!(reported, expected);
}
