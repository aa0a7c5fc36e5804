//! Access logs where traffic is captured: a proxy of another user, which can't open its own output by name.

use crate::harness::network::v4;
use crate::harness::{Failure, Outcome, deadline};
use crate::speaker::Speaker;
use crate::stage::{SOON, Stage, UNDECLARED, get, say, service};

const SETTINGS: &str = "accessLogFile: /dev/stdout
accessLogFormat: 'entry %REQ(X-TEST)% %RESPONSE_CODE% %UPSTREAM_CLUSTER_RAW% %DOWNSTREAM_LOCAL_ADDRESS%'
";

/// Requests and connections of every chain are logged, by the proxy that sends and by the one that takes in, with the
/// address that was called; before there are settings nothing is, which is the control.
pub async fn captured_traffic_is_logged(stage: &mut Stage) -> Outcome<()> {
    let _stranger = Speaker::start("stranger", 7777).await?;
    let everything = async |stage: &Stage| {
        let ip = service()[0];
        get(&stage.client, ip, 80, "echo").await?;
        get(&stage.client, ip, 7000, "echo:7000").await?;
        for (ip, port) in [(ip, 9000), (v4(2), UNDECLARED), (v4(1), 7777)] {
            say(&stage.client, ip, port, "hello").await?;
        }
        Ok::<(), Failure>(())
    };
    everything(stage).await?;
    stage.restrict(SETTINGS).await?;
    stage.drained().await?;
    everything(stage).await?;
    let host = "echo.capture.svc.cluster.local";
    logged(
        stage,
        0,
        &[
            format!("- 200 outbound|80||{host} 10.96.77.1:80"),
            format!("- 200 outbound|7000||{host} 10.96.77.1:7000"),
            format!("- 0 outbound|9000||{host} 10.96.77.1:9000"),
            "- 0 PassthroughCluster 10.77.0.2:6000".to_owned(),
            "- 0 PassthroughCluster 10.77.0.1:7777".to_owned(),
        ],
    )
    .await?;
    let inbound = ["200 inbound|8080||", "200 inbound|7000||", "0 inbound|9000||", "0 InboundPassthroughCluster"];
    let ports = [8080, 7000, 9000, 6000];
    let entries = inbound.iter().zip(ports).map(|(entry, port)| format!("- {entry} 10.77.0.2:{port}"));
    logged(stage, 1, &entries.collect::<Vec<_>>()).await
}

/// Waits until a sidecar has exactly these entries.
async fn logged(stage: &Stage, at: usize, expected: &[String]) -> Outcome<()> {
    let written = || {
        let text = stage.written(at);
        let mut entries: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("entry ")).map(str::to_owned).collect();
        entries.sort();
        entries
    };
    let mut expected = expected.to_vec();
    expected.sort();
    let wait = deadline::until("everything is logged once", SOON, async || (written() == expected).then_some(()));
    wait.await.map_err(|failure| failure.with(&format!("{:#?}, expected {expected:#?}", written())))
}
