//! Access logs: entries of real Envoys, none where the settings ask for none, and listeners that survive a bad format.

use crate::harness::envoy::{Envoy, Setup};
use crate::harness::scene::{RECONNECT, SOON, Scene};
use crate::harness::{Failure, Outcome, deadline};
use crate::on;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

const SETTINGS: &str = "mesh.yaml";
/// Which test an entry belongs to, where it went and what became of it.
pub const TEXT: &str = "accessLogFile: /dev/stdout
accessLogFormat: 'entry %REQ(X-TEST)% %RESPONSE_CODE% %RESPONSE_FLAGS% %PROTOCOL% %UPSTREAM_CLUSTER_RAW%'
";
const JSON: &str = r#"accessLogFile: /dev/stdout
accessLogEncoding: JSON
accessLogFormat: '{"entry": {"test": "%REQ(X-TEST)%", "code": "%RESPONSE_CODE%"}, "list": ["%PROTOCOL%", 1], "no": "%REQ(X-NO)%"}'
"#;
const HOST: &str = "echo.first-light.svc.cluster.local";
/// Every request and connection has one entry of each proxy on its way, with its flags; the settings move listeners only.
pub async fn requests_and_connections_are_logged(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let held = others(scene).await?;
        log(scene, TEXT).await?;
        if others(scene).await? != held {
            return Err(Failure::new("the settings moved more than listeners"));
        }
        ask(scene, "good").await?;
        entry(scene.client(), "good", &format!("200 - HTTP/1.1 outbound|8080|v2|{HOST}")).await?;
        entry(&scene.envoys[2], "good", "200 - HTTP/1.1 inbound|8080||").await?;
        scene.say("hello").await?;
        entry(scene.client(), "-", &format!("0 - - outbound|9000||{HOST}")).await?;
        let served = async || {
            let both = [1, 2].map(|at| entries(&scene.envoys[at], "-").len());
            (both[0] + both[1] == 1).then_some(())
        };
        deadline::until("one proxy of the service has logged the connection", SOON, served).await?;
        // The application is gone: connecting to it fails, which its own proxy says once it tries.
        drop(scene.echoes.remove(1));
        let failed = async || {
            scene.ask(&[("x-user", "tester"), ("x-test", "gone")]).await.ok()?;
            let entries = entries(&scene.envoys[2], "gone");
            entries.iter().any(|entry| entry == "503 URX,UF HTTP/1.1 inbound|8080||").then_some(())
        };
        let failed = deadline::until("the failure to connect is logged", SOON, failed).await;
        failed.map_err(|failure| failure.with(&scene.envoys[2].tail()))
    })
    .await
}

/// The same as objects, in one another and with types.
pub async fn requests_are_logged_as_objects(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        log(scene, JSON).await?;
        ask(scene, "object").await?;
        let expected = json!({"entry": {"test": "object", "code": 200}, "list": ["HTTP/1.1", 1], "no": null});
        for at in [0, 2] {
            let found = async || {
                let text = scene.envoys[at].written();
                let objects = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
                objects.into_iter().any(|object| object == expected).then_some(())
            };
            let wait = deadline::until(&format!("{expected} is logged"), SOON, found).await;
            wait.map_err(|failure| failure.with(&scene.envoys[at].tail()))?;
        }
        Ok(())
    })
    .await
}

/// The control: once the settings are gone, nothing is logged any more, and again when they are back.
pub async fn without_settings_nothing_is_logged(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        log(scene, TEXT).await?;
        ask(scene, "before").await?;
        entry(scene.client(), "before", &format!("200 - HTTP/1.1 outbound|8080|v2|{HOST}")).await?;
        edit(scene, || scene.folder.remove(SETTINGS)).await?;
        ask(scene, "without").await?;
        log(scene, TEXT).await?;
        ask(scene, "after").await?;
        // Entries are written in order, so that of the request between would be there as well.
        for (at, cluster) in [(0, format!("outbound|8080|v2|{HOST}")), (2, "inbound|8080||".to_owned())] {
            entry(&scene.envoys[at], "after", &format!("200 - HTTP/1.1 {cluster}")).await?;
            let between = entries(&scene.envoys[at], "without");
            if !between.is_empty() {
                return Err(Failure::new(format!("logged without settings: {between:?}")));
            }
        }
        Ok(())
    })
    .await
}

/// Settings in a file elsewhere, which a flag names, are in effect and followed. The control: before the flag is there, nothing
/// is logged, although the file is.
pub async fn settings_may_be_elsewhere(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let file = scene.files.path().join("settings.txt");
        fs::write(&file, TEXT)?;
        ask(scene, "before").await?;
        let before = scene.chancery.api().accepted("lds").await?;
        scene.chancery.kill()?;
        scene.chancery.flags = vec!["--mesh-config".to_owned(), file.display().to_string()];
        scene.chancery.restart().await?;
        scene.chancery.api().moved("lds", &before, RECONNECT).await?;
        quiet(scene, RECONNECT).await?;
        ask(scene, "named").await?;
        entry(scene.client(), "named", &format!("200 - HTTP/1.1 outbound|8080|v2|{HOST}")).await?;
        // Entries are written in order.
        let before = entries(scene.client(), "before");
        if !before.is_empty() {
            return Err(Failure::new(format!("logged without the flag: {before:?}")));
        }
        edit(scene, || Ok(fs::write(&file, TEXT.replace(" %PROTOCOL%", ""))?)).await?;
        ask(scene, "edited").await?;
        entry(scene.client(), "edited", &format!("200 - outbound|8080|v2|{HOST}")).await
    })
    .await
}

/// A format or file that Envoy would refuse is reported and reaches no proxy. As long as there were no settings before, what
/// is right of them has its effect; good ones before them stay.
pub async fn bad_settings_break_no_listener_and_are_reported(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let bad = [
            (TEXT.replace("%PROTOCOL%", "%NOPE%"), "accessLogFormat: \"%NOPE%\" is not an operator"),
            (JSON.replace("(X-NO)", "(X NO)"), "accessLogFormat: \"no\": \"%REQ(X NO)%\" takes"),
            (TEXT.replace("/dev/stdout", "/no/folder/log"), "accessLogFile: \"/no/folder/log\" is neither"),
        ];
        reported(scene, &bad).await?;
        log(scene, TEXT).await?;
        let api = scene.chancery.api();
        let listeners = api.accepted("lds").await?;
        reported(scene, &bad).await?;
        if api.accepted("lds").await? != listeners {
            return Err(Failure::new("bad settings changed listeners"));
        }
        ask(scene, "still").await?;
        entry(scene.client(), "still", &format!("200 - HTTP/1.1 outbound|8080|v2|{HOST}")).await
    })
    .await
}

/// Writes settings that are reported in these words, one after the other; no proxy refuses anything, and all serve.
async fn reported(scene: &Scene, bad: &[(String, &str)]) -> Outcome<()> {
    let api = scene.chancery.api();
    for (settings, words) in bad {
        scene.folder.replace(SETTINGS, settings)?;
        let (field, words) = words.split_once(": ").ok_or_else(|| Failure::new("no field"))?;
        let reported = async || {
            let problems = api.problems().await.ok()?;
            let says = |text: &str| text.contains(words);
            problems.iter().find(|problem| says(&problem.text) && problem.line.is_some()).cloned()
        };
        let problem = deadline::until(&format!("{words:?} is reported"), SOON, reported).await?;
        if problem.object.as_deref() != Some("MeshConfig mesh") {
            return Err(Failure::new(format!("reported of something else than {field}: {problem:?}")));
        }
        ask(scene, "refused").await?;
    }
    scene.settled().await?;
    let proxies = api.proxies().await?;
    match proxies.iter().flat_map(|proxy| proxy.types.iter()).find(|(_, progress)| progress.nacked.is_some()) {
        Some((kind, _)) => Err(Failure::new(format!("a proxy refused {kind}"))),
        None => Ok(()),
    }
}

/// Gives the mesh settings.
pub async fn log(scene: &Scene, settings: &str) -> Outcome<()> {
    edit(scene, || scene.folder.replace(SETTINGS, settings)).await
}

/// Edits settings and waits until every Envoy has accepted other listeners and the old ones are gone, with the connections
/// through them.
async fn edit(scene: &Scene, how: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
    let before = scene.chancery.api().accepted("lds").await?;
    how()?;
    scene.chancery.api().moved("lds", &before, SOON).await?;
    quiet(scene, SOON).await
}

/// Waits until every Envoy has accepted everything and what it had before is gone.
async fn quiet(scene: &Scene, limit: Duration) -> Outcome<()> {
    scene.settled_within(limit).await?;
    for envoy in &scene.envoys {
        envoy.drained(SOON).await?;
    }
    Ok(())
}

/// A request that the second version answers.
async fn ask(scene: &Scene, test: &str) -> Outcome<()> {
    let answer = scene.ask(&[("x-user", "tester"), ("x-test", test)]).await?;
    if answer.status == 200 { Ok(()) } else { Err(Failure::new(format!("{test}: {}", answer.status))) }
}

/// What every Envoy has accepted, but for listeners.
async fn others(scene: &Scene) -> Outcome<Vec<BTreeMap<String, String>>> {
    let api = scene.chancery.api();
    let mut all = Vec::new();
    for kind in ["cds", "eds", "rds"] {
        all.push(api.accepted(kind).await?);
    }
    Ok(all)
}

/// An Envoy's entries of a test, without its name.
pub fn entries(envoy: &Envoy, test: &str) -> Vec<String> {
    let begin = format!("entry {test} ");
    envoy.written().lines().filter_map(|line| line.strip_prefix(&begin)).map(str::to_owned).collect()
}

/// Waits for a test's entry, which must be the only one.
pub async fn entry(envoy: &Envoy, test: &str, expected: &str) -> Outcome<()> {
    let found = async || {
        let entries = entries(envoy, test);
        (!entries.is_empty()).then_some(entries)
    };
    let found = deadline::until(&format!("{} logs {test}", envoy.node), SOON, found).await;
    let found = found.map_err(|failure| failure.with(&envoy.tail()))?;
    if found == [expected] { Ok(()) } else { Err(Failure::new(format!("{test}: {found:?}, expected {expected:?}"))) }
}
