//! What clients with a good certificate say in ALPN, each way there is, on ports of every kind: through which chain they come, if any.

use crate::harness::caller::{Caller, ask_http2};
use crate::harness::{Outcome, deadline};
use crate::{CLIENT, HTTP, LINE, Stage};
use std::time::Duration;
use tokio::time::timeout;

/// How long somebody is waited for who should not answer.
const BRIEF: Duration = Duration::from_millis(500);

/// Everything that a client may offer, in order; it speaks HTTP/2 where the first word says so.
const OFFERS: [&[&str]; 16] = [
    &[],
    &["istio"],
    &["istio-peer-exchange", "istio"],
    &["istio-http/1.0", "istio"],
    &["istio-http/1.1", "istio"],
    &["istio-http/1.1", "istio", "http/1.1"],
    &["istio-h2", "istio"],
    &["istio-h2", "istio", "h2"],
    &["istio", "istio-http/1.1"],
    &["http/1.0"],
    &["http/1.1"],
    &["http/1.1", "istio"],
    &["h2"],
    &["h2", "http/1.1"],
    &["else"],
    &["else", "istio-http/1.1"],
];

/// The words of the mesh, those of them that say HTTP, and those of anybody that do.
const OURS: [&str; 5] = ["istio-http/1.0", "istio-http/1.1", "istio-h2", "istio", "istio-peer-exchange"];
const OUR_HTTP: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
const ANY_HTTP: [&str; 3] = ["h2", "http/1.1", "http/1.0"];

/// What a port states.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum States {
    Http,
    Bytes,
    Nothing,
}

/// Ports of the server, what each states, and whether it takes mutual TLS only.
const PORTS: [(u16, States, bool); 6] = [
    (8080, States::Http, false),
    (8180, States::Http, true),
    (9090, States::Bytes, false),
    (9190, States::Bytes, true),
    (7570, States::Nothing, false),
    (7670, States::Nothing, true),
];

/// What is logged of who finds no chain.
const REFUSED: &str = "- -";

/// The line that is logged of who offers that, as the page has it.
fn logged(ip: &str, (port, states, strict): (u16, States, bool), offer: &[&str]) -> String {
    let first = |words: &[&str]| offer.iter().find(|word| words.contains(word)).copied();
    let ours = first(&OURS);
    let (http, bytes) = (format!("{ip}_{port}"), format!("inbound|{port}||"));
    let opened = strict || ours.is_some();
    match states {
        States::Http if opened => format!("{http}-mtls {CLIENT}"),
        States::Http => REFUSED.to_owned(),
        States::Bytes if opened => format!("{bytes}-mtls {CLIENT}"),
        States::Nothing if opened => {
            // Where other words are taken as well, ours are told apart by the first of them; else it is enough that one says HTTP.
            let says = match strict {
                true => first(&OUR_HTTP).or(first(&ANY_HTTP)).is_some(),
                false => ours.is_some_and(|word| OUR_HTTP.contains(&word)),
            };
            if says { format!("{http}-mtls-http {CLIENT}") } else { format!("{bytes}-mtls-tcp {CLIENT}") }
        }
        States::Bytes | States::Nothing => format!("{bytes}-tls -"),
    }
}

/// Each comes through the chain that it should, and through no other; what is not for the mesh is not opened.
pub async fn every_word_leads_to_its_chain(stage: &Stage) -> Outcome<()> {
    let ip = stage.subnet.ip(2).to_string();
    let mut seen = Vec::new();
    for at in PORTS {
        for offer in OFFERS {
            let before = stage.server.written().lines().count();
            let expected = logged(&ip, at, offer);
            let opened = expected.ends_with(CLIENT);
            let answered = match opened {
                true => speaks(stage, at, offer).await?,
                // Applications here speak no TLS, and may wait for more of it.
                false => timeout(BRIEF, speaks(stage, at, offer)).await.unwrap_or(Ok(false))?,
            };
            assert_eq!(answered, opened, "{at:?} {offer:?}");
            let since = || stage.server.written().lines().skip(before).map(str::to_owned).collect::<Vec<_>>();
            let one = async || Some(since()).filter(|lines| !lines.is_empty());
            let lines = deadline::until("it is logged", Duration::from_secs(5), one).await?;
            assert_eq!(lines, [expected.as_str()], "{at:?} {offer:?}");
            seen.push(expected);
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 11, "the control: every chain for TLS is among them: {seen:#?}");
    Ok(())
}

/// Whether who says that is answered.
async fn speaks(stage: &Stage, (port, states, _): (u16, States, bool), offer: &[&str]) -> Outcome<bool> {
    let address = stage.server(port);
    if states != States::Bytes && offer.first().is_some_and(|word| word.ends_with("h2")) {
        let answer = ask_http2(address, &stage.good, offer).await?;
        return Ok(answer.is_some_and(|text| text.contains("web")));
    }
    let says = if states == States::Bytes { LINE } else { HTTP };
    let answer = Caller { says, tls: Some((Some(&stage.good), offer)) }.call(address).await?;
    Ok(answer.is_some_and(|text| text.contains("web")))
}
