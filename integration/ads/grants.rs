//! A World in which every namespace has Secrets of the same names, for some of its workloads: what each proxy may have of them.

use crate::secure::Secure;
use crate::stage::until;
use chancery::model::destination::{ClientTls, Credential, DestinationRule, ServerCheck, ServerTls, TrafficPolicy};
use chancery::model::identity::Identity;
use chancery::model::labels::Labels;
use chancery::model::name::{Host, Namespace};
use chancery::model::object::{Meta, Object, Stored};
use chancery::model::pod::Pod;
use chancery::model::provenance::{ObjectKey, ObjectKind, ObjectRef};
use chancery::model::secret::{Ends, Pair, Secret};
use chancery::model::sensitive::Sensitive;
use chancery::model::world::World;
use chancery::publish::Engine;
use chancery::snapshot::board::Posted;
use std::time::Instant;

/// The service account, and the value of the label, of workloads that may have [`FAR`].
pub const CHOSEN: &str = "shop";
/// The Secret that they may have.
pub const FAR: &str = "far";
/// A Secret that a rule names for workloads of which there are none.
pub const HIDDEN: &str = "hidden";

/// What the certificate in a Secret of a namespace is.
pub fn chain(namespace: &Namespace, name: &str) -> String {
    format!("{name} of {namespace}")
}

fn key(kind: ObjectKind, namespace: &Namespace, name: &str) -> ObjectKey {
    ObjectKey { kind, namespace: namespace.clone(), name: name.into() }
}

fn meta(kind: ObjectKind, namespace: &Namespace, name: &str) -> Meta {
    Meta { reference: ObjectRef { key: key(kind, namespace, name), uid: None, generation: None }, created: None }
}

fn labels(app: &str) -> Labels {
    Labels::from([("app".into(), app.into())])
}

fn rule(namespace: &Namespace, secret: &str, app: &str) -> Object {
    let credential = Some(Credential { secret: key(ObjectKind::Secret, namespace, secret), shown: true });
    let check = ServerCheck::Checked { authorities: None, revoked: None, names: Vec::new() };
    let tls = Some(ClientTls::Server(ServerTls { certificate: None, credential, sni: None, check }));
    let policy = TrafficPolicy { tls, ..TrafficPolicy::default() };
    let (host, selector) = (Host::from("far.example"), Some(labels(app)));
    let value = DestinationRule { host, policy, subsets: Vec::new(), exports: None, selector };
    Object::DestinationRule(Stored::new(meta(ObjectKind::DestinationRule, namespace, secret), value))
}

fn secret(namespace: &Namespace, name: &str) -> Object {
    let key = Sensitive::new(format!("key of {namespace}").into_bytes());
    let ends = Ends { at: u64::MAX, said: "never".into(), field: "data".into() };
    let pair = Some(Pair { chain: chain(namespace, name).into(), key, ends });
    let value = Secret { pair, authorities: Some(chain(namespace, name).into()) };
    Object::Secret(Stored::new(meta(ObjectKind::Secret, namespace, name), value))
}

/// Rules and Secrets of namespaces.
pub fn world(namespaces: &[&str]) -> World {
    let mut world = World::default();
    for namespace in namespaces.iter().map(|name| Namespace::from(*name)) {
        let objects = [
            rule(&namespace, FAR, CHOSEN),
            rule(&namespace, HIDDEN, "nobody"),
            secret(&namespace, FAR),
            secret(&namespace, HIDDEN),
        ];
        world.apply(objects.map(|object| (object.key().clone(), Some(object))));
    }
    world
}

/// Gives somebody a Pod, and the proxies that have joined what the World means for them.
pub async fn place(secure: &Secure, engine: &mut Engine, world: &mut World, who: &Identity) {
    let name = &who.pod.as_ref().expect("one of a Pod").name;
    let account = who.service_account.as_str();
    let value = Pod {
        labels: labels(account),
        addresses: Vec::new(),
        host_network: false,
        service_account: account.into(),
        node: None,
        ports: Vec::new(),
    };
    let pod = Object::Pod(Stored::new(meta(ObjectKind::Pod, &who.namespace, name.as_str()), value));
    world.apply([(pod.key().clone(), Some(pod))]);
    let board = secure.stage.board();
    let mut placed = false;
    until("it is placed", || {
        let outcome = engine.advance(world, &board.news(Instant::now()));
        for (subject, layer) in outcome.posts {
            board.post(&subject, Posted { layer, since: None });
        }
        for (facts, placement) in outcome.placed {
            placed |= facts.pod == *name && placement.is_some();
            board.place(&facts, placement);
        }
        placed
    })
    .await;
}
