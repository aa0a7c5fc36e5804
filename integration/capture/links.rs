//! A link that is there and swallows everything, in both directions: neither end is told.

use crate::harness::{Failure, Outcome, deadline};
use crate::outbound::heard;
use crate::speaker::line;
use crate::stage::{LATER, SOON, Stage, server};
use std::net::SocketAddr;
use std::time::Duration;

/// How often and how long a connection is asked whether it is alive.
const IMPATIENT: [&str; 4] = ["--keepalive-interval", "1s", "--keepalive-timeout", "1s"];
/// How long a sidecar may take to notice that its stream has ended: it asks its connection after half a minute.
const NOTICED: Duration = Duration::from_secs(60);

/// The stream of a sidecar behind such a link is ended, the other sidecar is served meanwhile, and once the link is as it was, so is
/// the stream. The control: before, both are connected for longer than that takes.
pub async fn a_link_that_swallows_everything_is_noticed(stage: &mut Stage) -> Outcome<()> {
    stage.chancery.flags.extend(IMPATIENT.map(str::to_owned));
    stage.chancery.kill()?;
    stage.chancery.restart().await?;
    stage.settled_within(NOTICED).await?;
    deadline::throughout("both stay", Duration::from_secs(4), async || connected(stage).await == Some(2)).await?;

    stage.server.cut()?;
    let gone = async || (connected(stage).await? == 1).then_some(());
    deadline::until("who is behind it is gone", SOON * 3, gone).await?;
    let later = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: later, namespace: capture}}\n\
         spec: {{clusterIP: 10.96.77.9, ports: [{{name: tcp, port: {LATER}}}]}}\n"
    );
    let api = stage.chancery.api();
    let before = api.accepted("lds").await?;
    stage.folder.replace("later.yaml", &later)?;
    api.moved("lds", &before, SOON).await.map_err(|failure| failure.with("the other sidecar"))?;

    stage.server.mend()?;
    stage.settled_within(NOTICED).await?;
    if connected(stage).await != Some(2) {
        return Err(Failure::new("not both are connected again"));
    }
    heard(&line(SocketAddr::new(server()[0], 9000), "hello").await?, "echo 127.0.0.6 hello")
}

/// How many proxies the server has.
async fn connected(stage: &Stage) -> Option<usize> {
    Some(stage.chancery.api().proxies().await.ok()?.len())
}
