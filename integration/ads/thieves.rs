//! Whoever has stolen the token of a Pod has as many streams with it as any Pod, and nobody else has fewer for it.

use crate::secure::{DAY, Secure, asking, cart};
use crate::stage::{Delta, NODE_ID, until, value};
use chancery::model::identity::{BoundPod, Identity};
use chancery::snapshot::kind::Kind;
use chancery::xds::shares::Client;
use std::net::Ipv4Addr;
use tonic::{Code, Status};

const REFUSED: &str = "chancery_xds_refusals_total{reason=\"too_many_streams\"}";

async fn begun(secure: &Secure, token: &str) -> Result<Delta, Status> {
    let channel = secure.channel(None).await.expect("a connection");
    Delta::begin(channel, Some(token), asking(Kind::Cluster, NODE_ID, Vec::new())).await
}

/// One stream more than there may be of a Pod is refused, one of another Pod of the same service account and address is not, and
/// one of the same Pod isn't either once another has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_has_so_many_streams_and_no_more() {
    let secure = Secure::new(DAY).await;
    let (stage, token) = (&secure.stage, secure.token(&cart(), DAY));
    let most = Client::of(&cart(), None).expect("it is bound to a Pod").most();
    let mut streams = Vec::new();
    for number in 0..most {
        streams.push(begun(&secure, &token).await.unwrap_or_else(|refused| panic!("{number}: {refused}")));
    }
    for _ in 0..3 {
        let refused = begun(&secure, &token).await.map(drop).expect_err("there are too many");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert!(refused.message().contains("32 streams already"), "{refused}");
    }
    assert_eq!(value(stage, REFUSED), 3);
    let pod = BoundPod { name: "cart-2".into(), uid: "".into() };
    let other = secure.token(&Identity { pod: Some(pod), ..cart() }, DAY);
    let _other = begun(&secure, &other).await.expect("the control: another Pod has its own");
    drop(streams.pop());
    until("it has ended", || value(stage, "chancery_xds_streams") == most as u64).await;
    streams.push(begun(&secure, &token).await.expect("there is room again"));
    assert_eq!(value(stage, REFUSED), 3);
}

/// An address may be that of many proxies that show certificates.
#[test]
fn an_address_has_more() {
    let anywhere = Some(Ipv4Addr::LOCALHOST.into());
    let [address, pod] = [Identity { pod: None, ..cart() }, cart()].map(|who| Client::of(&who, anywhere));
    let [address, pod] = [address, pod].map(|client| client.expect("somebody").most());
    assert!(address >= 100 * pod, "{address} and {pod}");
}
