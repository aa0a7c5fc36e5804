//! Who a proxy is: what a node may say and the sentence for each thing it may not, what tokens prove, what is signed.

#[path = "identity/authority.rs"]
mod authority;
#[path = "identity/clocks.rs"]
mod clocks;
#[path = "identity/expiry.rs"]
mod expiry;
#[path = "identity/requests.rs"]
mod requests;
#[path = "identity/resumption.rs"]
mod resumption;
#[path = "identity/reviews.rs"]
mod reviews;
#[path = "identity/roots.rs"]
mod roots;
#[path = "identity/rotation.rs"]
mod rotation;
#[path = "identity/tokens.rs"]
mod tokens;
#[path = "identity/turns.rs"]
mod turns;

use chancery::model::audience::Interception;
use chancery::model::identity::{BoundPod, Identity};
use chancery::xds::identity::{Credential, admit, facts};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};

const CART: &str = "sidecar~10.0.0.1~cart-1.shop~shop.svc.cluster.local";

fn node(id: &str, metadata: &[(&str, &str)]) -> Node {
    let value = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    let fields = metadata.iter().map(|(key, text)| ((*key).to_owned(), value(text))).collect();
    Node { id: id.into(), metadata: Some(Struct { fields }), ..Node::default() }
}

#[test]
fn the_facts_are_read() {
    let read = facts(&node(CART, &[("INTERCEPTION_MODE", "NONE")])).expect("a good node");
    assert_eq!((read.namespace.as_str(), read.pod.as_str()), ("shop", "cart-1"));
    assert_eq!(read.interception, Interception::None { bind: [127, 0, 0, 1].into() });
}

/// What a node says of itself authenticates nobody; a credential does.
#[test]
fn a_credential_authenticates() {
    let node = node(CART, &[("SERVICE_ACCOUNT", "cart"), ("INTERCEPTION_MODE", "NONE")]);
    let credential = Credential::Workload(Identity::new("shop".into(), "cart".into()));
    let authenticated = |credential| admit(&node, &credential).expect("a good node").authenticated;
    assert!(authenticated(credential));
    assert!(!authenticated(Credential::None));
}

#[test]
fn a_pod_name_may_contain_dots() {
    let id = "sidecar~fd00::1~cart.v2.x-0.shop~shop.svc.example.org";
    let read = facts(&node(id, &[("INTERCEPTION_MODE", "NONE"), ("OUTBOUND_BIND", "127.0.3.4")])).expect("a good node");
    assert_eq!((read.namespace.as_str(), read.pod.as_str()), ("shop", "cart.v2.x-0"));
    assert_eq!(read.interception, Interception::None { bind: [127, 0, 3, 4].into() });
}

#[test]
fn every_other_id_is_refused_in_words() {
    let long = format!("sidecar~10.0.0.1~{}.shop~shop.svc.cluster.local", "x".repeat(300));
    let cases = [
        ("cart-1.shop", "has not the form sidecar~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>"),
        ("sidecar~10.0.0.1~cart-1.shop~shop.svc.cluster.local~more", "has not the form"),
        ("router~10.0.0.1~gw.shop~shop.svc.cluster.local", "is of type \"router\"; only \"sidecar\" is served"),
        ("sidecar~10.0.0~cart-1.shop~shop.svc.cluster.local", "has \"10.0.0\" where an IP address is expected"),
        ("sidecar~10.0.0.1~cart~shop.svc.cluster.local", "has \"cart\" where <pod>.<namespace> is expected"),
        ("sidecar~10.0.0.1~Cart.shop~shop.svc.cluster.local", "names \"Cart\", which can't be the name of a Pod"),
        ("sidecar~10.0.0.1~.shop~shop.svc.cluster.local", "names \"\", which can't be the name of a Pod"),
        ("sidecar~10.0.0.1~cart.sh_op~sh_op.svc.cluster.local", "which can't be the name of a namespace"),
        ("sidecar~10.0.0.1~cart.shop~bank.svc.cluster.local", "names namespace \"shop\" but domain"),
        ("sidecar~10.0.0.1~cart.shop~shop.svc.", "names namespace \"shop\" but domain"),
        ("sidecar~10.0.0.1~cart.shop~shopping.svc.cluster.local", "names namespace \"shop\" but domain"),
        (&long, "which can't be the name of a Pod"),
    ];
    for (id, expected) in cases {
        let refusal = facts(&node(id, &[("INTERCEPTION_MODE", "NONE")])).expect_err(id).to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[test]
fn traffic_is_captured_unless_said_otherwise() {
    for metadata in [&[][..], &[("INTERCEPTION_MODE", "REDIRECT")][..]] {
        assert_eq!(facts(&node(CART, metadata)).expect("a good node").interception, Interception::Redirect);
    }
}

#[test]
fn metadata_that_is_not_served_names_the_key_and_the_values_that_are() {
    let cases: [(&[(&str, &str)], &str); 2] = [
        (&[("INTERCEPTION_MODE", "TPROXY")], "INTERCEPTION_MODE: REDIRECT and NONE are supported, not \"TPROXY\""),
        (
            &[("INTERCEPTION_MODE", "NONE"), ("OUTBOUND_BIND", "localhost")],
            "OUTBOUND_BIND has to be an IP address; it is \"localhost\"",
        ),
    ];
    for (metadata, expected) in cases {
        let refusal = facts(&node(CART, metadata)).expect_err(expected).to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
}

/// What a client says of itself may be of any length; what is told back and logged may not.
#[test]
fn a_refusal_is_short_whatever_the_client_says() {
    let long = "x".repeat(3_000_000);
    let ids = [format!("sidecar~{long}~cart-1.shop~shop.svc.cluster.local"), format!("{long}~10.0.0.1~a.b~b.svc.c")];
    let nodes = ids.iter().map(|id| node(id, &[("INTERCEPTION_MODE", "NONE")]));
    let metadata = [
        node(CART, &[("INTERCEPTION_MODE", &long)]),
        node(CART, &[("INTERCEPTION_MODE", "NONE"), ("OUTBOUND_BIND", &long)]),
    ];
    for node in nodes.chain(metadata) {
        let refusal = facts(&node).expect_err("not a node that is served").to_string();
        assert!(refusal.len() < 1_000, "{} bytes", refusal.len());
    }
}

#[test]
fn a_node_can_not_be_somebody_else_than_its_credential() {
    let pod = BoundPod { name: "cart-1".into(), uid: "1".into() };
    let identity = Identity { pod: Some(pod), ..Identity::new("shop".into(), "cart".into()) };
    let admitted = |id: &str, metadata: &[(&str, &str)]| {
        let admitted = admit(&node(id, metadata), &Credential::Workload(identity.clone()));
        admitted.map(|facts| facts.identity).map_err(|refusal| refusal.to_string())
    };
    assert_eq!(admitted(CART, &[]), Ok(Some(identity.clone())));
    assert_eq!(admitted(CART, &[("SERVICE_ACCOUNT", "cart")]), Ok(Some(identity.clone())));
    let others = [
        ("sidecar~10.0.0.1~cart-1.bank~bank.svc.cluster.local", &[][..], "claims namespace bank"),
        ("sidecar~10.0.0.1~cart-2.shop~shop.svc.cluster.local", &[], "claims Pod cart-2"),
        (CART, &[("SERVICE_ACCOUNT", "root")], "claims another service account"),
    ];
    for (id, metadata, said) in others {
        let refusal = admitted(id, metadata).expect_err(said);
        assert!(refusal.contains(said), "{refusal}");
    }
    assert_eq!(admit(&node(CART, &[]), &Credential::None).expect("a claim").identity, None, "a claim proves nothing");
}
