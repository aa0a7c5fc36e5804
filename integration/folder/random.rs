//! Whatever bytes come: no panic, and nothing is deleted by a file whose last document fails.

use crate::{names, put, rule};
use chancery::source::directory::catalog::{Catalog, Update};
use proptest::prelude::*;
use std::path::Path;

fn whole() -> String {
    let virtual_service = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: shop}\nspec:\n  hosts: [echo]\n  http:\n  - match:\n    - uri: {regex: '/a(b|c)*'}\n      headers: {x: {exact: y}}\n    timeout: 1.5s\n    route:\n    - destination: {host: echo, subset: v1}\n      weight: 90\n    - &d {destination: {host: echo}, weight: 10}\n";
    let sidecar = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: s, namespace: shop}\nspec: {ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: '127.0.0.1:8080'}]}\n";
    let authentication = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, namespace: shop}\nspec: {selector: {matchLabels: {app: web}}, mtls: {mode: DISABLE}, portLevelMtls: {80: {mode: STRICT}}}\n";
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: e, labels: {kubernetes.io/service-name: echo}}\naddressType: IPv4\nendpoints: [{addresses: [127.0.0.2]}]\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {a: b}}\nstatus: {podIPs: [{ip: 127.0.0.2}]}\n";
    [&*rule("a", "one"), virtual_service, sidecar, authentication, slice, pod].join("---\n")
}

#[derive(Clone, Debug)]
enum Mutation {
    Cut(usize),
    Drop(usize, usize),
    Put(usize, Vec<u8>),
    Copy(usize, usize, usize),
}

const FRAGMENTS: &[&str] = &[
    "-1",
    "&x",
    "*x",
    "*d",
    "[",
    "{",
    "}",
    "\n---\n",
    "\n",
    ": ",
    "- ",
    "null",
    "!!int",
    "\"",
    "<<: ",
    "99999999999",
    "\u{e9}",
    "\t",
    "? ",
];

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = 0..1_200usize;
    prop_oneof![
        place.clone().prop_map(Mutation::Cut),
        (place.clone(), 1..40usize).prop_map(|(at, length)| Mutation::Drop(at, length)),
        (place.clone(), proptest::sample::select(FRAGMENTS)).prop_map(|(at, text)| Mutation::Put(at, text.into())),
        (place.clone(), proptest::collection::vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Mutation::Put(at, bytes)),
        (place.clone(), 1..200usize, place).prop_map(|(from, length, to)| Mutation::Copy(from, length, to)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: Mutation) {
    let place = |at: usize| at % (bytes.len() + 1);
    match mutation {
        Mutation::Cut(at) => bytes.truncate(place(at)),
        Mutation::Drop(at, length) => {
            let at = place(at);
            drop(bytes.drain(at..(at + length).min(bytes.len())));
        }
        Mutation::Put(at, what) => {
            let at = place(at);
            drop(bytes.splice(at..at, what));
        }
        Mutation::Copy(from, length, to) => {
            let (from, to) = (place(from), place(to));
            let copied = bytes[from..(from + length).min(bytes.len())].to_vec();
            drop(bytes.splice(to..to, copied));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutations_never_panic(mutations in proptest::collection::vec(mutation(), 1..6)) {
        let mut bytes = whole().into_bytes();
        let mut catalog = Catalog::default();
        put(&mut catalog, "x.yaml", &whole());
        for mutation in mutations {
            mutate(&mut bytes, mutation);
            let changes = catalog.apply([(Path::new("x.yaml").into(), Update::Bytes(bytes.clone()))]);
            for (key, object) in changes {
                prop_assert!(object.is_none_or(|object| object.key() == &key));
            }
            for finding in catalog.report().findings() {
                let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).count();
                prop_assert!(finding.position.line.is_none_or(|line| line as usize <= lines + 1), "{finding}");
            }
        }
    }

    #[test]
    fn a_last_document_that_fails_deletes_nothing(
        mutations in proptest::collection::vec(mutation(), 0..4),
        last in proptest::sample::select(&["kind: X\n", "[", "apiVersion: v1\nkind: Pod\nmetadata: {}\n", "a: 1\na: 1\n", "5\n"][..]),
    ) {
        let mut catalog = Catalog::default();
        let before = put(&mut catalog, "x.yaml", &whole()).len();
        let mut bytes = whole().into_bytes();
        mutations.into_iter().for_each(|mutation| mutate(&mut bytes, mutation));
        bytes.extend(b"\n---\n");
        bytes.extend(last.as_bytes());
        let changes = catalog.apply([(Path::new("x.yaml").into(), Update::Bytes(bytes))]);
        let gone: Vec<_> = names(&changes).into_iter().filter(|name| name.starts_with('-')).collect();
        // A mutation can turn an object into one that is fine and means nothing, and that is meant to replace it.
        prop_assert!(gone.is_empty(), "{gone:?}");
        prop_assert!(catalog.objects().count() >= before);
    }
}

#[test]
fn without_a_failing_last_document_objects_do_go() {
    let mut catalog = Catalog::default();
    put(&mut catalog, "x.yaml", &whole());
    assert_eq!(names(&put(&mut catalog, "x.yaml", &rule("a", "one"))).len(), 5);
}
