//! What passes between a server that is a process of its own and its Envoys, recorded on the way, and judged by what must hold of it
//! whatever the server knows.

use crate::harness::envoy::Setup;
use crate::harness::relay::Relay;
use crate::harness::scene::Scene;
use crate::harness::{Failure, Outcome};
use crate::recorder::Recorder;
use crate::trace::{Trace, What, oracles};
use std::net::SocketAddr;
use std::sync::Arc;

/// The last byte of the address of the relay.
const RELAY: u8 = 7;
/// What must hold of what passes, whatever the server knows.
const ORACLES: [&str; 3] = ["order on the wire (P49)", "one in flight (P55)", "nonces are unique (P42)"];

/// Records what passes.
pub struct Watched {
    pub recorder: Arc<Recorder>,
    _relay: Relay,
}

impl Watched {
    /// The example, whose Envoys are watched.
    pub async fn open(setup: Setup) -> Outcome<(Scene, Self)> {
        let scene = Scene::prepared().await?;
        let xds = scene.chancery.xds;
        Self::between(scene, xds, setup).await
    }

    /// The same, where the Envoys of a scene are led to another address.
    pub async fn between(scene: Scene, xds: SocketAddr, setup: Setup) -> Outcome<(Scene, Self)> {
        let recorder = Arc::new(Recorder::new());
        let relay = Relay::watched(scene.subnet.free(RELAY)?, xds, recorder.clone()).await?;
        let scene = scene.with_envoys_at(setup, relay.address).await?;
        Ok((scene, Self { recorder, _relay: relay }))
    }

    /// Judges all that has passed until now.
    pub fn judge(&self) -> Outcome<()> {
        self.recorder.with(judged)
    }
}

/// Judges a trace of a world from which nothing goes.
fn judged(trace: &Trace) -> Outcome<()> {
    let wanted = oracles::ALL.iter().filter(|(name, _)| ORACLES.contains(name));
    let said = |(name, oracle): &(&str, oracles::Oracle)| -> Vec<String> {
        oracle(&trace.events).into_iter().map(|text| format!("{name}: {text}")).collect()
    };
    let mut wrong: Vec<_> = wanted.clone().flat_map(said).collect();
    let is_sent = |what: &What| matches!(what, What::Sent(_));
    wrong.extend((!trace.events.iter().any(|event| is_sent(&event.what))).then(|| "nothing was sent".to_owned()));
    let removes = |what: &What| matches!(what, What::Sent(sent) if !sent.removed.is_empty());
    wrong.extend(trace.events.iter().filter(|event| removes(&event.what)).map(|event| format!("taken away: {event}")));
    if wrong.is_empty() && wanted.count() == ORACLES.len() {
        return Ok(());
    }
    Err(Failure::new(wrong.join("\n")).with(&trace.to_string()))
}
