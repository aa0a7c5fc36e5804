//! What parsers take, what they make of it, and what they say of what they don't take.

use crate::{parse, parsed};
use chancery::model::destination::LoadBalancer;
use chancery::model::object::Object;
use chancery::model::service::Protocol;
use chancery::model::sidecar::DefaultEndpoint;
use chancery::model::text::StringMatch;
use chancery::source::parse::Parsed;
use std::time::Duration;

fn policy(kind: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: x, namespace: shop}}, spec: {spec}}}"
    )
}

fn service(spec: &str) -> String {
    format!("{{apiVersion: v1, kind: Service, metadata: {{name: echo, namespace: shop}}, spec: {spec}}}")
}

/// The only finding.
fn only(text: &str) -> String {
    let (found, object) = parsed(text);
    assert_eq!(found.len(), 1, "{text}: {found:#?}");
    assert_eq!(object.is_none(), found[0].starts_with("error"), "{found:?}");
    found[0].clone()
}

fn rule(policy_text: &str) -> chancery::model::destination::DestinationRule {
    let (found, object) = parsed(&policy("DestinationRule", &format!("{{host: echo, trafficPolicy: {policy_text}}}")));
    assert_eq!(found, [""; 0]);
    let Some(Object::DestinationRule(rule)) = object else { panic!("{object:?}") };
    (*rule).clone()
}

fn route(spec: &str) -> chancery::model::route::VirtualService {
    let (found, object) = parsed(&policy("VirtualService", spec));
    assert_eq!(found, [""; 0]);
    let Some(Object::VirtualService(service)) = object else { panic!("{object:?}") };
    (*service).clone()
}

/// The findings of an `http` entry.
fn http(entry: &str) -> Vec<String> {
    parsed(&policy("VirtualService", &format!("{{hosts: [echo], http: [{entry}]}}"))).0
}

#[test]
fn a_destination_rule_with_everything() {
    let rule = rule(
        "{loadBalancer: {simple: ROUND_ROBIN},
          connectionPool: {tcp: {maxConnections: 1, connectTimeout: 1.5s, idleTimeout: 0s, maxConnectionDuration: 1h2m,
            tcpKeepalive: {probes: 3, time: 7200s, interval: 75s}},
            http: {http1MaxPendingRequests: 2, http2MaxRequests: 3, maxRequestsPerConnection: 4, maxRetries: 0,
            idleTimeout: 100ms, maxConcurrentStreams: 5}},
          outlierDetection: {consecutive5xxErrors: 0, consecutiveGatewayErrors: 6, interval: 1s, baseEjectionTime: 3m,
            maxEjectionPercent: 100, minHealthPercent: 50, splitExternalLocalOriginErrors: true,
            consecutiveLocalOriginFailures: 7}}",
    );
    assert_eq!(rule.host.as_str(), "echo.shop.svc.cluster.local");
    assert_eq!(rule.policy.load_balancer, Some(LoadBalancer::RoundRobin));
    let pool = rule.policy.connection_pool.expect("a pool");
    assert_eq!((pool.max_connections, pool.max_pending_requests, pool.max_requests), (Some(1), Some(2), Some(3)));
    assert_eq!((pool.max_requests_per_connection, pool.max_concurrent_streams), (Some(4), Some(5)));
    assert_eq!(pool.max_retries, None, "0 is no limit");
    assert_eq!(pool.connect_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(pool.tcp_idle_timeout, Some(Duration::ZERO));
    assert_eq!(pool.tcp_max_connection_duration, Some(Duration::from_secs(3720)));
    assert_eq!(pool.http_idle_timeout, Some(Duration::from_millis(100)));
    assert_eq!(pool.tcp_keepalive.and_then(|keepalive| keepalive.time), Some(Duration::from_secs(7200)));
    let outlier = rule.policy.outlier_detection.expect("outlier detection");
    assert_eq!((outlier.consecutive_5xx, outlier.consecutive_gateway_errors), (Some(0), Some(6)));
    assert_eq!((outlier.max_ejection_percent, outlier.min_health_percent), (Some(100), Some(50)));
    assert!(outlier.split_external_local_origin_errors);
}

#[test]
fn load_balancers_and_their_aliases() {
    for (name, expected) in [
        ("LEAST_CONN", LoadBalancer::LeastRequest),
        ("LEAST_REQUEST", LoadBalancer::LeastRequest),
        ("UNSPECIFIED", LoadBalancer::LeastRequest),
        ("RANDOM", LoadBalancer::Random),
        ("PASSTHROUGH", LoadBalancer::Passthrough),
    ] {
        assert_eq!(rule(&format!("{{loadBalancer: {{simple: {name}}}}}")).policy.load_balancer, Some(expected));
    }
}

#[test]
fn every_violation_is_reported_not_the_first() {
    let (found, object) = parsed(&policy(
        "DestinationRule",
        "{host: '', hosts: x, subsets: [{name: V1}, {name: a}, {name: a, labels: {'-': x}}],
          trafficPolicy: {connectionPool: {tcp: {maxConnections: -1, connectTimeout: 5}, http: {idleTimeout: 1us}},
            outlierDetection: {maxEjectionPercent: 101, interval: 0s}}}",
    ));
    let fields: Vec<_> = found.iter().map(|line| line.split(": ").nth(1).expect("a field")).collect();
    // One mistyped field keeps the struct from being read, so the table's findings come first and alone.
    assert_eq!(fields, ["spec.hosts", "spec.trafficPolicy.connectionPool.tcp.connectTimeout"], "{found:#?}");
    assert!(object.is_none());
    let (found, _) = parsed(&policy(
        "DestinationRule",
        "{host: '', subsets: [{name: V1}, {name: a}, {name: a, labels: {'-': x}}],
          trafficPolicy: {connectionPool: {tcp: {maxConnections: -1, connectTimeout: '5'}, http: {idleTimeout: 1us}},
            outlierDetection: {maxEjectionPercent: 101, interval: 0s}}}",
    ));
    let fields: Vec<_> = found.iter().map(|line| line.split(": ").nth(1).expect("a field")).collect();
    let expected = [
        "spec.host",
        "spec.subsets[0].name",
        "spec.subsets[2].labels",
        "spec.subsets[2].name",
        "spec.trafficPolicy.connectionPool.http.idleTimeout",
        "spec.trafficPolicy.connectionPool.tcp.connectTimeout",
        "spec.trafficPolicy.connectionPool.tcp.maxConnections",
        "spec.trafficPolicy.outlierDetection.interval",
        "spec.trafficPolicy.outlierDetection.maxEjectionPercent",
    ];
    assert_eq!(fields, expected, "{found:#?}");
    assert!(found.iter().any(|line| line.contains("is -1; it must be between 0 and 2147483647")), "{found:#?}");
}

#[test]
fn a_virtual_service_with_everything() {
    let service = route(
        "{hosts: [echo, '*.example.com'], gateways: [mesh, edge], exportTo: ['*'], http: [{name: r, timeout: 2s,
           match: [{name: m, uri: {prefix: /a}, method: {exact: GET}, headers: {X-B: {regex: 'b+'}, x-a: {}}}],
           route: [{destination: {host: other.far, subset: v1, port: {number: 80}}, weight: 1}, {destination: {host: echo}, weight: 9}]},
          {route: [{destination: {host: echo}, weight: 7}]}]}",
    );
    let hosts: Vec<_> = service.hosts.iter().map(|host| host.as_str()).collect();
    assert_eq!(hosts, ["echo.shop.svc.cluster.local", "*.example.com"]);
    let [first, second] = &service.http[..] else { panic!("{service:?}") };
    assert_eq!((&*first.name, first.timeout), ("r", Some(Duration::from_secs(2))));
    assert_eq!(first.matches[0].uri, Some(StringMatch::Prefix("/a".into())));
    assert_eq!(first.matches[0].method, Some(StringMatch::Exact("GET".into())));
    let headers = [("x-a".into(), None), ("x-b".into(), Some(StringMatch::Regex("b+".into())))];
    assert_eq!(first.matches[0].headers, headers, "sorted and lower-cased");
    let destination = &first.destinations[0];
    assert_eq!(destination.destination.host.as_str(), "other.far");
    assert_eq!((destination.destination.subset.as_deref(), destination.destination.port), (Some("v1"), Some(80)));
    assert_eq!(first.destinations.iter().map(|d| d.weight).collect::<Vec<_>>(), [1, 9]);
    assert_eq!((second.timeout, second.destinations[0].weight), (None, 100), "no timeout, and the whole share");
}

#[test]
fn rules_that_make_no_sense() {
    let to = "route: [{destination: {host: echo}}]";
    for (entry, field, text) in [
        ("{}".to_owned(), "http[0].route:", "at least one destination"),
        (format!("{{match: [{{}}], {to}}}"), "match[0]:", "a match without conditions"),
        (format!("{{match: [{{name: m}}], {to}}}"), "match[0]:", "a match without conditions"),
        (format!("{{match: [{{uri: {{}}}}], {to}}}"), "match[0].uri:", "one of exact, prefix and regex"),
        (format!("{{match: [{{uri: {{exact: /, prefix: /}}}}], {to}}}"), "match[0].uri:", "only one of"),
        (format!("{{match: [{{headers: {{':path': {{exact: /}}}}}}], {to}}}"), "headers[\":path\"]:", "pseudo-header"),
        (
            format!("{{match: [{{headers: {{'a b': {{exact: /}}}}}}], {to}}}"),
            "headers[\"a b\"]:",
            "not the name of an HTTP header",
        ),
        (format!("{{match: [{{headers: {{uri: {{exact: /}}}}}}], {to}}}"), "headers.uri:", "not a header to Istio"),
        (format!("{{match: [{{headers: {{a: {{prefix: ''}}}}}}], {to}}}"), "headers.a.prefix:", "must not be empty"),
        (format!("{{match: [{{uri: {{regex: 'a(b'}}}}], {to}}}"), "uri.regex:", "unclosed group, at character 2"),
        (format!("{{match: [{{uri: {{regex: '(?x)a'}}}}], {to}}}"), "uri.regex:", "not RE2"),
        (format!("{{match: [{{uri: {{regex: '[a&&b]'}}}}], {to}}}"), "uri.regex:", "not RE2"),
        (format!("{{match: [{{uri: {{regex: 'a{{1001}}'}}}}], {to}}}"), "uri.regex:", "1000 repetitions"),
        (format!("{{match: [{{uri: {{regex: '{}'}}}}], {to}}}", "a".repeat(1025)), "uri.regex:", "1024 are allowed"),
        (format!("{{match: [{{uri: {{regex: '((a{{99}}){{99}}){{99}}'}}}}], {to}}}"), "uri.regex:", "too large"),
        (format!("{{timeout: '1', {to}}}"), "timeout:", "not a duration"),
        (format!("{{timeout: 9000h, {to}}}"), "timeout:", "longer than 365 days"),
        ("{route: [{destination: {host: '*.x'}}]}".to_owned(), "destination.host:", "wildcard"),
        ("{route: [{destination: {host: 'a b'}}]}".to_owned(), "destination.host:", "not a host"),
        ("{route: [{destination: {host: a, port: {number: 0}}}]}".to_owned(), "port.number:", "not a port"),
        (
            "{route: [{destination: {host: a}, weight: 4294967296}]}".to_owned(),
            "route[0].weight:",
            "between 0 and 2147483647",
        ),
    ] {
        let found = http(&entry);
        assert_eq!(found.len(), 1, "{entry}: {found:#?}");
        assert!(found[0].starts_with("error: spec.http[0]"), "{entry}: {found:?}");
        let tail = format!("{}: ", field.trim_end_matches(':'));
        assert!(found[0].contains(&tail) && found[0].contains(text), "{entry}: {found:?}");
    }
    assert_eq!(
        http(&format!("{{match: [{{uri: {{regex: '/a{{2}}[^/]*(?i)x'}}}}], {to}}}")),
        [""; 0],
        "and this is fine"
    );
}

/// What an API server would not store is said here, where it can be meant.
#[test]
fn a_timeout_of_zero_is_none() {
    let (found, object) = parsed(&policy(
        "VirtualService",
        "{hosts: [echo], http: [{timeout: 0s, route: [{destination: {host: echo}}]}]}",
    ));
    let Some(Object::VirtualService(service)) = object else { panic!("{object:?}") };
    assert_eq!(service.http[0].timeout, None);
    let said = |line: &String| line.starts_with("warning: spec.http[0].timeout: 0s is without end");
    assert!(found.len() == 1 && said(&found[0]), "{found:?}");
    assert_eq!(http("{timeout: 1ms, route: [{destination: {host: echo}}]}"), [""; 0]);
}

/// A route with nothing but an answer of its own, however little that says, is not one that lacks a destination: it is not applied.
#[test]
fn what_stands_instead_of_destinations_is_refused_also_when_empty() {
    for instead in ["directResponse", "redirect", "delegate"] {
        let (found, object) =
            parsed(&policy("VirtualService", &format!("{{hosts: [echo], http: [{{{instead}: {{}}}}]}}")));
        let said = format!("error: spec.http[0].{instead}: not supported yet, so the object is not applied: ");
        assert!(object.is_none() && found.len() == 1 && found[0].starts_with(&said), "{found:?}");
        let null = http(&format!("{{{instead}: null}}"));
        assert!(null.len() == 1 && null[0].contains("at least one destination"), "{null:?}");
    }
}

#[test]
fn weights_are_shares_of_their_sum() {
    let two = |a: &str, b: &str| {
        http(&format!("{{route: [{{destination: {{host: a}}{a}}}, {{destination: {{host: b}}{b}}}]}}"))
    };
    assert_eq!(two(", weight: 0", ", weight: 1"), [""; 0]);
    assert!(two(", weight: 0", ", weight: 0")[0].contains("all destinations are 0"));
    assert!(two(", weight: -10", ", weight: 10")[0].contains("is -10; it must be between 0 and 2147483647"));
    assert!(two("", ", weight: 1")[0].starts_with("warning: spec.http[0].route[0]: has no weight"));
    let most = ", weight: 2147483647";
    assert_eq!(two(most, most), [""; 0], "the sum of two fits");
    let three = http(
        "{route: [{destination: {host: a}, weight: 2147483647}, {destination: {host: b}, weight: 2147483647}, {destination: {host: c}, weight: 2}]}",
    );
    assert!(three[0].contains("add up to 4294967296"), "{three:?}");
}

#[test]
fn hosts_of_a_virtual_service() {
    let hosts = |hosts: &str| {
        parsed(&policy(
            "VirtualService",
            &format!("{{hosts: {hosts}, http: [{{route: [{{destination: {{host: echo}}}}]}}]}}"),
        ))
        .0
    };
    assert_eq!(hosts("[echo, echo.other, '*.example.com']"), [""; 0]);
    assert!(hosts("[]")[0].contains("at least one host"));
    assert!(hosts("['*']")[0].contains("gateways only"));
    assert!(hosts("['*a.b']")[0].contains("not a host"));
    assert!(hosts("[echo, echo.shop.svc.cluster.local]")[0].contains("overlap"));
    assert!(hosts("['*.b.c', a.b.c]")[0].contains("overlap"));
    assert!(hosts("['::1']")[0].contains("not a host"));
}

#[test]
fn a_virtual_service_for_gateways_is_nothing_to_sidecars() {
    let (found, object) = parsed(&policy(
        "VirtualService",
        "{hosts: [a.b], gateways: [edge], http: [{route: [{destination: {host: echo}}]}]}",
    ));
    assert!(object.is_none() && found.len() == 1 && found[0].starts_with("warning: spec.gateways"), "{found:?}");
}

#[test]
fn sidecars() {
    let sidecar = "{workloadSelector: {labels: {app: echo}}, egress: [{hosts: ['*/*']}],
        ingress: [{port: {number: 80, protocol: HTTP, name: http}, bind: 127.0.0.9, defaultEndpoint: '127.0.0.9:8080', captureMode: NONE},
                  {port: {number: 81, protocol: GRPC}}]}";
    let (found, object) = parsed(&policy("Sidecar", sidecar));
    assert_eq!(found, [""; 0]);
    let Some(Object::Sidecar(sidecar)) = object else { panic!("{object:?}") };
    let [first, second] = &sidecar.ingress[..] else { panic!("{sidecar:?}") };
    let loopback = DefaultEndpoint::Loopback("127.0.0.9:8080".parse().expect("an address"));
    assert_eq!((first.port, first.protocol, first.opened, &first.endpoint), (80, Protocol::Http, true, &loopback));
    assert_eq!(
        (second.protocol, second.bind, second.opened, &second.endpoint),
        (Protocol::Http2, None, false, &DefaultEndpoint::Unsaid)
    );
    for (ingress, field, text) in [
        ("{port: {number: 0, protocol: HTTP}}", "ingress[0].port.number", "not a port"),
        ("{port: {number: 1, protocol: UDP}}", "ingress[0].port.protocol", "can't be served"),
        ("{port: {number: 1}, bind: 'unix:///x'}", "ingress[0].bind", "not an IP"),
        ("{port: {number: 1}, defaultEndpoint: 'unix://x'}", "ingress[0].defaultEndpoint", "not a path"),
        ("{port: {number: 1}, defaultEndpoint: 'unix://@'}", "ingress[0].defaultEndpoint", "not a path"),
        ("{port: {number: 1}, defaultEndpoint: '0.0.0.0:0'}", "ingress[0].defaultEndpoint", "not a port"),
        ("{port: {number: 1}, captureMode: SOME}", "ingress[0].captureMode", "must be one of"),
        ("{port: {number: 1}, connectionPool: {}}", "ingress[0].connectionPool", "must have tcp or http"),
        ("{port: {number: 1}, defaultEndpoint: '10.0.0.1:1'}", "ingress[0].defaultEndpoint", "not on this machine"),
        ("{port: {number: 1}}, {port: {number: 1}, bind: 127.0.0.1}", "ingress[1].port.number", "there twice"),
    ] {
        let found = only(&policy("Sidecar", &format!("{{ingress: [{ingress}]}}")));
        assert!(
            found.starts_with(&format!("error: spec.{field}: ")) && found.contains(text) || text == "can't be served",
            "{found}"
        );
    }
}

#[test]
fn where_an_application_may_listen() {
    let endpoint = |written: &str| {
        let ingress = format!("{{ingress: [{{port: {{number: 1}}, defaultEndpoint: '{written}'}}]}}");
        let (found, object) = parsed(&policy("Sidecar", &ingress));
        match object {
            Some(Object::Sidecar(sidecar)) => Ok(sidecar.ingress[0].endpoint.clone()),
            _ => Err(found.join("\n")),
        }
    };
    let at = |text: &str| text.parse().expect("an address");
    for (written, expected) in [
        ("127.0.0.1:80", DefaultEndpoint::Loopback(at("127.0.0.1:80"))),
        ("[::1]:80", DefaultEndpoint::Loopback(at("[::1]:80"))),
        ("0.0.0.0:80", DefaultEndpoint::Instance(at("0.0.0.0:80"))),
        ("[::]:80", DefaultEndpoint::Instance(at("[::]:80"))),
        ("unix:///run/app.sock", DefaultEndpoint::Socket("/run/app.sock".into())),
        ("unix://@app", DefaultEndpoint::Socket("@app".into())),
    ] {
        assert_eq!(endpoint(written), Ok(expected), "{written}");
    }
    let long = |bytes: usize| endpoint(&format!("unix:///{}", "x".repeat(bytes - 1)));
    assert!(long(107).is_ok());
    assert!(long(108).is_err_and(|found| found.contains("at most 107 bytes; this has 108")));
}

#[test]
fn what_ports_speak() {
    for (port, expected) in [
        ("{port: 1, name: http-web}", Protocol::Http),
        ("{port: 1, name: http2}", Protocol::Http2),
        ("{port: 1, name: grpc-web-x}", Protocol::Http2),
        ("{port: 1, name: https}", Protocol::Tcp),
        ("{port: 1, name: mysql}", Protocol::Tcp),
        ("{port: 1, name: web}", Protocol::Unnamed),
        ("{port: 3306, name: web}", Protocol::Tcp),
        ("{port: 1}", Protocol::Unnamed),
        ("{port: 1, name: tcp, appProtocol: http}", Protocol::Http),
        ("{port: 1, name: http, appProtocol: kubernetes.io/h2c}", Protocol::Http2),
        ("{port: 1, appProtocol: kubernetes.io/ws}", Protocol::Http),
        ("{port: 1, appProtocol: kubernetes.io/wss}", Protocol::Tcp),
        ("{port: 1, name: http, appProtocol: example.com/own}", Protocol::Unnamed),
        ("{port: 1, name: http, protocol: UDP}", Protocol::Udp),
        ("{port: 1, name: http, protocol: SCTP}", Protocol::Udp),
    ] {
        let (found, object) = parsed(&service(&format!("{{clusterIP: 10.0.0.1, ports: [{port}]}}")));
        let Some(Object::Service(service)) = object else { panic!("{port}: {found:?}") };
        assert_eq!(service.ports[0].protocol, expected, "{port}");
    }
}

#[test]
fn services() {
    let (_, object) = parsed(&service("{clusterIP: None, ports: [{port: 80}]}"));
    let Some(Object::Service(headless)) = object else { panic!() };
    assert!(headless.addresses.is_empty());
    let dns = "{clusterIP: 10.0.0.1, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}]}";
    assert!(parsed(&service(dns)).1.is_some(), "one number for UDP and TCP");
    assert!(only(&service("{clusterIP: x, ports: [{port: 80}]}")).contains("neither an IP address nor None"));
    assert!(
        only(&service("{clusterIP: 10.0.0.1, ports: [{port: 80, name: a}, {port: 80, name: b}]}"))
            .contains("port 80 is there twice")
    );
    assert!(only(&service("{clusterIP: 10.0.0.1}")).contains("needs a port"));
    assert!(only(&service("{clusterIP: 10.0.0.1, ports: [{port: '80'}]}")).starts_with("error: spec.ports[0].port: "));
    let (found, object) = parsed(&service("{clusterIP: 10.0.0.1, ports: [{port: 80, prot: x}], more: 1}"));
    assert!(object.is_some(), "unknown fields of core kinds are warnings");
    assert_eq!(found, ["warning: spec.more: unknown field", "warning: spec.ports[0].prot: unknown field"]);
}

#[test]
fn what_never_matters_does_not_make_an_object_differ() {
    let text = |more: &str, status: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: echo{more}}}, spec: {{clusterIP: 10.0.0.1, ports: [{{port: 80}}]}}{status}}}"
        )
    };
    let (_, plain) = parsed(&text("", ""));
    let noise =
        ", labels: {a: b}, annotations: {a: b}, resourceVersion: '7', generation: 3, managedFields: [{manager: x}]";
    let (found, noisy) = parsed(&text(noise, ", status: {loadBalancer: {}}"));
    assert_eq!(found, [""; 0]);
    assert_eq!(plain, noisy);
    let (_, other) = parsed(&text("", "").as_str().replace("80", "81"));
    assert_ne!(plain, other, "the comparison can fail");
}

#[test]
fn endpoint_slices() {
    let slice = |labels: &str, rest: &str| {
        format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s, labels: {labels}}}, {rest}}}"
        )
    };
    let label = "{kubernetes.io/service-name: echo}";
    let good = "addressType: IPv4, ports: [{name: http, port: 80}, {name: any}], endpoints: [
        {addresses: [127.0.0.2, 127.0.0.3], targetRef: {kind: Pod, name: p}, zone: z},
        {addresses: [127.0.0.4], conditions: {ready: false, terminating: true}}]";
    let (found, object) = parsed(&slice(label, good));
    assert_eq!(found, [""; 0]);
    let Some(Object::EndpointSlice(slice_of)) = object else { panic!() };
    assert_eq!(slice_of.ports.len(), 1, "a port without a number is not listed");
    let [first, second] = &slice_of.endpoints[..] else { panic!() };
    assert_eq!((first.address.to_string(), first.ready, first.terminating), ("127.0.0.2".to_owned(), true, false));
    assert_eq!(first.pod.as_ref().map(|pod| pod.as_str()), Some("p"));
    assert_eq!((second.ready, second.serving, second.terminating), (false, true, true));
    assert!(only(&slice("{}", "addressType: IPv4")).contains("kubernetes.io/service-name is missing"));
    assert!(only(&slice(label, "addressType: FQDN, endpoints: [{addresses: [a.b]}]")).contains("domain names"));
    assert!(only(&slice(label, "addressType: IPv6, endpoints: [{addresses: [10.0.0.1]}]")).contains("not an IPv6"));
    assert!(only(&slice(label, "addressType: IPv4, endpoints: [{addresses: []}]")).contains("an address is missing"));
    assert!(
        only(&slice(label, "addressType: IPv4, endpoints: [{addresses: [0.0.0.0]}]")).contains("can't be the address")
    );
}

#[test]
fn pods_and_namespaces() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p, uid: u, generation: 4, creationTimestamp: '2026-01-02T03:04:05Z', labels: {a: b}},
        spec: {containers: [{name: c, resources: {limits: {cpu: 1}}}]}, status: {podIPs: [{ip: 127.0.0.3}, {ip: '::1'}]}}";
    let (found, object) = parsed(pod);
    assert_eq!(found, [""; 0]);
    let Some(Object::Pod(pod)) = object else { panic!() };
    assert_eq!((&*pod.service_account, pod.addresses.len()), ("default", 2));
    assert_eq!((pod.meta().created, pod.meta().reference.generation), (Some(1_767_323_045), None));
    assert_eq!((pod.key().namespace.as_str(), pod.meta().reference.uid.as_deref()), ("default", Some("u")));
    let (_, object) =
        parsed("{apiVersion: v1, kind: Namespace, metadata: {name: n, namespace: ignored, labels: {a: b}}}");
    assert_eq!(object.expect("an object").key().namespace.as_str(), "");
}

#[test]
fn the_generation_of_a_policy_is_kept() {
    let text = "{apiVersion: networking.istio.io/v1beta1, kind: DestinationRule, metadata: {name: x, generation: 7}, spec: {host: a}}";
    assert_eq!(parsed(text).1.expect("an object").meta().reference.generation, Some(7));
}

#[test]
fn what_cannot_be_identified_says_why() {
    for (text, field, reason) in [
        ("[1]", "", "not a Kubernetes object"),
        ("{kind: Service, metadata: {name: x}}", "apiVersion", "is missing"),
        ("{apiVersion: v1, metadata: {name: x}}", "kind", "is missing"),
        ("{apiVersion: v1, kind: 5, metadata: {name: x}}", "kind", "must be a string"),
        ("{apiVersion: v1, kind: Service, metadata: {}}", "metadata.name", "is missing"),
        ("{apiVersion: v1, kind: Service, metadata: {name: ''}}", "metadata.name", "must not be empty"),
        ("{apiVersion: v1, kind: Service, metadata: {name: a/b}}", "metadata.name", "is not a name"),
        ("{apiVersion: v1, kind: Service, metadata: {name: a, namespace: B}}", "metadata.namespace", "is not a name"),
    ] {
        let Parsed::Unidentified { notes, .. } = parse(text) else { panic!("{text}") };
        assert_eq!(notes[0].field, field, "{text}");
        assert!(notes[0].text.contains(reason), "{text}: {notes:?}");
    }
    for foreign in [
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}}",
        "{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: x}}",
    ] {
        let Parsed::Foreign { note, .. } = parse(foreign) else { panic!("{foreign}") };
        assert!(note.text.contains("is not read"), "{note:?}");
    }
    let Parsed::Foreign { note, .. } = parse("{apiVersion: v1, kind: service, metadata: {name: x}}") else { panic!() };
    assert!(note.text.ends_with("; did you mean Service?"), "{note:?}");
    let version = only(
        "{apiVersion: discovery.k8s.io/v1beta1, kind: EndpointSlice, metadata: {name: x, labels: {kubernetes.io/service-name: a}}, addressType: IPv4}",
    );
    assert!(version.contains("known are discovery.k8s.io/v1"), "{version}");
}
