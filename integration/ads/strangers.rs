//! Who may ask for what: every type by everybody, and every name by random workloads that are all there at once.

use crate::grants::{self, CHOSEN, FAR, HIDDEN};
use crate::secure::{DAY, Secure, all_secrets, asking, cart, names_in, pair_in, pair_named};
use crate::stage::{Delta, NODE_ID, seeds, until};
use chancery::ca::peer;
use chancery::model::identity::{BoundPod, Identity};
use chancery::publish::Engine;
use chancery::snapshot::kind::Kind;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use fastrand::Rng;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::time::Duration;
use tonic::Code;

/// How many workloads ask.
const ASKERS: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_for_who_has_proven_to_be_the_proxy_it_asks_for() {
    let secure = Secure::new(DAY).await;
    let own = secure.token(&cart(), DAY);
    let elsewhere = secure.token(&Identity::new("bank".into(), "cart".into()), DAY);
    let pod = BoundPod { name: "cart-2".into(), uid: "".into() };
    let beside = secure.token(&Identity { pod: Some(pod), ..Identity::new("shop".into(), "cart".into()) }, DAY);
    // Who may see everything at the admin port is no proxy.
    let operator = secure.token(&Identity::new("system".into(), "ops".into()), DAY);
    for kind in Kind::ALL {
        for (token, expected) in [
            (None, Some(Code::Unauthenticated)),
            (Some("nonsense"), Some(Code::Unauthenticated)),
            (Some(elsewhere.as_str()), Some(Code::PermissionDenied)),
            (Some(beside.as_str()), Some(Code::PermissionDenied)),
            (Some(operator.as_str()), Some(Code::PermissionDenied)),
            (Some(own.as_str()), None),
        ] {
            let channel = secure.channel(None).await.expect("a connection");
            let ended = match Delta::begin(channel, token, asking(kind, NODE_ID, vec!["default".into()])).await {
                Err(status) => Some(status.code()),
                // Who is let in waits for its place, which it isn't given here.
                Ok(mut stream) => match tokio::time::timeout(Duration::from_millis(300), stream.next()).await {
                    Ok(answer) => Some(answer.expect_err("no answer without a place").code()),
                    Err(_) => None,
                },
            };
            assert_eq!(ended, expected, "{kind:?} asked for by {token:?}");
        }
    }
    let unknown = DeltaDiscoveryRequest {
        type_url: "type.googleapis.com/every.Thing".into(),
        ..asking(Kind::Secret, NODE_ID, vec![])
    };
    let channel = secure.channel(None).await.expect("a connection");
    let refused = match Delta::begin(channel, None, unknown).await {
        Ok(mut stream) => stream.next().await.expect_err("no answer"),
        Err(status) => status,
    };
    assert_eq!(refused.code(), Code::Unauthenticated, "first of all it has to say who it is");
}

/// Names that somebody may have for something that isn't theirs.
fn names(random: &mut Rng, others: &Identity) -> Vec<String> {
    let spiffe = others.spiffe("cluster.local");
    let namespace = &others.namespace;
    let pool = [
        "default".to_owned(),
        "ROOTCA".to_owned(),
        spiffe.clone(),
        format!("default~{spiffe}"),
        format!("kubernetes://{namespace}/default"),
        format!("kubernetes://{namespace}/{FAR}"),
        format!("kubernetes://{FAR}"),
        format!("kubernetes://{FAR}-cacert"),
        format!("kubernetes://{HIDDEN}"),
        format!("kubernetes://{HIDDEN}-cacert"),
        format!("kubernetes-gateway://{namespace}/chancery-ca"),
        format!("../{namespace}/default"),
        "chancery-ca".to_owned(),
        "file-root:/etc/chancery/ca-key.pem".to_owned(),
        "*".to_owned(),
        String::new(),
        "DEFAULT".to_owned(),
        "default\0".to_owned(),
    ];
    let mut names: Vec<String> = (0..random.usize(1..8)).map(|_| pool[random.usize(..pool.len())].clone()).collect();
    names.extend((0..random.usize(..3)).map(|_| (0..random.usize(..20)).map(|_| random.char(..)).collect()));
    // So that there is an answer.
    names.push("default".to_owned());
    random.shuffle(&mut names);
    names
}

/// The names of namespaces and of service accounts.
const WORDS: [&str; 5] = ["shop", "bank", "shop-2", "default", "a"];

fn somebody(random: &mut Rng) -> Identity {
    let word = |random: &mut Rng| WORDS[random.usize(..WORDS.len())];
    let pod = BoundPod { name: format!("{}-{}", word(random), random.u32(..)).into(), uid: "".into() };
    Identity { pod: Some(pod), ..Identity::new(word(random).into(), word(random).into()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_what_is_anothers() {
    let secure = Secure::new(DAY).await;
    let (mut there, mut engine, mut world, mut granted) = (Vec::new(), Engine::default(), grants::world(&WORDS), 0);
    for seed in seeds(ASKERS) {
        let random = &mut Rng::with_seed(seed);
        let (mut who, other) = (somebody(random), somebody(random));
        let mut names = names(random, &other);
        // One of them has something to ask for, and does.
        if there.is_empty() {
            who.service_account = CHOSEN.into();
            names.push(format!("kubernetes://{FAR}"));
        }
        let (namespace, pod) = (who.namespace.clone(), who.pod.as_ref().expect("one of a Pod").name.clone());
        let id = format!("sidecar~10.0.0.1~{pod}.{namespace}~{namespace}.svc.cluster.local");
        let channel = secure.channel(None).await.expect("a connection");
        let request = asking(Kind::Secret, &id, names);
        let asked = request.resource_names_subscribe.clone();
        let stream = Delta::begin(channel, Some(&secure.token(&who, DAY)), request).await;
        let mut stream = stream.unwrap_or_else(|status| panic!("seed {seed}: {status}"));
        until("it joins", || secure.stage.board().seated() > there.len()).await;
        grants::place(&secure, &mut engine, &mut world, &who).await;
        let answer = all_secrets(&mut stream).await;
        let answer = answer.unwrap_or_else(|status| panic!("seed {seed}, {asked:?}: {status}"));
        let [pair, roots] = ["", "-cacert"].map(|more| format!("kubernetes://{FAR}{more}"));
        let mut own = vec!["default", "ROOTCA"];
        if who.service_account.as_str() == CHOSEN {
            own.extend([&*pair, &*roots]);
        }
        let stray: Vec<_> = names_in(&answer).into_iter().filter(|name| !own.contains(name)).collect();
        assert!(stray.is_empty(), "seed {seed}: {stray:?}");
        // The control: who may have it, and asks, gets it.
        let gets = own.contains(&&*pair) && (asked.contains(&pair) || asked.iter().any(|name| name == "*"));
        assert_eq!(names_in(&answer).contains(&&*pair), gets, "seed {seed}: {asked:?}");
        if gets {
            granted += 1;
            assert_eq!(pair_named(&answer, &pair).0, grants::chain(&namespace, FAR), "seed {seed}");
        }
        let certificate = CertificateDer::from_pem_slice(pair_in(&answer).0.as_bytes()).expect("a certificate");
        assert_eq!(peer::read(&certificate).expect("one URI").uri, who.spiffe("cluster.local"), "seed {seed}");
        there.push(stream);
    }
    assert!(granted > 0, "the control: somebody was given something");
}
