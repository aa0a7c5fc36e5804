//! Settings of the mesh: what they become, and how they come and go with their file.

use crate::findings;
use chancery::model::access_log::{AccessLog, LogFormat, Stream};
use chancery::model::exports::Exports;
use chancery::model::mesh::{Mesh, OutboundMode};
use chancery::model::object::Object;
use chancery::model::world::Change;
use chancery::source::directory::catalog::{Catalog, Update};
use chancery::source::parse::settings;
use std::path::Path;
use std::time::Duration;

fn read(text: &str) -> (Vec<String>, Option<Object>) {
    let content = chancery::source::yaml::read(text.as_bytes());
    findings(settings(&content.documents[0].value))
}

fn mesh(object: Option<Object>) -> Mesh {
    let Some(Object::MeshConfig(mesh)) = object else { panic!("{object:?}") };
    (*mesh).clone()
}

#[test]
fn nothing_said_is_istios_default() {
    let (found, object) = read("{}");
    assert_eq!(found, [""; 0]);
    assert_eq!(mesh(object), Mesh::default());
    assert_eq!(Mesh::default().connect_timeout, Duration::from_secs(10));
}

#[test]
fn every_setting_that_is_read() {
    let (found, object) = read(
        "{connectTimeout: 3s, dnsRefreshRate: 9s, outboundTrafficPolicy: {mode: REGISTRY_ONLY}, trustDomain: cluster.local, rootNamespace: infra,
          proxyListenPort: 15001, proxyInboundListenPort: 15006, protocolDetectionTimeout: 0s, accessLogFile: '',
          defaultServiceExportTo: ['.', bank], defaultVirtualServiceExportTo: ['~'], defaultDestinationRuleExportTo: ['*']}",
    );
    assert_eq!(found, [""; 0]);
    let mesh = mesh(object);
    assert_eq!((mesh.connect_timeout, mesh.outbound), (Duration::from_secs(3), OutboundMode::RegistryOnly));
    assert_eq!(mesh.dns_refresh, Duration::from_secs(9));
    assert_eq!((mesh.root_namespace.as_str(), &*mesh.trust_domain), ("infra", "cluster.local"));
    assert_eq!((mesh.outbound_port, mesh.inbound_port, mesh.detection_timeout), (15001, 15006, None));
    let own_and_bank = Exports::Some { own: true, namespaces: ["bank".into()].into() };
    assert_eq!((mesh.service_exports, mesh.virtual_service_exports), (own_and_bank, Exports::NOBODY));
    assert_eq!((mesh.destination_rule_exports, mesh.access_log), (Exports::Everyone, None));
}

#[test]
fn settings_of_other_values_are_kept_for_those_who_use_them() {
    let (found, object) = read(
        "{proxyListenPort: 16001, protocolDetectionTimeout: 1s, trustDomain: example.org, trustDomainAliases: [b.example, a.example,
          b.example], enableAutoMtls: false, outboundTrafficPolicy: {mode: ALLOW_ANY}}",
    );
    assert_eq!(found, [""; 0]);
    let mesh = mesh(object);
    assert_eq!((mesh.outbound_port, mesh.detection_timeout), (16001, Some(Duration::from_secs(1))));
    assert_eq!((&*mesh.trust_domain, mesh.outbound), ("example.org", OutboundMode::AllowAny));
    let prefixes: Vec<_> = mesh.trust().prefixes().collect();
    assert_eq!(prefixes, ["spiffe://example.org/", "spiffe://b.example/", "spiffe://a.example/"]);
    assert_eq!((mesh.auto_mtls, Mesh::default().auto_mtls), (false, true));
}

#[test]
fn logging_is_off_without_a_file_and_istios_without_a_format() {
    let log = |text: &str| {
        let (found, object) = read(text);
        assert_eq!(found, [""; 0], "{text}");
        mesh(object).access_log
    };
    for off in ["{}", "{accessLogFile: ''}", "{accessLogEncoding: JSON, disableEnvoyListenerLog: true}"] {
        assert_eq!(log(off), None, "{off}");
    }
    let text = |format: Option<AccessLog>| match format.expect("a log").format {
        LogFormat::Text(text) => text.to_string(),
        other => panic!("{other:?}"),
    };
    let istios = text(log("{accessLogFile: /dev/stdout, accessLogFormat: ''}"));
    assert!(istios.starts_with("[%START_TIME%] \"%REQ(:METHOD)% ") && istios.ends_with(" %ROUTE_NAME%\n"), "{istios}");
    assert!(!istios.contains("  ") && istios.lines().count() == 1, "{istios}");
    assert_eq!(text(log("{accessLogFile: /dev/stdout, accessLogFormat: '%PROTOCOL%'}")), "%PROTOCOL%\n");
    assert_eq!(text(log("{accessLogFile: /dev/stdout, accessLogFormat: \"%PROTOCOL%\\n\"}")), "%PROTOCOL%\n");
    let json =
        log("{accessLogFile: /dev/stderr, accessLogEncoding: JSON, disableEnvoyListenerLog: true}").expect("a log");
    assert_eq!((json.stream, json.unmatched), (Stream::Stderr, false));
    let LogFormat::Json(object) = json.format else { panic!("{:?}", json.format) };
    assert_eq!((object.len(), &object["response_flags"]), (24, &"%RESPONSE_FLAGS%".into()));
    let (found, object) = read("{accessLogFormat: '%PROTOCOL%'}");
    assert_eq!(found, ["warning: accessLogFormat: nothing is logged, because accessLogFile is empty"]);
    assert!(mesh(object).access_log.is_none());
}

#[test]
fn settings_that_make_no_sense() {
    for (text, field, reason) in [
        ("[1]", "", "settings of the mesh are a map"),
        ("{connectTimeout: 0s}", "connectTimeout", "at least 1ms"),
        ("{connectTimeout: 5}", "connectTimeout", "a duration such as"),
        ("{connecttimeout: 5s}", "connecttimeout", "did you mean connectTimeout?"),
        ("{proxyInboundListenPort: 0}", "proxyInboundListenPort", "not a port"),
        ("{proxyListenPort: 1.5}", "proxyListenPort", "a whole number"),
        ("{proxyListenPort: 15021}", "proxyListenPort", "that each proxy opens for itself"),
        ("{proxyListenPort: 15006}", "proxyListenPort", "for the other direction"),
        (
            "{proxyListenPort: 15001, proxyInboundListenPort: 15001}",
            "proxyInboundListenPort",
            "for the other direction",
        ),
        ("{rootNamespace: A}", "rootNamespace", "not a name"),
        ("{trustDomain: 'a b'}", "trustDomain", "not a name"),
        ("{trustDomainAliases: [a.example, 'a/b']}", "trustDomainAliases[1]", "not a name"),
        ("{defaultServiceExportTo: ['*', x]}", "defaultServiceExportTo", "must stand alone"),
        ("{defaultServiceExportTo: [A_b]}", "defaultServiceExportTo", "have meanings of their own"),
        ("{outboundTrafficPolicy: {mode: SOME}}", "outboundTrafficPolicy.mode", "REGISTRY_ONLY, ALLOW_ANY"),
        ("{mixerAddress: x}", "mixerAddress", "unknown field"),
        ("{accessLogFile: /tmp/x}", "accessLogFile", "neither /dev/stdout nor /dev/stderr"),
        ("{accessLogFile: dev/stdout}", "accessLogFile", "neither /dev/stdout nor /dev/stderr"),
        ("{accessLogFile: /dev/stdout, accessLogFormat: '%NOPE%'}", "accessLogFormat", "\"%NOPE%\" is not an operator"),
        ("{accessLogFormat: '%NOPE%'}", "accessLogFormat", "\"%NOPE%\" is not an operator"),
        ("{accessLogFormat: x, accessLogEncoding: JSON}", "accessLogFormat", "is not an object of JSON"),
        ("{accessLogEncoding: YAML}", "accessLogEncoding", "TEXT, JSON"),
        ("{disableEnvoyListenerLog: 'true'}", "disableEnvoyListenerLog", "true or false"),
    ] {
        let (found, object) = read(text);
        let says = |line: &String| line.starts_with(&format!("error: {field}: ")) && line.contains(reason);
        assert!(found.iter().any(says), "{text}: {found:?}");
        // A file to log to is in effect although the format is not: Istio's line is logged.
        let rest = object.map(|object| Mesh { access_log: None, ..mesh(Some(object)) });
        assert_eq!(rest, (text != "[1]").then(Mesh::default), "{text}");
    }
    let (found, object) = read("{defaultConfig: {concurrency: 2, anything: [1]}, enableTracing: false}");
    assert!(found.len() == 1 && found[0].starts_with("warning: defaultConfig: "), "{found:?}");
    assert!(object.is_some());
}

fn put(catalog: &mut Catalog, path: &str, text: &str) -> Vec<Change> {
    catalog.apply([(Path::new(path).into(), Update::Settings(text.into()))])
}

#[test]
fn the_last_good_settings_stay_until_their_file_is_gone() {
    let mut catalog = Catalog::default();
    let timeout = |changes: &[Change]| changes.first().map(|(_, object)| mesh(object.clone()).connect_timeout);
    assert_eq!(timeout(&put(&mut catalog, "mesh.yaml", "connectTimeout: 3s")), Some(Duration::from_secs(3)));
    assert_eq!(put(&mut catalog, "mesh.yaml", "connectTimeout: x"), []);
    assert_eq!(put(&mut catalog, "mesh.yaml", ""), [], "an empty file is being written");
    assert_eq!(timeout(&put(&mut catalog, "mesh.yaml", "{}")), Some(Duration::from_secs(10)));
    let gone = catalog.apply([(Path::new("mesh.yaml").into(), Update::Gone)]);
    assert_eq!(gone, [(Mesh::key(), None)]);
}

/// At the start there is no earlier version: each setting that is right has its effect, each that is wrong is reported.
#[test]
fn the_first_settings_are_in_effect_but_for_those_that_are_wrong() {
    let mut catalog = Catalog::default();
    let timeout = |changes: &[Change]| changes.first().map(|(_, object)| mesh(object.clone()).connect_timeout);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let text = "connectTimeout: 3s\nproxyListenPort: x\nnope: {a: 1}\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}\n";
    let (found, object) = read(text);
    assert_eq!((found.len(), mesh(object).outbound), (2, OutboundMode::RegistryOnly), "{found:?}");
    assert_eq!(timeout(&put(&mut catalog, "mesh.yaml", text)), seconds(3));
    let said: Vec<_> = catalog.report().findings().iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().all(|line| line.ends_with("; the settings without an error are in effect")), "{said:?}");
    let better = "connectTimeout: 4s\nproxyListenPort: x";
    assert_eq!(timeout(&put(&mut catalog, "mesh.yaml", better)), seconds(4), "a part gives way to a newer part");
    assert_eq!(timeout(&put(&mut catalog, "other", "connectTimeout: 7s")), seconds(7), "and to a whole");
    assert_eq!(timeout(&catalog.apply([(Path::new("other").into(), Update::Gone)])), None, "which stays");
    assert_eq!(put(&mut catalog, "mesh.yaml", text), [], "and is never followed by a part");
    assert!(
        catalog.report().findings()[0]
            .to_string()
            .ends_with("; the version read before stays in effect until a restart")
    );
    assert_eq!(timeout(&put(&mut catalog, "mesh.yaml", "connectTimeout: 5s")), seconds(5));
}

#[test]
fn selectors_of_namespaces_that_make_no_sense() {
    for (text, field, reason) in [
        ("{matchLabels: {'a b': c}}", "matchLabels", "label key"),
        ("{matchExpressions: [{key: a, operator: Is}]}", "matchExpressions[0].operator", "In, NotIn, Exists"),
        ("{matchExpressions: [{key: a}]}", "matchExpressions[0].operator", "is missing"),
        ("{matchExpressions: [{operator: Exists}]}", "matchExpressions[0].key", "label key"),
        ("{matchExpressions: [{key: a, operator: In}]}", "matchExpressions[0].values", "at least one value"),
        ("{matchExpressions: [{key: a, operator: Exists, values: [b]}]}", "matchExpressions[0].values", "no values"),
        ("{matchExpressions: [{key: a, operator: In, values: ['b c']}]}", "matchExpressions[0].values", "letters"),
    ] {
        let (found, object) = read(&format!("{{discoverySelectors: [{{}}, {text}], connectTimeout: 3s}}"));
        let says = |line: &String| {
            line.starts_with(&format!("error: discoverySelectors[1].{field}: ")) && line.contains(reason)
        };
        assert!(found.iter().any(says), "{text}: {found:?}");
        assert!(mesh(object).discovery.is_empty(), "{text}");
    }
}

/// Objects of a namespace come and go with the labels of its Namespace, and with the selectors. Without a Namespace one is read.
#[test]
fn namespaces_are_read_if_they_are_selected() {
    let mut catalog = Catalog::default();
    let write = |catalog: &mut Catalog, path: &str, text: &str| {
        let changes = catalog.apply([(Path::new(path).into(), Update::Bytes(text.into()))]);
        let said = |(key, object): Change| (key.to_string(), object.is_some());
        changes.into_iter().map(said).filter(|(key, _)| key.starts_with("Service ")).collect::<Vec<_>>()
    };
    let service = |namespace: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s, namespace: {namespace}}}, spec: {{ports: [{{port: 80}}]}}}}\n"
        )
    };
    let labelled = |mesh: &str| {
        format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: a, labels: {{mesh: '{mesh}'}}}}}}\n")
    };
    let is = |namespace: &str, there: bool| (format!("Service {namespace}/s"), there);
    assert_eq!(write(&mut catalog, "a.yaml", &service("a")), [is("a", true)]);
    assert_eq!(write(&mut catalog, "b.yaml", &service("b")), [is("b", true)]);
    assert_eq!(write(&mut catalog, "namespace.yaml", &labelled("off")), []);
    let gone = |changes: &[Change]| -> Vec<String> {
        changes.iter().filter(|(_, object)| object.is_none()).map(|(key, _)| key.to_string()).collect()
    };
    let selected = put(&mut catalog, "mesh.yaml", "discoverySelectors: [{matchLabels: {mesh: 'on'}}]");
    assert_eq!(gone(&selected), ["Service a/s"]);
    assert_eq!(catalog.objects().filter(|object| matches!(object, Object::Service(_))).count(), 1);
    assert_eq!(write(&mut catalog, "a.yaml", &(service("a") + "# again\n")), []);
    assert_eq!(write(&mut catalog, "namespace.yaml", &labelled("on")), [is("a", true)]);
    assert_eq!(write(&mut catalog, "namespace.yaml", &labelled("off")), [is("a", false)]);
    let named = "discoverySelectors: [{matchLabels: {kubernetes.io/metadata.name: a}}]";
    assert!(
        put(&mut catalog, "mesh.yaml", named)
            .iter()
            .any(|(key, object)| key.to_string() == "Service a/s" && object.is_some())
    );
}

/// Running proxies would refuse both listeners, and whatever they are sent for them from then on.
#[test]
fn ports_do_not_change_places() {
    const SWAPPED: &str = "connectTimeout: 3s\nproxyListenPort: 15006\nproxyInboundListenPort: 15001";
    let held = |changes: &[Change]| {
        let mesh = changes.first().map(|(_, object)| mesh(object.clone()))?;
        Some((mesh.outbound_port, mesh.inbound_port, mesh.connect_timeout.as_secs()))
    };
    let said = |catalog: &Catalog| catalog.report().findings().iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut catalog = Catalog::default();
    assert_eq!(
        held(&put(&mut catalog, "mesh.yaml", SWAPPED)),
        Some((15006, 15001, 3)),
        "at the start no proxy has any"
    );
    assert_eq!(said(&catalog), [""; 0]);

    let mut catalog = Catalog::default();
    assert_eq!(catalog.apply([]), [], "proxies have the defaults from here on");
    assert_eq!(
        held(&put(&mut catalog, "mesh.yaml", SWAPPED)),
        Some((15001, 15006, 3)),
        "the rest of the first settings"
    );
    let lines = said(&catalog);
    assert_eq!(lines.len(), 2);
    for (line, field, port) in [(2, "proxyListenPort", 15006), (3, "proxyInboundListenPort", 15001)] {
        let line = format!("mesh.yaml:{line}: error: MeshConfig mesh: {field}: running proxies have {port} ");
        assert!(lines.iter().any(|said| said.starts_with(&line) && said.ends_with("are in effect")), "{lines:?}");
    }
    // One after the other they do, by way of a port that nobody has.
    for (text, ports) in [
        ("proxyListenPort: 15016", Some((15016, 15006, 10))),
        ("proxyListenPort: 15016\nproxyInboundListenPort: 15001", Some((15016, 15001, 10))),
        ("proxyListenPort: 15006\nproxyInboundListenPort: 15001", Some((15006, 15001, 10))),
        ("proxyListenPort: 15001\nproxyInboundListenPort: 15006", None),
        ("proxyListenPort: 15001\nproxyInboundListenPort: 15016", None),
        ("proxyListenPort: 15007\nproxyInboundListenPort: 15008", Some((15007, 15008, 10))),
    ] {
        assert_eq!(held(&put(&mut catalog, "mesh.yaml", text)), ports, "{text}: {:?}", said(&catalog));
        let effect = "the version read before stays in effect until a restart";
        let lines = said(&catalog);
        assert!(lines.is_empty() == ports.is_some() && lines.iter().all(|line| line.ends_with(effect)), "{lines:?}");
    }
}

#[test]
fn members_that_are_right_only_beside_wrong_ones_go_with_them() {
    let (found, object) = read("{accessLogEncoding: YAML, accessLogFormat: '{\"a\": 1}', connectTimeout: 3s}");
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(mesh(object), Mesh { connect_timeout: Duration::from_secs(3), ..Mesh::default() });
}

#[test]
fn no_manifest_declares_settings() {
    let text = "{apiVersion: v1, kind: MeshConfig, metadata: {name: mesh}}";
    assert!(matches!(crate::parse(text), chancery::source::parse::Parsed::Foreign { .. }));
}
