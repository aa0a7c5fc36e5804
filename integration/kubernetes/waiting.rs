//! `chancery wait` against a real API server and a real Envoy: it returns when the Envoy has accepted what the object says
//! now, and not before.

use crate::harness::cluster::{ADMIN, Cluster};
use crate::harness::{Failure, Outcome};
use crate::shared;
use crate::stage::Stage;
use std::process::Output;
use tokio::process::Command;

pub fn timeout(namespace: &str, time: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: slow, namespace: {namespace}}}\n\
         spec: {{hosts: [inside], http: [{{timeout: {time}, route: [{{destination: {{host: inside}}}}]}}]}}\n"
    )
}

/// Runs `chancery wait`.
pub async fn wait(stage: &Stage, cluster: &Cluster, arguments: &[&str]) -> Outcome<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
    command.args(["wait", "--server", &stage.chancery.admin.to_string()]);
    command.arg("--kubeconfig").arg(cluster.kubeconfig(ADMIN)).args(arguments).kill_on_drop(true);
    command.output().await.map_err(|error| Failure::new(error.to_string()))
}

pub fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn it_returns_when_the_newest_generation_is_in_effect() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let stage = Stage::open(&cluster, ADMIN, "waiting").await?;
    for (generation, time) in [(1, "7s"), (2, "8s"), (3, "9s")] {
        cluster.apply(&timeout("waiting", time)).await?;
        let output = wait(&stage, &cluster, &["vs/slow", "-n", "waiting"]).await?;
        let (code, out, errors) = said(&output);
        assert_eq!(code, Some(0), "{out}{errors}{}", stage.chancery.tail());
        let expected = format!(
            "VirtualService waiting/slow generation {generation}: in effect at all 1 proxies that it concerns\n"
        );
        assert_eq!(out, expected);
        // What it says is so: Envoy has it.
        let routes = format!("{:?}", stage.envoy().dump("dynamic_route_configs").await?);
        assert!(routes.contains(&format!("\"timeout\": String(\"{time}\")")), "{routes}");
    }
    // Another object of that name is another, although its generation is an earlier one.
    cluster.kubectl(&["delete", "virtualservice", "slow", "-n", "waiting"]).await?;
    cluster.apply(&timeout("waiting", "6s")).await?;
    let (code, out, errors) = said(&wait(&stage, &cluster, &["vs/slow", "-n", "waiting"]).await?);
    assert!(code == Some(0) && out.contains("generation 1: in effect at all"), "{out}{errors}");
    let routes = format!("{:?}", stage.envoy().dump("dynamic_route_configs").await?);
    assert!(routes.contains("\"timeout\": String(\"6s\")"), "{routes}");
    // The control: what nobody has is waited for in vain.
    let output = wait(&stage, &cluster, &["vs/slow", "-n", "waiting", "--generation", "9", "--timeout", "1"]).await?;
    let (code, out, errors) = said(&output);
    assert_eq!((code, out.as_str()), (Some(5), ""), "{errors}");
    assert!(errors.contains("waiting for generation 9") && errors.contains("not reached within 1 s"), "{errors}");
    let (code, _, errors) = said(&wait(&stage, &cluster, &["vs/none", "-n", "waiting"]).await?);
    assert!(code == Some(1) && errors.contains("VirtualService waiting/none"), "{code:?} {errors}");
    Ok(())
}

/// Where it is asked who somebody is, a token is shown: one of the object's namespace tells of it, another doesn't.
#[tokio::test]
async fn it_shows_a_token_where_one_is_asked_for() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut stage = Stage::set(&cluster, ADMIN, "visitors").await?;
    stage.secure();
    stage.chancery.flags.extend(["--admin-access", "credential"].map(str::to_owned));
    stage.chancery.restart().await?;
    cluster.apply(&timeout("visitors", "7s")).await?;
    let question = ["vs/slow", "-n", "visitors", "--timeout", "10"];
    let (code, _, errors) = said(&wait(&stage, &cluster, &question).await?);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("asks who you are") && errors.contains("see --token"), "{errors}");
    let files = tempfile::tempdir()?;
    for (namespace, expected, patience) in [("visitors", Some(0), "10"), ("default", Some(5), "1")] {
        let token = cluster.kubectl(&["create", "token", "default", "-n", namespace, "--audience=chancery"]).await?;
        let file = files.path().join(namespace);
        std::fs::write(&file, token)?;
        let shown = ["vs/slow", "-n", "visitors", "--timeout", patience, "--token", &file.to_string_lossy()];
        let (code, out, errors) = said(&wait(&stage, &cluster, &shown).await?);
        assert_eq!(code, expected, "{namespace}: {out}{errors}");
    }
    Ok(())
}
