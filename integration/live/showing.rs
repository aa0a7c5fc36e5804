//! A listener that is to show a certificate: without it nobody is told anything, least of all in plain text.

use crate::handmade::{Handmade, SOON};
use crate::harness::authority::Authority;
use crate::harness::caller::Caller;
use crate::harness::envoy::Setup;
use crate::harness::{Outcome, deadline};
use crate::resources::{SHOWN, certificate, cluster, endpoints, routes, showing};
use crate::waiting::{NOWHERE, WATCHED};
use chancery::snapshot::kind::Kind;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// What is answered to who is understood: nobody is there to whom its request could go.
const TEXT: &str = "503 Service Unavailable";

/// What somebody is told in plain text, and with TLS.
async fn told(address: SocketAddr) -> Option<[bool; 2]> {
    let mut told = [false; 2];
    for (told, tls) in told.iter_mut().zip([None, Some((None, &[][..]))]) {
        let answer = Caller { says: "GET / HTTP/1.1\r\nhost: a\r\n\r\n", tls }.call(address).await.ok()?;
        *told = answer.is_some_and(|answer| answer.contains(TEXT));
    }
    Some(told)
}

/// As long as it waits for its certificate nobody listens. When it doesn't any longer it listens and tells nobody anything. With its
/// certificate it tells who shakes hands, and so it does when the certificate is gone here: it keeps the one it has.
pub async fn without_its_certificate_a_listener_tells_nothing(setup: Setup) -> Outcome<()> {
    let mut hand = Handmade::start(setup, Vec::new()).await?;
    let address = hand.subnet.free(20)?;
    let listens = async || TcpStream::connect(address).await.is_ok();
    let upstream = vec![cluster("a", 1), endpoints("a", NOWHERE), routes("r", "a")];
    hand.post([upstream, vec![showing("l", address, "r", 0)]].concat(), &[]);
    deadline::throughout("without its certificate nobody listens", WATCHED, async || !listens().await).await?;

    hand.post(vec![showing("l", address, "r", 1)], &[]);
    deadline::until("what timed out is in service", SOON, async || listens().await.then_some(())).await?;
    let silent = async || told(address).await == Some([false, false]);
    deadline::throughout("and tells nobody anything", WATCHED, silent).await?;

    hand.post(vec![certificate(&Authority::new()?.issue("spiffe://a.example/ns/a/sa/a")?)], &[]);
    let tells = async || (told(address).await? == [false, true]).then_some(());
    deadline::until("the control: with it who shakes hands is told", SOON, tells).await?;
    hand.relay.withhold(Kind::Secret);
    let before = hand.relay.swallowed();
    hand.post(Vec::new(), &[(Kind::Secret, SHOWN)]);
    let silent = async || hand.relay.swallowed() == before;
    deadline::throughout("nothing is said of a certificate that is gone", WATCHED, silent).await?;
    let tells = async || tells().await.is_some();
    deadline::throughout("and it goes on to tell", WATCHED, tells).await?;
    hand.judge()
}
