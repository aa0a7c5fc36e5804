//! The examples are what a real API server takes.

use crate::harness::cluster::ADMIN;
use crate::harness::{Outcome, tools};
use crate::shared;

/// Every folder of examples but that of broken ones; a folder has the name of the namespace that it is in.
fn folders() -> Outcome<Vec<String>> {
    let entries = std::fs::read_dir(tools::root().join("manifests/examples"))?;
    let names: Result<Vec<_>, _> =
        entries.map(|entry| Ok::<_, std::io::Error>(entry?.file_name().to_string_lossy().into_owned())).collect();
    Ok(names?.into_iter().filter(|name| name != "broken").collect())
}

/// All manifests of a folder.
fn manifests(name: &str) -> Outcome<String> {
    let folder = tools::root().join("manifests/examples").join(name);
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            texts.push(std::fs::read_to_string(path)?);
        }
    }
    Ok(texts.join("\n---\n"))
}

#[tokio::test]
async fn the_examples_are_accepted() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let names = folders()?;
    assert!(names.len() >= 2, "{names:?}");
    for name in names {
        cluster.namespace(&name).await?;
        let text = manifests(&name)?;
        let dry = ["apply", "--dry-run=server", "-f", "-"];
        // The pods of a tutorial that asks for nothing but one machine are on addresses that no cluster takes.
        let local = "127.77.0.";
        let answer = cluster.try_kubectl(ADMIN, &dry, &text.replace(local, "10.77.0.")).await?;
        assert!(answer.success, "{name}: {}", answer.error);
        if text.contains(local) {
            let refused = cluster.try_kubectl(ADMIN, &dry, &text).await?;
            assert!(refused.error.contains("may not be in the loopback range"), "{name}: {refused:?}");
        }
    }
    Ok(())
}
