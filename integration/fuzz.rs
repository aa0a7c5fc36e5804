//! Bytes nobody wrote: mutations of manifests and of requests, for a few seconds each, to show that no input makes us
//! panic, hang, lose what is beside it or answer without bound.
//!
//! The same seed gives the same inputs in the same order. `CHANCERY_FUZZ_SEED` sets another, `CHANCERY_FUZZ_SECONDS`
//! another time; without it there are three seconds, and no more than so many inputs. A failure prints the seed and the
//! input, which is then to be kept in `fuzz/found`: what is there is tried first, each time.

#[path = "fuzz/mutation.rs"]
mod mutation;
#[path = "fuzz/requests.rs"]
mod requests;
#[path = "fuzz/tokens.rs"]
mod tokens;

use chancery::model::identity::{BoundPod, Identity};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{Ref, Resource};
use chancery::snapshot::set::{Layer, Snapshot};
use chancery::snapshot::wire::{Field, fields};
use chancery::source::directory::catalog::{Catalog, Update};
use chancery::source::parse::{self, Parsed};
use chancery::source::yaml;
use chancery::xds::frames::Frames;
use chancery::xds::identity::{self, Credential};
use chancery::xds::refrain::Refrain;
use chancery::xds::request::{Names, Request, Wire};
use chancery::xds::session::Session;
use chancery::xds::texts::Versions;
use chancery::xds::{delta, sotw};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use envoy_types::pb::google::rpc::Status;
use mutation::{found, fuzz, survives};
use prost::Message;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const GOOD: &str = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: beside, namespace: beside}\n\
                    spec: {host: beside}\n";

/// Every manifest of the examples, the broken ones too, and what goldens are made from: every kind is among them.
fn manifests() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries =
        |folder: &Path| std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = entries(&root.join("manifests/examples")).flat_map(|folder| entries(&folder)).collect();
    paths.extend(entries(&root.join("integration/golden")).filter(|path| path.to_string_lossy().ends_with(".in.yaml")));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

#[test]
fn manifests_of_any_bytes() {
    let (corpus, understood) = (manifests(), Cell::new(0));
    fuzz("manifests", corpus.clone(), |bytes| {
        folder(bytes);
        understood.set(understood.get() + usize::from(is_new(&corpus, bytes) && is_understood(bytes)));
    });
    assert!(understood.get() > 20, "only {} inputs got past the first look", understood.get());
}

/// Whether an input is a mutation.
fn is_new(corpus: &[Vec<u8>], bytes: &[u8]) -> bool {
    !corpus.iter().any(|known| known == bytes)
}

/// Whether there is an object in these bytes that would be in effect.
fn is_understood(bytes: &[u8]) -> bool {
    let parsed = yaml::read(bytes).documents.into_iter().map(|document| parse::object(&document.value));
    parsed.into_iter().any(|parsed| matches!(parsed, Parsed::Known { object: Some(_), .. }))
}

/// The control: a fault that only mutations have, and of them only such as are understood, is found and told with the seed.
#[test]
fn a_planted_fault_is_found() {
    let corpus = manifests();
    let planted = |bytes: &[u8]| assert!(!is_new(&corpus, bytes) || !is_understood(bytes), "planted");
    let found = catch_unwind(AssertUnwindSafe(|| fuzz("control", corpus.clone(), planted))).expect_err("a fault");
    let told = found.downcast_ref::<String>().expect("words");
    assert!(told.starts_with("control, seed ") && told.contains("planted; the input is b\""), "{told}");
}

/// Nothing is kept for nobody.
#[test]
fn what_is_kept_is_tried() {
    const TARGETS: [&str; 7] = [
        "calls-for-certificates",
        "certificate-signing-requests",
        "delta-requests",
        "manifests",
        "sets-of-keys",
        "sotw-requests",
        "tokens",
    ];
    let entries = std::fs::read_dir(found()).expect("a folder");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, TARGETS);
}

/// A file with these bytes, beside a good one and after a whole one.
fn folder(bytes: &[u8]) {
    for document in yaml::read(bytes).documents {
        parse::object(&document.value);
    }
    let mut catalog = Catalog::default();
    let put = |catalog: &mut Catalog, name: &str, bytes: &[u8]| {
        catalog.apply([(Path::new(name).into(), Update::Bytes(bytes.to_vec()))])
    };
    put(&mut catalog, "beside.yaml", GOOD.as_bytes());
    put(&mut catalog, "any.yaml", bytes);
    for finding in catalog.report().findings() {
        let line = finding.to_string();
        assert!(!line.contains(char::is_control) && line.len() < 20_000, "{line:?}");
    }
    assert!(catalog.objects().any(|object| &*object.key().name.to_string() == "beside"), "the good object went away");
    let count = catalog.objects().count();
    put(&mut catalog, "any.yaml", b"");
    assert_eq!(catalog.objects().count(), count, "an empty file took objects away");
}

fn node() -> Node {
    let text = |text: &str| Value { kind: Some(ValueKind::StringValue(text.into())) };
    let fields = [("INTERCEPTION_MODE", "NONE"), ("OUTBOUND_BIND", "127.0.3.4"), ("NAMESPACE", "shop")];
    let fields = fields.map(|(key, value)| (key.to_owned(), text(value))).into();
    let id = "sidecar~10.0.0.1~cart-1.shop~shop.svc.cluster.local";
    Node { id: id.into(), cluster: "cart".into(), metadata: Some(Struct { fields }), ..Node::default() }
}

/// Requests of a stream's life: first ones, ACKs, a NACK, other names, reconnects.
fn delta_requests() -> Vec<Vec<u8>> {
    let names = || vec!["a".to_owned(), "b".to_owned(), "*".to_owned()];
    let rejection = || Some(Status { code: 13, message: "no such \"thing\"\nb".into(), details: Vec::new() });
    let of = |kind: Kind| DeltaDiscoveryRequest { type_url: kind.type_url().into(), ..Default::default() };
    let mut requests = Vec::new();
    for kind in Kind::ALL {
        let held = [("a".to_owned(), "1".to_owned()), ("gone".to_owned(), "2".to_owned())].into();
        requests.push(DeltaDiscoveryRequest { node: Some(node()), ..of(kind) });
        requests.push(DeltaDiscoveryRequest {
            initial_resource_versions: held,
            resource_names_subscribe: names(),
            ..of(kind)
        });
        requests.push(DeltaDiscoveryRequest {
            resource_names_unsubscribe: names(),
            response_nonce: "1".into(),
            ..of(kind)
        });
        requests.push(DeltaDiscoveryRequest { response_nonce: "1".into(), error_detail: rejection(), ..of(kind) });
    }
    requests.iter().map(Message::encode_to_vec).collect()
}

fn sotw_requests() -> Vec<Vec<u8>> {
    let names = || vec!["a".to_owned(), "b".to_owned(), "*".to_owned()];
    let rejection = || Some(Status { code: 13, message: "no such \"thing\"\nb".into(), details: Vec::new() });
    let of = |kind: Kind| DiscoveryRequest { type_url: kind.type_url().into(), ..Default::default() };
    let mut requests = Vec::new();
    for kind in Kind::ALL {
        requests.push(DiscoveryRequest { node: Some(node()), ..of(kind) });
        requests.push(DiscoveryRequest { resource_names: names(), response_nonce: "1".into(), ..of(kind) });
        requests.push(DiscoveryRequest { response_nonce: "1".into(), error_detail: rejection(), ..of(kind) });
    }
    requests.iter().map(Message::encode_to_vec).collect()
}

#[test]
fn delta_requests_of_any_bytes() {
    let decode = |bytes: &[u8]| {
        let (ours, prosts) = (delta::read(&bytes.to_vec().into()).ok(), DeltaDiscoveryRequest::decode(bytes).ok());
        agree(
            bytes,
            ours,
            prosts.map(|message| Request {
                type_url: message.type_url,
                node: message.node,
                nonce: message.response_nonce,
                error: message.error_detail.map(|status| status.message),
                stated: !message.initial_resource_versions.is_empty(),
                names: Names::Change {
                    subscribe: message.resource_names_subscribe.into(),
                    unsubscribe: message.resource_names_unsubscribe.into(),
                    initial: message.initial_resource_versions.into_iter().collect(),
                },
            }),
        )
    };
    requests("delta requests", Wire::Delta, delta_requests(), decode);
}

#[test]
fn sotw_requests_of_any_bytes() {
    // As on a stream: what is read may be known from what was read before.
    let refrain = RefCell::new(Refrain::of_anything());
    let decode = |bytes: &[u8]| {
        let ours = sotw::read_next(&bytes.to_vec().into(), &mut refrain.borrow_mut()).ok();
        let prosts = DiscoveryRequest::decode(bytes).ok();
        agree(
            bytes,
            ours,
            prosts.map(|message| Request {
                type_url: message.type_url,
                node: message.node,
                nonce: message.response_nonce,
                error: message.error_detail.map(|status| status.message),
                stated: !message.version_info.is_empty(),
                names: Names::All(message.resource_names.into()),
            }),
        )
    };
    requests("sotw requests", Wire::Sotw, sotw_requests(), decode);
}

/// What is read of a message is what prost reads; but groups, which proto3 does not have, are refused, and entries of the
/// map in field 5 that are none by their wire type.
fn agree(bytes: &[u8], ours: Option<Request>, prosts: Option<Request>) -> Option<Request> {
    let Some(ours) = ours else {
        let inner = |field: Field| fields(&bytes[field.content]).any(|field| field.is_none());
        let odd = fields(bytes).any(|field| {
            field.is_none_or(|field| if field.value.is_none() { inner(field) } else { field.number == 5 })
        });
        assert!(prosts.is_none() || odd, "only prost reads {bytes:?}");
        return None;
    };
    let prosts = prosts.unwrap_or_else(|| panic!("only prost does not read {bytes:?}"));
    // NaN is not equal to itself; metadata may hold one.
    assert!(ours.node == prosts.node || format!("{:?}", ours.node).contains("NaN"));
    assert_eq!((&ours.type_url, &ours.nonce, &ours.error), (&prosts.type_url, &prosts.nonce, &prosts.error));
    match (&ours.names, &prosts.names) {
        (
            Names::Change { subscribe, unsubscribe, initial },
            Names::Change { subscribe: more, unsubscribe: less, initial: held },
        ) => {
            assert_eq!((subscribe, unsubscribe), (more, less));
            let sorted = |versions: &Versions| -> BTreeMap<String, String> {
                versions.iter().map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
            };
            assert_eq!(sorted(initial), sorted(held), "of a name stated twice the last version counts");
        }
        (ours, prosts) => assert_eq!(ours, prosts),
    }
    Some(ours)
}

/// Tries requests; of their mutations some must be such that a stream goes on with them.
fn requests(name: &str, wire: Wire, corpus: Vec<Vec<u8>>, decode: impl Fn(&[u8]) -> Option<Request>) {
    let known: Vec<_> = corpus.iter().filter_map(|bytes| decode(bytes)).collect();
    let taken = Cell::new(0);
    fuzz(name, corpus.clone(), |bytes| {
        let goes_on = stream(wire, decode(bytes), &known);
        taken.set(taken.get() + usize::from(goes_on && is_new(&corpus, bytes)));
    });
    assert!(taken.get() > 20, "{name}: only {} mutations were taken", taken.get());
}

/// A world of two of everything.
fn snapshot() -> Snapshot {
    let mut layer = Layer::default();
    for kind in Kind::ALL {
        for name in ["a", "b"] {
            let owned = [Kind::Endpoint, Kind::Secret].map(|kind| Ref { kind, name: name.into() });
            let refs = if kind == Kind::Cluster { owned.to_vec() } else { Vec::new() };
            layer.insert(Arc::new(Resource::opaque(kind, name, b"1", refs)));
        }
    }
    Snapshot { outbound: Arc::new(layer), ..Snapshot::default() }
}

/// The request as the first of a stream, and again among all that a client says; whether the stream goes on.
fn stream(wire: Wire, request: Option<Request>, known: &[Request]) -> bool {
    let Some(request) = request else { return false };
    if let Some(Ok(facts)) = request.node.as_ref().map(identity::facts) {
        assert!(
            !facts.pod.to_string().is_empty() && !facts.namespace.as_str().contains(['/', '|', ';', ' ']),
            "{facts:?}"
        );
    }
    request.node.iter().for_each(stays_who_it_is);
    let mut session = Session::new(wire);
    let mut now = Instant::now();
    session.on_snapshot(snapshot(), now);
    let mut sent = 0;
    for request in [&request].into_iter().chain(known).chain([&request]) {
        // A refusal ends the stream, and with it what there is to try.
        if let Err(refusal) = session.on_request(request, now) {
            assert!(refusal.to_string().len() < 2_000, "{refusal}");
            return false;
        }
        now += Duration::from_millis(1_001);
        while let Some(response) = session.poll(now) {
            drop(Frames::new(&response, wire));
            sent += 1;
            assert!(sent < 1_000, "no end of responses");
        }
    }
    true
}

/// Whatever a node says: who has proven to be somebody is nobody else.
fn stays_who_it_is(node: &Node) {
    let pod = BoundPod { name: "cart-1".into(), uid: "1".into() };
    for pod in [Some(pod), None] {
        let proven = Identity { pod, ..Identity::new("shop".into(), "cart".into()) };
        let Ok(facts) = identity::admit(node, &Credential::Workload(proven.clone())) else { continue };
        assert_eq!((&facts.namespace, facts.identity.as_ref()), (&proven.namespace, Some(&proven)));
        assert!(proven.pod.is_none_or(|pod| pod.name == facts.pod), "{}", facts.pod);
    }
}

/// The control: a panic is caught and told with the input, and so is an input that takes too long.
#[test]
fn a_bad_input_is_told() {
    let told = survives(b"no\xff", &|bytes| assert!(bytes.is_ascii(), "not ASCII")).expect_err("a panic");
    assert!(told.contains("not ASCII") && told.contains(r#"b"no\xff""#), "{told}");
    assert!(survives(b"no", &|bytes| assert!(bytes.is_ascii())).is_ok());
    let slow = |_: &[u8]| std::thread::sleep(mutation::SLOW + Duration::from_millis(10));
    assert!(survives(b"", &slow).expect_err("it is slow").contains("took"));
}
