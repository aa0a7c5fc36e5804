//! The chart: it renders the same objects as Kustomize, refuses values that it doesn't know, and whatever it is given that
//! it does know, a real API server takes what comes of it.

use crate::harness::{Failure, Outcome, monitoring, spawner, tools};
use crate::rendered::{KUSTOMIZATIONS, NAMESPACE, Objects, chart, helm, kustomize, list, objects, one};
use crate::{server, shared, values};
use serde_json::Value;
use std::collections::BTreeSet;

/// The labels that only Helm sets, with their values.
const OF_HELM: [(&str, &str); 2] =
    [("app.kubernetes.io/managed-by", "Helm"), ("helm.sh/chart", concat!("chancery-", env!("CARGO_PKG_VERSION")))];

/// What the chart renders with the values of a file beside it, or with those that it has.
fn rendered(name: &str) -> Outcome<Objects> {
    let values = chart().join(format!("values-{name}.yaml")).to_string_lossy().into_owned();
    let flags: &[&str] = if name == "base" { &[] } else { &["--values", &values] };
    objects(&helm(flags)?)
}

/// Objects as only Kustomize has them, without the namespace, which Helm makes by itself.
fn comparable(mut objects: Objects) -> Objects {
    objects.retain(|_, object| object["kind"] != "Namespace");
    objects
}

#[test]
fn helm_renders_what_kustomize_renders() -> Outcome<()> {
    for (name, folder) in KUSTOMIZATIONS {
        let (mut found, expected) = (rendered(name)?, comparable(objects(&kustomize(folder)?)?));
        for (object, value) in &mut found {
            let labels = value["metadata"]["labels"].as_object_mut().ok_or_else(|| Failure::new("no labels"))?;
            for (label, expected) in OF_HELM {
                assert_eq!(labels.remove(label), Some(expected.into()), "{object}: {label}");
            }
        }
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{name}");
        for (object, value) in &found {
            assert_eq!(*value, expected[object], "{name}: {object}");
        }
    }
    assert_ne!(rendered("base")?, rendered("ha")?, "the control: other values render something else");
    Ok(())
}

#[test]
fn the_chart_has_no_fault() -> Outcome<()> {
    let chart = chart().to_string_lossy().into_owned();
    let said = spawner::output(&tools::helm()?, &["lint", "--strict", &chart])?;
    assert!(said.contains("0 chart(s) failed"), "{said}");
    let text = std::fs::read_to_string(format!("{chart}/Chart.yaml"))?;
    let about: Value = serde_yaml_ng::from_str(&text)?;
    for version in ["version", "appVersion"] {
        assert_eq!(about[version], env!("CARGO_PKG_VERSION"), "{version}");
    }
    Ok(())
}

/// What is said after an installation with values.
fn notes(values: &[&str]) -> Outcome<String> {
    let chart = chart().to_string_lossy().into_owned();
    let mut arguments = vec!["install", "chancery", &chart, "--dry-run=client", "--namespace", NAMESPACE];
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    let said = spawner::output(&tools::helm()?, &arguments)?;
    let notes = said.split_once("NOTES:\n").map(|(_, notes)| notes.to_owned());
    notes.ok_or_else(|| Failure::new("there are no notes"))
}

#[test]
fn what_is_risky_is_said() -> Outcome<()> {
    let pushed = "image.registry=registry.example.com";
    let safe = notes(&[pushed])?;
    assert!(safe.contains("The admin port is plain text") && !safe.contains("WARNING"), "{safe}");
    for (values, expected) in [
        (&["replicas=2"][..], "image.registry is empty"),
        (&[pushed, "networkPolicy.enabled=false"], "networkPolicy.enabled is false"),
        (&[pushed, "replicas=1"], "the only replica"),
        (&[pushed, "monitoring.rules.enabled=true"], "monitoring.rules.enabled without"),
        (&[pushed, "monitoring.serviceMonitor.enabled=true"], "lets only Pods of chancery-system"),
        (&[pushed, "authority.secret=cacerts"], "authority.secret is set"),
        (&[pushed, "rbac.create=false"], "rbac.create is false"),
    ] {
        let said = notes(values)?;
        let warnings: Vec<_> = said.lines().filter(|line| line.starts_with("WARNING: ")).collect();
        assert!(warnings.len() == 1 && warnings[0].contains(expected), "{values:?}: {said}");
    }
    Ok(())
}

/// Values with which cert-manager makes the authority.
const ISSUED: [&str; 2] = ["authority.certManager.enabled=true", "authority.certManager.issuerRef.name=roots"];

#[test]
fn who_makes_the_authority_is_said() -> Outcome<()> {
    let said = notes(&["image.registry=registry.example.com", ISSUED[0], ISSUED[1]])?;
    let waits = "kubectl wait certificate/chancery-ca-tls -n chancery-system --for=condition=Ready";
    assert!(said.contains(waits) && said.contains("before Issuer roots has signed it"), "{said}");
    assert!(!said.contains("WARNING"), "{said}");
    assert!(!notes(&["replicas=2"])?.contains("cert-manager"), "the control");
    Ok(())
}

/// Whether some role lets Secrets be made.
fn makes_secrets(objects: &Objects) -> bool {
    let rules = objects.values().filter_map(|object| object["rules"].as_array()).flatten();
    let has =
        |rule: &Value, list: &str, name: &str| rule[list].as_array().is_some_and(|list| list.contains(&name.into()));
    rules.into_iter().any(|rule| has(rule, "resources", "secrets") && has(rule, "verbs", "create"))
}

#[test]
fn secrets_are_made_only_where_chancery_makes_the_authority() -> Outcome<()> {
    assert!(makes_secrets(&set(&[])?), "the control: where it does");
    assert!(!makes_secrets(&set(&["authority.secret=cacerts"])?));
    assert!(!makes_secrets(&set(&ISSUED)?));
    Ok(())
}

/// All three of what there is for those who watch, with labels of one's own.
#[test]
fn dashboards_are_found_by_their_labels() -> Outcome<()> {
    let rendered = set(&["monitoring.dashboards.enabled=true", "monitoring.dashboards.labels.team=mesh"])?;
    let boards: Vec<_> = rendered.values().filter(|object| object["kind"] == "ConfigMap").collect();
    assert_eq!(boards.len(), monitoring::dashboards()?.len());
    for board in boards {
        let labels = &board["metadata"]["labels"];
        assert!(labels["grafana_dashboard"] == "1" && labels["team"] == "mesh", "{labels}");
    }
    Ok(())
}

/// Values, a kind, and what an object of it has because of them; with nothing, that there is none.
type Case = (&'static [&'static str], &'static str, Option<(&'static str, &'static str)>);

/// What each value does.
const CASES: &[Case] = &[
    (
        &["image.registry=example.com", "image.repository=mesh/chancery", "image.tag=1.2"],
        "Deployment",
        Some((IMAGE, "\"example.com/mesh/chancery:1.2\"")),
    ),
    (
        &["image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000"],
        "Deployment",
        Some((IMAGE, "\"chancery@sha256:0000000000000000000000000000000000000000000000000000000000000000\"")),
    ),
    (
        &["image.pullPolicy=Always"],
        "Deployment",
        Some(("/spec/template/spec/containers/0/imagePullPolicy", "\"Always\"")),
    ),
    (&["imagePullSecrets[0].name=key"], "Deployment", Some(("/spec/template/spec/imagePullSecrets/0/name", "\"key\""))),
    (&["fullnameOverride=mesh"], "Service", Some(("/metadata/name", "\"mesh\""))),
    (
        &["fullnameOverride=mesh"],
        "Deployment",
        Some(("/spec/template/spec/containers/0/args/10", "\"--mesh-config-map=mesh\"")),
    ),
    (&["fullnameOverride=mesh"], "Role", Some(("/rules/0/resourceNames/0", "\"mesh\""))),
    (&["commonLabels.team=mesh"], "NetworkPolicy", Some(("/metadata/labels/team", "\"mesh\""))),
    (&["commonLabels.team=mesh"], "Deployment", Some(("/spec/template/metadata/labels/team", "\"mesh\""))),
    (&["replicas=5"], "Deployment", Some(("/spec/replicas", "5"))),
    (&["replicas=1"], "PodDisruptionBudget", None),
    (&["meshConfig.connectTimeout=3s"], "ConfigMap", Some(("/data/mesh", "\"connectTimeout: 3s\\n\""))),
    (&[], "ConfigMap", None),
    (
        &["watchNamespaces[0]=default", "watchNamespaces[1]=kube-system"],
        "Deployment",
        Some(("/spec/template/spec/containers/0/args/10", "\"--watch-namespaces=default,kube-system\"")),
    ),
    (&["watchNamespaces[0]=default"], "ClusterRole", None),
    (
        &["secretNamespaces[0]=default", "secretNamespaces[1]=kube-system"],
        "Deployment",
        Some(("/spec/template/spec/containers/0/args/10", "\"--secret-namespaces=default,kube-system\"")),
    ),
    (
        &["xds.maxConnectionAge=5m"],
        "Deployment",
        Some(("/spec/template/spec/containers/0/args/10", "\"--max-connection-age=5m\"")),
    ),
    (
        &["xds.trustBundle=roots"],
        "Deployment",
        Some(("/spec/template/spec/containers/0/args/10", "\"--trust-bundle=roots\"")),
    ),
    (&["xds.tokenReview=true"], "Deployment", Some(("/spec/template/spec/containers/0/args/10", "\"--token-review\""))),
    (
        &["listenAddress=[::]"],
        "Deployment",
        Some(("/spec/template/spec/containers/0/args/1", "\"--xds-address=[::]:15012\"")),
    ),
    (
        &["operators[0]=ops/anna", "operators[1]=ops/ben"],
        "Deployment",
        Some((
            "/spec/template/spec/containers/0/args/4",
            "\"--operators=$(POD_NAMESPACE)/$(POD_ACCOUNT),ops/anna,ops/ben\"",
        )),
    ),
    (&["log.level=debug"], "Deployment", Some(("/spec/template/spec/containers/0/args/5", "\"--log-level=debug\""))),
    (&["log.format=text"], "Deployment", Some(("/spec/template/spec/containers/0/args/6", "\"--log-format=text\""))),
    (
        &["extraArgs[0]=--watch-seconds=30"],
        "Deployment",
        Some(("/spec/template/spec/containers/0/args/10", "\"--watch-seconds=30\"")),
    ),
    (
        &["extraEnv[0].name=A", "extraEnv[0].value=b"],
        "Deployment",
        Some(("/spec/template/spec/containers/0/env/4/name", "\"A\"")),
    ),
    (
        &[
            "extraVolumes[0].name=v",
            "extraVolumes[0].emptyDir.medium=Memory",
            "extraVolumeMounts[0].name=v",
            "extraVolumeMounts[0].mountPath=/v",
        ],
        "Deployment",
        Some(("/spec/template/spec/containers/0/volumeMounts/0/mountPath", "\"/v\"")),
    ),
    (
        &[
            "extraContainers[0].name=more",
            "extraContainers[0].image=more",
            "extraContainers[0].securityContext.allowPrivilegeEscalation=false",
            "extraContainers[0].securityContext.capabilities.drop[0]=ALL",
        ],
        "Deployment",
        Some(("/spec/template/spec/containers/1/name", "\"more\"")),
    ),
    (
        &["serviceAccount.create=false", "serviceAccount.name=mine"],
        "Deployment",
        Some(("/spec/template/spec/serviceAccountName", "\"mine\"")),
    ),
    (&["serviceAccount.create=false"], "ServiceAccount", None),
    (&["serviceAccount.name=mine"], "ClusterRoleBinding", Some(("/subjects/0/name", "\"mine\""))),
    (&["serviceAccount.annotations.a=b"], "ServiceAccount", Some(("/metadata/annotations/a", "\"b\""))),
    (&["rbac.create=false"], "ClusterRole", None),
    (&["rbac.create=false"], "Role", None),
    (&["rbac.nodes=false"], "ClusterRole", Some(("/rules/0/resources", "[\"namespaces\",\"services\",\"pods\"]"))),
    (&["rbac.istio=false"], "ClusterRole", Some(("/rules/2/apiGroups/0", "\"split.smi-spec.io\""))),
    (&["rbac.istio=false"], "ClusterRole", Some(("/rules/5/resourceNames/0", "\"chancery-root\""))),
    (&["rbac.trafficSplit=false"], "ClusterRole", Some(("/rules/6/apiGroups/0", "\"gateway.networking.k8s.io\""))),
    (&["rbac.gatewayApi=false"], "ClusterRole", Some(("/rules/6/apiGroups/0", "\"split.smi-spec.io\""))),
    (&["service.annotations.a=b"], "Service", Some(("/metadata/annotations/a", "\"b\""))),
    (&["service.ipFamilyPolicy=PreferDualStack"], "Service", Some(("/spec/ipFamilyPolicy", "\"PreferDualStack\""))),
    (&["networkPolicy.enabled=false"], "NetworkPolicy", None),
    (
        &["networkPolicy.xdsFrom[0].ipBlock.cidr=10.0.0.0/8"],
        "NetworkPolicy",
        Some(("/spec/ingress/0/from/0/ipBlock/cidr", "\"10.0.0.0/8\"")),
    ),
    (
        &["networkPolicy.adminFrom[0].namespaceSelector.matchLabels.a=b"],
        "NetworkPolicy",
        Some(("/spec/ingress/1/from/0/namespaceSelector/matchLabels/a", "\"b\"")),
    ),
    (&["networkPolicy.apiServerPorts[0]=8443"], "NetworkPolicy", Some(("/spec/egress/0/ports/0/port", "8443"))),
    (&[], "ServiceMonitor", None),
    (
        &["monitoring.serviceMonitor.enabled=true", "fullnameOverride=mesh"],
        "ServiceMonitor",
        Some(("/metadata/name", "\"mesh\"")),
    ),
    (
        &["monitoring.serviceMonitor.enabled=true", "monitoring.serviceMonitor.labels.a=b"],
        "ServiceMonitor",
        Some(("/metadata/labels/a", "\"b\"")),
    ),
    (
        &["monitoring.serviceMonitor.enabled=true", "monitoring.serviceMonitor.interval=10s"],
        "ServiceMonitor",
        Some(("/spec/endpoints/0/interval", "\"10s\"")),
    ),
    (&["monitoring.serviceMonitor.enabled=true"], "PrometheusRule", None),
    (
        &["monitoring.rules.enabled=true"],
        "PrometheusRule",
        Some(("/spec/groups/0/rules/0/alert", "\"ChanceryAbsent\"")),
    ),
    (
        &["monitoring.rules.enabled=true", "monitoring.rules.labels.a=b"],
        "PrometheusRule",
        Some(("/metadata/labels/a", "\"b\"")),
    ),
    (&["monitoring.dashboards.enabled=false"], "ConfigMap", None),
    (&["monitoring.dashboards.enabled=true", "monitoring.dashboards.labels.a=b"], "PrometheusRule", None),
    (&["authority.secret=cacerts"], "Role", Some(("/rules/2/resourceNames/0", "\"cacerts\""))),
    (
        &["authority.secret=cacerts"],
        "Deployment",
        Some(("/spec/template/spec/containers/0/args/10", "\"--ca-secret=cacerts\"")),
    ),
    (&[], "Certificate", None),
    (&ISSUED, "Certificate", Some(("/spec/secretName", "\"chancery-ca-tls\""))),
    (&ISSUED, "Role", Some(("/rules/2/resourceNames/0", "\"chancery-ca-tls\""))),
    (&ISSUED, "Deployment", Some(("/spec/template/spec/containers/0/args/10", "\"--ca-secret=chancery-ca-tls\""))),
    (
        &[
            ISSUED[0],
            ISSUED[1],
            "authority.certManager.issuerRef.kind=AWSPCAClusterIssuer",
            "authority.certManager.issuerRef.group=awspca.cert-manager.io",
        ],
        "Certificate",
        Some((
            "/spec/issuerRef",
            "{\"group\":\"awspca.cert-manager.io\",\"kind\":\"AWSPCAClusterIssuer\",\"name\":\"roots\"}",
        )),
    ),
    (
        &[ISSUED[0], ISSUED[1], "authority.certManager.duration=720h"],
        "Certificate",
        Some(("/spec/duration", "\"720h\"")),
    ),
    (
        &[ISSUED[0], ISSUED[1], "authority.certManager.renewBefore=240h"],
        "Certificate",
        Some(("/spec/renewBefore", "\"240h\"")),
    ),
    (
        &[ISSUED[0], ISSUED[1], "authority.certManager.rotationPolicy=Always"],
        "Certificate",
        Some((
            "/spec/privateKey",
            "{\"algorithm\":\"ECDSA\",\"encoding\":\"PKCS8\",\"rotationPolicy\":\"Always\",\"size\":256}",
        )),
    ),
    (&["podDisruptionBudget.enabled=false"], "PodDisruptionBudget", None),
    (
        &["podDisruptionBudget.unhealthyPodEvictionPolicy=IfHealthyBudget"],
        "PodDisruptionBudget",
        Some(("/spec/unhealthyPodEvictionPolicy", "\"IfHealthyBudget\"")),
    ),
    (&["podDisruptionBudget.maxUnavailable=50%"], "PodDisruptionBudget", Some(("/spec/maxUnavailable", "\"50%\""))),
    (
        &["resources.requests.cpu=1"],
        "Deployment",
        Some(("/spec/template/spec/containers/0/resources/requests/cpu", "1")),
    ),
    (
        &["resources.limits.memory=3Gi"],
        "Deployment",
        Some(("/spec/template/spec/containers/0/resources/limits/memory", "\"3Gi\"")),
    ),
    (
        &["terminationGracePeriodSeconds=60"],
        "Deployment",
        Some(("/spec/template/spec/terminationGracePeriodSeconds", "60")),
    ),
    (&["podAnnotations.a=b"], "Deployment", Some(("/spec/template/metadata/annotations/a", "\"b\""))),
    (&["podLabels.a=b"], "Deployment", Some(("/spec/template/metadata/labels/a", "\"b\""))),
    (
        &["priorityClassName=system-cluster-critical"],
        "Deployment",
        Some(("/spec/template/spec/priorityClassName", "\"system-cluster-critical\"")),
    ),
    (&["nodeSelector.a=b"], "Deployment", Some(("/spec/template/spec/nodeSelector/a", "\"b\""))),
    (
        &["tolerations[0].operator=Exists"],
        "Deployment",
        Some(("/spec/template/spec/tolerations/0/operator", "\"Exists\"")),
    ),
    (
        &[
            "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight=1",
            "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key=a",
            "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].operator=Exists",
        ],
        "Deployment",
        Some((
            "/spec/template/spec/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution/0/weight",
            "1",
        )),
    ),
    (
        &[
            "topologySpread[0].maxSkew=2",
            "topologySpread[0].topologyKey=zone",
            "topologySpread[0].whenUnsatisfiable=DoNotSchedule",
        ],
        "Deployment",
        Some(("/spec/template/spec/topologySpreadConstraints/0/topologyKey", "\"zone\"")),
    ),
];

const IMAGE: &str = "/spec/template/spec/containers/0/image";

/// Sets values as the command line of Helm does; a text that looks like something else stays a text.
fn set(values: &[&str]) -> Outcome<Objects> {
    let flags: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
    objects(&helm(&flags)?)
}

/// Every value does what it says, and what comes of it is taken by a real API server in a namespace that enforces Pod
/// Security.
#[tokio::test]
async fn values_do_what_they_say() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    cluster.apply(&list([one(&objects(&kustomize("base")?)?, "Namespace")?])).await?;
    let (mut all, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (values, kind, expected) in CASES {
        names.extend(values.iter().map(|value| value.split(['=', '[']).next().unwrap_or_default()));
        let rendered = set(values)?;
        let found = one(&rendered, kind).ok();
        match expected {
            None => assert!(found.is_none(), "{values:?}: {kind}"),
            Some((path, expected)) => {
                let value = found.and_then(|object| object.pointer(path)).map(Value::to_string);
                assert_eq!(value.as_deref(), Some(*expected), "{values:?}: {kind} {path}\n{found:#?}");
            }
        }
        all.extend(rendered.into_values().map(|object| object.to_string()));
    }
    let untried: Vec<_> =
        documented()?.into_iter().filter(|entry| !names.iter().any(|name| within(name, entry))).collect();
    assert!(untried.is_empty(), "no case sets {untried:?}");
    let all: Vec<Value> = all.iter().map(|text| serde_json::from_str(text)).collect::<Result<_, _>>()?;
    assert!(all.len() > CASES.len() / 2, "{} objects", all.len());
    server::taken(&cluster, "what the chart renders", &list(&all)).await
}

/// The names of all values.
fn documented() -> Outcome<Vec<String>> {
    Ok(values::entries()?.into_iter().map(|entry| entry.name).collect())
}

/// Whether setting a value sets an entry, or a part of it.
fn within(name: &str, entry: &str) -> bool {
    name == entry || name.strip_prefix(entry).is_some_and(|rest| rest.starts_with('.'))
}
