//! Which changes of endpoints take something away that must not be used any more, so that they need not wait.

use chancery::cli::translate::answer;
use chancery::model::audience::{Interception, ProxyFacts};
use chancery::model::world::World;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::Resource;
use chancery::source::parse::{Parsed, object};
use chancery::source::yaml;
use std::sync::Arc;

const WORLD: &str =
    "{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: shop}, status: {podIPs: [{ip: 10.0.0.1}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}
---
";

/// The load assignment of endpoints, each written as `address: conditions`.
fn assignment(endpoints: &[(&str, &str)]) -> Arc<Resource> {
    let endpoint =
        |(address, conditions): &(&str, &str)| format!("{{addresses: [{address}], conditions: {{{conditions}}}}}");
    let endpoints: Vec<String> = endpoints.iter().map(endpoint).collect();
    let slice = format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: web-1, namespace: shop,
          labels: {{kubernetes.io/service-name: web}}}}, addressType: IPv4, ports: [{{port: 80}}], endpoints: [{}]}}",
        endpoints.join(", ")
    );
    let mut world = World::default();
    for document in yaml::read(format!("{WORLD}{slice}").as_bytes()).documents {
        let Parsed::Known { object: Some(object), problems, .. } = object(&document.value) else { panic!("an object") };
        assert_eq!(problems, []);
        world.apply([(object.key().clone(), Some(object))]);
    }
    let facts = ProxyFacts::new("shop".into(), "client".into(), Interception::default());
    let snapshot = answer(&world, facts).expect("the Pod is there").snapshot;
    let mut found = snapshot.iter(Kind::Endpoint);
    found.next().expect("a load assignment").clone()
}

#[test]
fn what_went_away_or_became_unready_is_lost() {
    const READY: &str = "ready: true";
    const UNREADY: &str = "ready: false";
    const LEAVING: &str = "ready: false, terminating: true";
    let both = assignment(&[("10.0.0.2", READY), ("10.0.0.3", READY)]);
    let loses = |before: &Resource, after: &[(&str, &str)]| before.loses_to(&assignment(after));
    assert!(loses(&both, &[("10.0.0.3", READY)]), "one is gone");
    assert!(loses(&both, &[("10.0.0.2", READY)]), "the last is gone");
    assert!(loses(&both, &[]), "all are gone");
    assert!(loses(&both, &[("10.0.0.2", READY), ("10.0.0.3", UNREADY)]), "one is not ready any more");
    assert!(loses(&both, &[("10.0.0.2", READY), ("10.0.0.3", LEAVING)]), "one is terminating");
    assert!(loses(&both, &[("10.0.0.2", READY), ("10.0.0.4", READY)]), "one is replaced");
    assert!(!loses(&both, &[("10.0.0.2", READY), ("10.0.0.3", READY)]), "nothing has changed");
    assert!(!loses(&both, &[("10.0.0.2", READY), ("10.0.0.3", READY), ("10.0.0.4", READY)]), "one has come");
    let unready = assignment(&[("10.0.0.2", READY), ("10.0.0.3", UNREADY)]);
    assert!(!loses(&unready, &[("10.0.0.2", READY)]), "nobody used what is gone");
    assert!(!unready.loses_to(&both), "one has become ready");
}
