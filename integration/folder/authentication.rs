//! PeerAuthentications: what they say, and what stands for one that can't be understood.

use crate::{parsed, put};
use chancery::model::authentication::{Mode, PeerAuthentication, Selector};
use chancery::model::labels::Labels;
use chancery::model::object::Object;
use chancery::model::world::Change;
use chancery::source::directory::catalog::Catalog;

fn manifest(spec: &str) -> String {
    let head = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, namespace: shop}\n";
    format!("{head}spec: {spec}\n")
}

fn policy(object: Option<&Object>) -> &PeerAuthentication {
    match object {
        Some(Object::PeerAuthentication(policy)) => policy,
        other => panic!("{other:?}"),
    }
}

fn read(spec: &str) -> (Vec<String>, PeerAuthentication) {
    let (said, object) = parsed(&manifest(spec));
    (said, policy(object.as_ref()).clone())
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

#[test]
fn what_it_says_is_read() {
    let (said, policy) = read("{mtls: {mode: PERMISSIVE}}");
    assert_eq!((said.len(), policy.mode, policy.selector), (0, Some(Mode::Permissive), Selector::Everything));
    let (said, policy) = read(
        "{selector: {matchLabels: {app: web}}, mtls: {mode: UNSET}, portLevelMtls: {80: {mode: STRICT}, '81': {mode: DISABLE}, 82: {}}}",
    );
    assert_eq!((said.len(), policy.mode), (0, None));
    assert_eq!(policy.selector, Selector::Labels(labels(&[("app", "web")])));
    assert_eq!(policy.ports, [(80, Some(Mode::Strict)), (81, Some(Mode::Disable)), (82, None)].into());
    for everything in ["{}", "{selector: {}}", "{selector: null}", "{selector: {matchLabels: {}}}"] {
        let (said, policy) = read(everything);
        assert_eq!((said.len(), policy.mode, policy.selector), (0, None, Selector::Everything), "{everything}");
    }
}

/// Whatever is wrong with it, something strict is left, for whom it is for as far as that can be read.
#[test]
fn what_is_not_understood_is_strict() {
    let web = || Selector::Labels(labels(&[("app", "web")]));
    let cases = [
        ("{mtls: {mode: strict}}", "spec.mtls.mode: is \"strict\"", Selector::Everything),
        ("{mtls: {mod: DISABLE}}", "spec.mtls.mod: unknown field", Selector::Everything),
        ("{mtls: DISABLE}", "spec.mtls: is \"DISABLE\"", Selector::Everything),
        ("{mtls: {mode: DISABLE}, more: 1}", "spec.more: unknown field", Selector::Everything),
        ("[]", "spec: is missing or not a map", Selector::Everything),
        ("{portLevelMtls: {80: {mode: DISABLE}}}", "which spec.selector must select", Selector::Everything),
        ("{selector: {matchLabels: {app: web}}, portLevelMtls: {http: {}}}", "\"http\" is not a port", web()),
        ("{selector: {matchLabels: {app: web}}, portLevelMtls: {0: {}}}", "0 is not a port", web()),
        ("{selector: {matchLabels: {app: web}}, mtls: {mode: 5}}", "spec.mtls.mode: is 5", web()),
        ("{selector: {matchLabels: {app: [web]}}, mtls: {mode: DISABLE}}", "app: is a list", Selector::Unreadable),
        ("{selector: {matchLabels: {app: 'a b'}}, mtls: {mode: DISABLE}}", "is not at most 63", Selector::Unreadable),
        ("{selector: web, mtls: {mode: DISABLE}}", "spec.selector: is \"web\"", Selector::Unreadable),
    ];
    for (spec, expected, selector) in cases {
        let (said, policy) = read(spec);
        assert!(said.iter().any(|line| line.starts_with("error: ") && line.contains(expected)), "{spec}: {said:#?}");
        assert_eq!(policy, PeerAuthentication { selector, mode: Some(Mode::Strict), ports: [].into() }, "{spec}");
    }
    let later = manifest("{selector: {matchLabels: {app: web}}, mtls: {mode: DISABLE}}").replace("/v1", "/v9");
    let (said, object) = parsed(&later);
    assert!(said[0].contains("security.istio.io/v9 is not a version of PeerAuthentication"), "{said:?}");
    assert_eq!((policy(object.as_ref()).mode, &policy(object.as_ref()).selector), (Some(Mode::Strict), &web()));
}

fn mode(changes: &[Change]) -> Option<Mode> {
    policy(changes[0].1.as_ref()).mode
}

/// Where other kinds keep the version read before, this one doesn't: a slip must not keep a door open.
#[test]
fn a_slip_closes_what_was_open() {
    let mut catalog = Catalog::default();
    assert_eq!(mode(&put(&mut catalog, "x.yaml", &manifest("{mtls: {mode: DISABLE}}"))), Some(Mode::Disable));
    assert_eq!(mode(&put(&mut catalog, "x.yaml", &manifest("{mtls: {mode: OFF}}"))), Some(Mode::Strict));
    let said: Vec<_> = catalog.report().findings().iter().map(ToString::to_string).collect();
    let effect = "; its workloads take nothing but mutual TLS meanwhile, as with STRICT";
    assert!(said.len() == 1 && said[0].ends_with(effect), "{said:#?}");
    assert_eq!(mode(&put(&mut catalog, "x.yaml", &manifest("{mtls: {mode: PERMISSIVE}}"))), Some(Mode::Permissive));
    assert_eq!(catalog.report().findings(), []);
}

/// Of one that is in two files the first counts, as long as it names it: a slip there must not let the other open the door. The
/// control: without it the other does.
#[test]
fn a_slip_lets_no_other_file_open_what_was_closed() {
    let mut catalog = Catalog::default();
    put(&mut catalog, "a.yaml", &manifest("{mtls: {mode: STRICT}}"));
    assert!(put(&mut catalog, "b.yaml", &manifest("{mtls: {mode: PERMISSIVE}}")).is_empty(), "the first counts");
    for slip in ["{mtls: {mode: strict}}", "{mtls: {mode: STRICT}, more: 1}"] {
        let changes = put(&mut catalog, "a.yaml", &manifest(slip));
        assert!(changes.is_empty() || mode(&changes) == Some(Mode::Strict), "{slip}: {changes:?}");
    }
    let other = manifest("{mtls: {mode: STRICT}}").replace("name: a", "name: z");
    let changes = put(&mut catalog, "a.yaml", &other);
    let opened =
        changes.iter().find(|(key, _)| key.name.as_str() == "a").map(|(_, object)| policy(object.as_ref()).mode);
    assert_eq!(opened, Some(Some(Mode::Permissive)), "{changes:?}");
}

/// Policies that are not read yet are no warning: who wrote them believes that something is protected.
#[test]
fn other_policies_of_security_are_errors() {
    use chancery::source::parse::{Parsed, object};
    for kind in ["AuthorizationPolicy", "RequestAuthentication"] {
        let value = serde_json::json!({"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": {"name": "a"}});
        let Parsed::Foreign { note, .. } = object(&value) else { panic!("{kind} is not read") };
        let text = format!("kind {kind} of security.istio.io/v1 is not read; it protects nothing");
        assert_eq!((note.text, note.severity), (text, chancery::model::problem::Severity::Error));
    }
}
