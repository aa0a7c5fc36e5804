//! Each file of `manifests/examples/broken` has one fault, and exactly that is said, with its line.

use crate::{names, put, rule};
use chancery::cli::analyze::{Analysis, analyze, read};
use chancery::source::directory::catalog::{Catalog, Update};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/examples/broken")
}

fn analysis(name: &str) -> Analysis {
    analyze(read(&[folder().join(name)]))
}

/// File, what is printed after its name, and how many objects are in effect all the same.
const EXPECTED: [(&str, &str, usize); 40] = [
    ("a-bare-list.yaml", ":2: error: not a Kubernetes object: a map with apiVersion and kind is expected", 0),
    (
        "address-of-all.yaml",
        ":8: error: Service shop/address-of-all: spec.clusterIP: 0.0.0.0 can't be the address of a Service",
        0,
    ),
    ("alias-bomb.yaml", ":11: error: aliases copy more than 100000 values", 0),
    (
        "bad-address.yaml",
        ":11: error: EndpointSlice shop/bad-address: endpoints[0].addresses: \"10.0.0.300\" is not an IP address",
        0,
    ),
    (
        "bad-duration.yaml",
        ":10: error: VirtualService shop/bad-duration: spec.http[0].timeout: \"5\" is not a duration; write it like 1.5s, 100ms or 1h2m",
        0,
    ),
    (
        "bad-header.yaml",
        ":11: error: VirtualService shop/bad-header: spec.http[0].match[0].headers[\"x user:\"]: \"x user:\" is not the name of an HTTP header",
        0,
    ),
    (
        "bad-mode.yaml",
        ":9: error: PeerAuthentication shop/bad-mode: spec.mtls.mode: is \"permissive\"; it must be one of UNSET, DISABLE, PERMISSIVE, STRICT; its workloads take nothing but mutual TLS meanwhile, as with STRICT",
        1,
    ),
    (
        "bad-path.yaml",
        ":12: warning: VirtualService shop/bad-path: spec.http[0].match[0].uri.exact: matches no request: a path begins with / and ends before the query",
        1,
    ),
    (
        "bad-port.yaml",
        ":11: error: Service shop/bad-port: spec.ports[0].port: 80800 is not a port; it must be between 1 and 65535",
        0,
    ),
    (
        "bad-regex.yaml",
        ":12: error: VirtualService shop/bad-regex: spec.http[0].match[0].uri.regex: \"/item/(a|b\" is not an expression: unclosed group, at character 7",
        0,
    ),
    ("deep-nesting.yaml", ":8: error: maps and lists are nested more than 64 levels deep", 0),
    ("duplicate-keys.yaml", ":9: error: the key \"host\" is there twice", 0),
    (
        "duplicate-subsets.yaml",
        ":12: error: DestinationRule shop/duplicate-subsets: spec.subsets[1].name: the subset \"v1\" is there twice",
        0,
    ),
    (
        "egress-port-twice.yaml",
        ":11: error: Sidecar shop/egress-port-twice: spec.egress[1].port.number: an entry before this one is for the same port",
        0,
    ),
    (
        "foreign-regex.yaml",
        ":12: error: VirtualService shop/foreign-regex: spec.http[0].match[0].uri.regex: \"/items/[0-9]{2}{3}\" is not RE2: a repetition of a repetition; put what is repeated into parentheses",
        0,
    ),
    (
        "huge-number.yaml",
        ":10: error: Service shop/huge-number: spec.ports[0].port: invalid type: floating point `1e+26`, expected i32",
        0,
    ),
    (
        "keepalive-too-long.yaml",
        ":12: error: DestinationRule shop/keepalive-too-long: spec.trafficPolicy.connectionPool.tcp.tcpKeepalive.time: is 24h; it must be at most 32767s",
        0,
    ),
    (
        "long-name.yaml",
        ":5: error: DestinationRule shop/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: metadata.name: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"… is longer than 253 characters",
        0,
    ),
    (
        "negative-weights.yaml",
        ":14: error: VirtualService shop/negative-weights: spec.http[0].route[1].weight: is -10; it must be between 0 and 2147483647",
        0,
    ),
    ("no-kind.yaml", ":2: error: no-kind: kind: is missing", 0),
    ("no-object.yaml", ": warning: there is no object in this file", 0),
    ("not-utf8.yaml", ":7: error: the file is not UTF-8 from here on", 0),
    (
        "odd-host.yaml",
        ":8: error: DestinationRule shop/odd-host: spec.host: \"echo|v1|;\" is not a host: a DNS name is expected, possibly with a leading '*.'",
        0,
    ),
    (
        "odd-name.yaml",
        ":5: error: DestinationRule shop/a\\n\"b\"|../\\u{0}\\u{202e}%s: metadata.name: \"a\\n\\\"b\\\"|../\\0\\u{202e}%s\" is not a name: lower-case letters, digits, '-' and '.' are allowed, '-' and '.' not at the ends of a part",
        0,
    ),
    ("recursive-alias.yaml", ":7: error: an alias must name something that is complete and in the same document", 0),
    (
        "regex-bomb.yaml",
        ":11: error: VirtualService shop/regex-bomb: spec.http[0].match[0].uri.regex: \"/((((a{70}){70}){70}){70})\" is too large when compiled",
        0,
    ),
    (
        "same-object-twice.yaml",
        ":10: error: DestinationRule shop/same-object-twice: the same object is in line 2 already; this one is not in effect",
        1,
    ),
    (
        "slice-without-service.yaml",
        ":4: error: EndpointSlice shop/slice-without-service: metadata.labels: the label kubernetes.io/service-name is missing: no Service has these endpoints",
        0,
    ),
    ("tab-indent.yaml", ":5: error: not YAML: tabs disallowed within this context (block indentation)", 0),
    ("truncated.yaml", ":20: error: not YAML: while parsing a flow sequence, expected ',' or ']'", 1),
    ("two-files-a.yaml", "", 1),
    ("two-files-b.yaml", "", 1),
    ("unknown-alias.yaml", ":6: error: not YAML: while parsing node, found unknown anchor", 0),
    (
        "unknown-fields.yaml",
        ":10: error: DestinationRule shop/unknown-fields: spec.trafficPolicy.load_balancer: unknown field; did you mean loadBalancer?",
        0,
    ),
    ("unknown-hosts.yaml", "", 1),
    (
        "unsupported.yaml",
        ":13: error: VirtualService shop/unsupported: spec.http[0].redirect: not supported yet, so the object is not applied: requests would be forwarded instead of redirected",
        0,
    ),
    ("utf-16.yaml", ":1: error: the file is not UTF-8 from here on", 0),
    (
        "wrong-types.yaml",
        ":12: error: VirtualService shop/wrong-types: spec.http[0].route[0].weight: is \"ninety\"; a whole number is expected",
        0,
    ),
    (
        "wrong-version.yaml",
        ":2: error: DestinationRule shop/wrong-version: apiVersion: networking.istio.io/v2 is not a version of DestinationRule; known are networking.istio.io/v1, networking.istio.io/v1beta1, networking.istio.io/v1alpha3",
        0,
    ),
    (
        "zero-weights.yaml",
        ":10: error: VirtualService shop/zero-weights: spec.http[0].route: the weights of all destinations are 0; at least one must be more",
        0,
    ),
];

#[test]
fn each_file_has_its_fault() {
    let mut wrong = Vec::new();
    for (name, expected, objects) in EXPECTED {
        let analysis = analysis(name);
        let path = folder().join(name);
        let findings: Vec<_> = analysis.findings().iter().map(ToString::to_string).collect();
        let found = findings
            .first()
            .map_or("", |line| line.strip_prefix(path.to_str().expect("UTF-8")).expect("the path first"));
        if findings.len() > 1 || found != expected || analysis.objects().count() != objects {
            wrong.push(format!("{name}: {findings:#?}, {} objects", analysis.objects().count()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is beside a broken file, or came before it, is as it was.
#[test]
fn nothing_else_is_affected() {
    for (name, ..) in EXPECTED {
        let mut catalog = Catalog::default();
        put(&mut catalog, "aaa.yaml", &rule("before", "one"));
        let bytes = std::fs::read(folder().join(name)).expect("a file");
        catalog.apply([(Path::new(name).into(), Update::Bytes(bytes))]);
        assert_eq!(names(&put(&mut catalog, "zzz.yaml", &rule("after", "two"))), ["after"], "{name}");
        let kept = catalog.objects().filter(|object| ["before", "after"].contains(&&*object.key().name.to_string()));
        assert_eq!(kept.count(), 2, "{name}");
        assert!(catalog.report().findings().iter().all(|finding| finding.position.file.ends_with(name)), "{name}");
    }
}

#[test]
fn no_file_is_forgotten() {
    let mut there: Vec<_> =
        std::fs::read_dir(folder()).expect("the folder").map(|entry| entry.expect("an entry").file_name()).collect();
    there.sort();
    assert_eq!(there, EXPECTED.map(|(name, ..)| name));
}

#[test]
fn a_whole_folder_is_sorted_and_counted() {
    let analysis = analyze(read(&[folder(), folder().join("bad-port.yaml")]));
    let text = analysis.to_string();
    assert!(text.ends_with("\n40 files, 6 objects, 36 errors, 2 warnings\n"), "{text}");
    let twice = "two-files-a.yaml:2, which is in effect; this one is not";
    assert!(text.lines().any(|line| line.contains("two-files-b.yaml:2: error: ") && line.ends_with(twice)), "{text}");
    let findings = analysis.findings();
    assert!(findings.is_sorted());
    use chancery::model::problem::Severity;
    assert!(analysis.fails(Severity::Error) && analysis.fails(Severity::Warning));
    let fine = self::analysis("unknown-hosts.yaml");
    assert!(!fine.fails(Severity::Warning));
    let doubtful = self::analysis("no-object.yaml");
    assert!(doubtful.fails(Severity::Warning) && !doubtful.fails(Severity::Error));
}

#[test]
fn what_cannot_be_read_is_a_finding() {
    let findings = analyze(read(&[PathBuf::from("/nowhere/x.yaml")])).findings();
    assert_eq!(
        findings[0].to_string(),
        "/nowhere/x.yaml: error: can't be read: No such file or directory (os error 2)"
    );
}

#[test]
fn problems_found_later_get_their_place() {
    let mut analysis = analysis("unknown-hosts.yaml");
    let key = analysis.objects().next().expect("an object").key().clone();
    let problem = chancery::model::problem::Problem {
        object: key,
        field: "spec.http[0].route[0].destination.host".to_owned(),
        severity: chancery::model::problem::Severity::Warning,
        text: "nobody has this host".to_owned(),
        cause: chancery::model::problem::Cause::Reference,
    };
    analysis.add(problem);
    assert!(
        analysis
            .to_string()
            .contains("unknown-hosts.yaml:11: warning: VirtualService shop/unknown-hosts: spec.http[0].route[0]")
    );
}
