//! A real API server is asked about everything under `manifests/` without storing it, and Pod Security about our Pods.

use crate::harness::cluster::{ADMIN, Cluster, kubectl};
use crate::harness::{Failure, Outcome, tools};
use crate::rendered::{KUSTOMIZATIONS, NAMESPACE, helm, kustomize, list, objects, one};
use crate::shared;
use serde_json::json;
use std::fs;
use std::path::Path;

/// What the addresses of a tutorial that asks for nothing but one machine begin with: no cluster takes them for a Pod's.
const LOCAL: &str = "127.77.0.";

/// Asks whether manifests would be taken; unknown fields are mistakes.
async fn ask(cluster: &Cluster, text: &str) -> Outcome<kubectl::Answer> {
    cluster.try_kubectl(ADMIN, &["apply", "--dry-run=server", "-f", "-"], text).await
}

/// Fails unless they are, without a word.
pub async fn taken(cluster: &Cluster, what: &str, text: &str) -> Outcome<()> {
    let answer = ask(cluster, text).await?;
    match answer.success && answer.error.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(format!("{what} is not taken as it is")).with(&answer.error)),
    }
}

/// The manifests under a folder, by their paths in it; not those that are broken on purpose.
fn manifests(folder: &Path, found: &mut Vec<String>) -> Outcome<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("examples/broken") {
            manifests(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path.strip_prefix(tools::root().join("manifests"))?.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

#[tokio::test]
async fn everything_is_taken_by_the_api_server() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    cluster.apply(&list([one(&objects(&kustomize("base")?)?, "Namespace")?])).await?;
    for (name, folder) in KUSTOMIZATIONS {
        taken(&cluster, name, &kustomize(folder)?).await?;
    }
    let mut files = Vec::new();
    manifests(&tools::root().join("manifests"), &mut files)?;
    // Of the others that is asked where they are rendered.
    for file in files.iter().filter(|file| !file.starts_with("kustomize/") && !file.starts_with("helm/chancery/")) {
        let [_, namespace, _] = file.split('/').collect::<Vec<_>>()[..] else {
            return Err(Failure::new(format!("nobody asks about manifests/{file}")));
        };
        let text = fs::read_to_string(tools::root().join("manifests").join(file))?;
        if !cluster.try_kubectl(ADMIN, &["get", "namespace", namespace], "").await?.success {
            cluster.namespace(namespace).await?;
        }
        taken(&cluster, file, &text.replace(LOCAL, "10.77.0.")).await?;
    }
    assert!(files.len() > 10, "{files:?}");
    Ok(())
}

/// The control: what is wrong is refused, or warned of.
#[tokio::test]
async fn mistakes_are_not_taken() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let text = kustomize("base")?;
    cluster.apply(&list([one(&objects(&text)?, "Namespace")?])).await?;
    for (from, to, expected) in [
        ("containerPort: 15012", "containerPort: 150100", "must be between 1 and 65535"),
        ("readinessProbe:", "readynessProbe:", "unknown field"),
        ("maxUnavailable: 1", "maxUnavailable: -1", "must be greater than or equal to 0"),
        ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "Warning: would violate PodSecurity"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from} is not there");
        let refused = taken(&cluster, from, &changed).await;
        assert!(refused.as_ref().is_err_and(|failure| failure.0.contains(expected)), "{to}: {refused:?}");
    }
    Ok(())
}

/// A Certificate is what cert-manager's own definition says that it is.
#[tokio::test]
async fn cert_managers_definition_takes_our_certificate() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    cluster.apply(&list([one(&objects(&kustomize("base")?)?, "Namespace")?])).await?;
    let issued = "authority.certManager.enabled=true,authority.certManager.issuerRef.name=roots";
    let certificate = one(&objects(&helm(&["--set", issued])?)?, "Certificate")?.to_string();
    taken(&cluster, "the Certificate", &certificate).await?;
    for (from, to, expected) in [
        ("\"encoding\":\"PKCS8\"", "\"encoding\":\"PKCS9\"", "Unsupported value"),
        ("\"secretName\":", "\"secretsName\":", "unknown field"),
        ("\"cert sign\"", "\"sign\"", "Unsupported value"),
        ("\"name\":\"roots\"", "\"name\":1", "must be of type string"),
    ] {
        let changed = certificate.replace(from, to);
        assert_ne!(changed, certificate, "{from} is not there");
        let refused = taken(&cluster, to, &changed).await;
        assert!(refused.as_ref().is_err_and(|failure| failure.0.contains(expected)), "the control: {to}: {refused:?}");
    }
    Ok(())
}

/// Pods as the Deployment describes them may be in our namespace, which enforces the strictest of the standards.
#[tokio::test]
async fn pods_pass_restricted_pod_security() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let all = objects(&kustomize("base")?)?;
    cluster.apply(&list([one(&all, "Namespace")?])).await?;
    cluster.apply(&list([one(&all, "ServiceAccount")?])).await?;
    let template = &one(&all, "Deployment")?["spec"]["template"];
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
        "metadata": {"name": "one", "namespace": NAMESPACE, "labels": template["metadata"]["labels"]}})
    .to_string();
    taken(&cluster, "a Pod", &pod).await?;
    for (from, to) in [
        ("\"allowPrivilegeEscalation\":false", "\"allowPrivilegeEscalation\":true"),
        ("\"runAsNonRoot\":true", "\"runAsNonRoot\":false"),
        ("{\"drop\":[\"ALL\"]}", "{}"),
        ("{\"type\":\"RuntimeDefault\"}", "{\"type\":\"Unconfined\"}"),
    ] {
        let changed = pod.replace(from, to);
        assert_ne!(changed, pod, "{from} is not there");
        let answer = ask(&cluster, &changed).await?;
        let refused = answer.error.contains("violates PodSecurity \"restricted:latest\"");
        assert!(!answer.success && refused, "the control: {to}: {answer:?}");
    }
    Ok(())
}
