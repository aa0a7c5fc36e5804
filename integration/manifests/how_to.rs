//! The how-to, done as its text says, on a real control plane and with the real kubectl and Helm; Pods run as a node would run
//! them. Only what takes an engine or a node's network is pretended: building and pushing the image, and the way to a Pod's port.

use crate::harness::cluster::{ADMIN, Cluster, Definitions, Options};
use crate::harness::steps::{judge, script, steps};
use crate::harness::{Failure, Outcome, spawner, tools};
use crate::node::Node;
use crate::shared;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const PAGE: &str = "docs/how-to/run-on-a-cluster.md";
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(240);
/// What must be gone after the last step.
const AFTER: &str = "kubectl get clusterroles,clusterrolebindings -l app.kubernetes.io/part-of=chancery -o name
kubectl get namespace chancery-system -o name --ignore-not-found\n";

/// A place for the commands: a copy of what they name, and programs before all others.
struct Place {
    files: TempDir,
}

impl Place {
    fn new(cluster: &Cluster) -> Outcome<Self> {
        let place = Self { files: tempfile::Builder::new().prefix("chancery-").tempdir()? };
        place.copy(Path::new("manifests"))?;
        fs::create_dir(place.path("bin"))?;
        let kubectl = format!(
            "[ \"$1\" != port-forward ] || exec sleep 600\nexec '{}' --kubeconfig '{}' --cache-dir '{}' \"$@\"\n",
            tools::kubernetes("kubectl")?.display(),
            cluster.kubeconfig(ADMIN).display(),
            place.path("cache").display()
        );
        let helm = format!(
            "export HELM_CACHE_HOME='{0}' HELM_CONFIG_HOME='{0}' HELM_DATA_HOME='{0}'\nexec '{1}' --kubeconfig '{2}' \"$@\"\n",
            place.path("helm").display(),
            tools::helm()?.display(),
            cluster.kubeconfig(ADMIN).display()
        );
        for (name, text) in
            [("kubectl", &*kubectl), ("helm", &helm), ("docker", "[ \"$1\" = build ] || [ \"$1\" = push ]\n")]
        {
            let program = place.path("bin").join(name);
            fs::write(&program, format!("#!/bin/bash\n{text}"))?;
            fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        }
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Copies a folder of the repository.
    fn copy(&self, folder: &Path) -> Outcome<()> {
        fs::create_dir_all(self.files.path().join(folder))?;
        for entry in fs::read_dir(tools::root().join(folder))? {
            let entry = entry?;
            let inside = folder.join(entry.file_name());
            match entry.path().is_dir() {
                true => self.copy(&inside)?,
                false => _ = fs::copy(entry.path(), self.files.path().join(&inside))?,
            }
        }
        Ok(())
    }

    /// A page as it is done here.
    fn here(&self, page: &str) -> String {
        let newest = format!("http://$(cat '{}')", self.path("newest").display());
        page.replace("/tmp/", &format!("{}/", self.files.path().display())).replace("http://localhost:15014", &newest)
    }
}

async fn follow(cluster: &Cluster, page: &str) -> Outcome<()> {
    let place = Place::new(cluster)?;
    let steps = steps(&place.here(page));
    let folder = place.files.path().display();
    let before = format!("set -euo pipefail; cd '{folder}'; export PATH='{folder}/bin':$PATH KUBECTL_KUBERC=false\n");
    let (log, script) = (place.path("log"), script(&before, &steps, AFTER));
    let mut node = Node::new(cluster, place.path("newest"))?;
    let mut shell = spawner::start("the how-to", Path::new("/bin/bash"), &["-c", &script], &log)?;
    let ended = node.during(shell.ended(LIMIT)).await;
    let output = fs::read_to_string(&log)?;
    ended.map_err(|failure| failure.with(&output))?;
    judge(PAGE, &steps, &output)
}

#[tokio::test]
async fn the_how_to_does_what_it_says() -> Outcome<()> {
    let options = Options { definitions: Definitions::ALL.into(), controllers: true, ..Options::default() };
    let (cluster, _held) = shared::own(options).await?;
    let page = fs::read_to_string(tools::root().join(PAGE))?;
    follow(&cluster, &page).await?;
    // The control: what is promised otherwise, and what is left.
    for wrong in [
        "```sh\nkubectl get namespace kube-system -o name\n```\n```text\nnamespace/other\n```\n",
        "```sh\nkubectl create namespace chancery-system > /tmp/made\n```\n",
    ] {
        if follow(&cluster, wrong).await.is_ok() {
            return Err(Failure::new(format!("nothing is wrong with this, it seems:\n{wrong}")));
        }
    }
    Ok(())
}
