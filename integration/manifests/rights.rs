//! Each right of the roles is needed: chancery runs as its ServiceAccount with all of them but those to one verb, and says
//! of each kind that it may not. And nothing else is: with all of them it is refused nothing.

use crate::harness::addresses::Subnet;
use crate::harness::api::Kind;
use crate::harness::chancery::Chancery;
use crate::harness::cluster::{ADMIN, Cluster, Definitions, Options, TRUST_BUNDLES};
use crate::harness::{Failure, Outcome, deadline};
use crate::rendered::{NAMESPACE, Objects, helm, kustomize, list, objects, one};
use crate::{container, shared};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use tempfile::TempDir;

/// How long it may take to notice.
const SOON: Duration = Duration::from_secs(30);

/// A right as the API server names it when it refuses.
type Right = (String, String, String);

/// The strings of a list.
fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// Every right that the roles give: verb, resource and group.
fn rights(objects: &Objects) -> BTreeSet<Right> {
    let rules = objects.values().filter_map(|object| object["rules"].as_array()).flatten();
    let mut found = BTreeSet::new();
    for rule in rules {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let right = |verb| (verb, resource.clone(), group.clone());
                found.extend(texts(&rule["verbs"]).into_iter().map(right));
            }
        }
    }
    found
}

/// The same objects for a namespace of their own, without the rights to a verb.
fn without(objects: &Objects, verb: &str, namespace: &str) -> Objects {
    reduced(objects, namespace, |other, _| other == verb)
}

/// The same objects for a namespace of their own, without those rights, of a verb and of the resources of a rule.
fn reduced(objects: &Objects, namespace: &str, lacks: impl Fn(&str, &[String]) -> bool) -> Objects {
    let mut changed = objects.clone();
    for object in changed.values_mut() {
        if ["ClusterRole", "ClusterRoleBinding"].iter().any(|kind| object["kind"] == *kind) {
            object["metadata"]["name"] = namespace.into();
        }
        if object["kind"] == "ClusterRoleBinding" {
            object["roleRef"]["name"] = namespace.into();
        }
        for rule in object.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
            let resources = texts(&rule["resources"]);
            let verbs: Vec<_> = texts(&rule["verbs"]).into_iter().filter(|verb| !lacks(verb, &resources)).collect();
            rule["verbs"] = verbs.into();
        }
        if let Some(rules) = object.get_mut("rules").and_then(Value::as_array_mut) {
            rules.retain(|rule| rule["verbs"] != Value::Array(Vec::new())); // The API server takes no rule without any.
        }
        let text = object.to_string().replace(NAMESPACE, namespace);
        *object = serde_json::from_str(&text).expect("one name in place of another");
    }
    changed
}

/// chancery as the ServiceAccount of a namespace.
struct Watcher {
    chancery: Chancery,
    log: std::path::PathBuf,
    _files: TempDir,
}

impl Watcher {
    /// Makes the objects that it needs, and starts it.
    async fn start(
        cluster: &Cluster,
        objects: &Objects,
        namespace: &str,
        (subnet, host): (&Subnet, u8),
    ) -> Outcome<Self> {
        let kinds = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
        let needed = objects.values().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind));
        cluster.apply(&list([one(objects, "Namespace")?].into_iter().chain(needed))).await?;
        let files = tempfile::Builder::new().prefix("chancery-").tempdir()?;
        let log = files.path().join("log");
        let account = cluster.account(namespace, "chancery").await?;
        let mut chancery = Chancery::of_cluster(subnet, host, &account, log.clone())?;
        let (spec, ip) = (&one(objects, "Deployment")?["spec"]["template"]["spec"], subnet.ip(host).to_string());
        let arguments = container::arguments(spec, &container::variables(spec, namespace, &ip)?, &ip);
        // It was given ports of its own, and its log is to be read as text.
        let other = ["serve", "--xds-address", "--admin-", "--log-format"];
        let flags = arguments.into_iter().filter(|flag| !other.iter().any(|other| flag.starts_with(other)));
        chancery.flags = flags.chain(["--namespace", namespace, "--watch-seconds", "4"].map(str::to_owned)).collect();
        chancery.secure = true;
        chancery.launch()?;
        Ok(Self { chancery, log, _files: files })
    }

    /// Everything that it says to those who ask.
    async fn said(&self) -> Outcome<String> {
        let api = self.chancery.api();
        let kinds: Vec<_> =
            api.kinds().await?.iter().map(|kind| format!("{}: {}", kind.resource, kind.reason)).collect();
        Ok([kinds.join("\n"), api.readiness().await?, std::fs::read_to_string(&self.log)?].join("\n"))
    }

    /// Waits until that is how it stands with the Secrets of namespaces.
    async fn follows_secrets(&self, state: &str) -> Outcome<()> {
        let (api, what) = (self.chancery.api(), format!("Secrets are {state}"));
        let is = async || (api.kind("secrets").await.ok()?.state == state).then_some(());
        deadline::until(&what, SOON, is).await.map_err(|failure| failure.with(&self.chancery.tail()))
    }

    /// Waits until it has said of each right that it lacks it.
    async fn misses(&self, rights: &[&Right]) -> Outcome<()> {
        let mut left = Vec::new();
        let noticed = deadline::until("it says what it may not do", SOON, async || {
            let said = self.said().await.ok()?;
            left = rights.iter().filter(|right| !said.contains(&refusal(right))).collect();
            left.is_empty().then_some(())
        });
        let noticed = noticed.await;
        noticed.map_err(|failure| failure.with(&format!("nobody misses {left:?}")).with(&self.chancery.tail()))
    }
}

/// Rights that it takes longer to miss: a Lease of a replica that is gone is removed after two minutes.
const LATE: [(&str, &str); 1] = [("delete", "leases")];

/// Rights that take more to be missed: to lead, or to find that there is no authority yet, which takes other rights to the same
/// verb.
const WITH_MORE: [(&str, &str); 3] = [("create", "events"), ("create", "configmaps"), ("get", "configmaps")];

/// Groups, kinds and what to say of each, so that there is an object of every kind that is told what became of it.
const TOLD: [(&str, &str, &str); 14] = [
    ("networking.istio.io/v1", "DestinationRule", "{host: a}"),
    ("networking.istio.io/v1", "VirtualService", "{hosts: [a], http: [{route: [{destination: {host: a}}]}]}"),
    ("networking.istio.io/v1", "Sidecar", "{}"),
    ("networking.istio.io/v1", "ServiceEntry", "{hosts: [a.example.com], ports: [{number: 80, name: http}]}"),
    (
        "networking.istio.io/v1",
        "Gateway",
        "{servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}",
    ),
    ("networking.istio.io/v1", "WorkloadEntry", "{address: 10.9.9.9}"),
    ("networking.istio.io/v1", "WorkloadGroup", "{template: {serviceAccount: a}}"),
    ("networking.istio.io/v1alpha3", "EnvoyFilter", "{}"),
    ("networking.istio.io/v1beta1", "ProxyConfig", "{}"),
    ("security.istio.io/v1", "PeerAuthentication", "{}"),
    ("security.istio.io/v1", "AuthorizationPolicy", "{}"),
    ("security.istio.io/v1", "RequestAuthentication", "{}"),
    ("telemetry.istio.io/v1", "Telemetry", "{}"),
    ("extensions.istio.io/v1alpha1", "WasmPlugin", "{url: 'file:///opt/a.wasm'}"),
];

/// What the API server takes and chancery doesn't.
const BROKEN: &str = "{hosts: [b], http: [{match: [{uri: {regex: 'a**'}}], route: [{destination: {host: b}}]}]}";

/// An object of each of these kinds.
fn told() -> String {
    let object = |(version, kind, spec): &(&str, &str, &str)| {
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a, namespace: default}}\nspec: {spec}\n")
    };
    // Of what is broken there is an Event.
    let broken = ("networking.istio.io/v1", "VirtualService", BROKEN);
    let broken = object(&broken).replace("name: a", "name: broken");
    TOLD.iter().map(object).chain([broken]).collect::<Vec<_>>().join("---\n")
}

fn is_late((verb, resource, _): &Right) -> bool {
    LATE.contains(&(verb, resource))
}

/// How the API server words it.
fn refusal((verb, resource, group): &Right) -> String {
    format!("cannot {verb} resource \"{resource}\" in API group \"{group}\"")
}

#[tokio::test]
async fn each_right_is_needed_and_no_other() -> Outcome<()> {
    let options = Options { definitions: Definitions::ALL.into(), ..Options::default() };
    let (cluster, _held) = shared::own(options).await?;
    let (all, subnet) = (objects(&kustomize("base")?)?, Subnet::take()?);
    let rights = rights(&all);
    let verbs: BTreeSet<&String> = rights.iter().map(|(verb, ..)| verb).collect();
    cluster.apply(&told()).await?;
    for (verb, host) in verbs.into_iter().zip(2..) {
        let namespace = format!("rights-but-{verb}");
        let fewer = without(&all, verb, &namespace);
        let watcher = Watcher::start(&cluster, &fewer, &namespace, (&subnet, host)).await?;
        let here = |(verb, resource, _): &Right| !WITH_MORE.contains(&(verb, resource));
        let missing = rights.iter().filter(|right| right.0 == *verb && !is_late(right) && here(right));
        let missing: Vec<_> = missing.collect();
        watcher.misses(&missing).await.map_err(|failure| failure.with(&format!("without {verb}")))?;
        let unused = (verb.clone(), "endpoints".to_owned(), String::new());
        assert!(!watcher.said().await?.contains(&refusal(&unused)), "the control: nobody misses what nobody uses");
    }
    // Only now: what it has written none of the others would have to.
    let full = without(&all, "", "rights-of-all");
    let mut full = Watcher::start(&cluster, &full, "rights-of-all", (&subnet, 1)).await?;
    full.chancery.ready(SOON).await?;
    deadline::until("every kind is watched", SOON, async || {
        let kinds = full.chancery.api().kinds().await.ok()?;
        kinds.iter().all(|kind| kind.state == "watching").then_some(())
    })
    .await?;
    deadline::until("every object is told what became of it", SOON, async || {
        let status = full.chancery.api().status().await.ok()?;
        (status.state == "leading" && status.waiting == 0).then_some(())
    })
    .await?;
    if let Some(line) = full.said().await?.lines().find(|line| line.contains("cannot ")) {
        return Err(Failure::new(format!("it lacks a right: {line}")));
    }
    full.chancery.kill()?;
    // With all but one it leads, and misses that one.
    for ((verb, resource), host) in WITH_MORE.into_iter().zip(20..) {
        let namespace = format!("rights-but-{verb}-{resource}");
        let lacks = |other: &str, resources: &[String]| other == verb && resources.iter().any(|one| one == resource);
        let fewer = reduced(&all, &namespace, lacks);
        let watcher = Watcher::start(&cluster, &fewer, &namespace, (&subnet, host)).await?;
        let right = rights.iter().filter(|right| (&*right.0, &*right.1) == (verb, resource)).collect::<Vec<_>>();
        assert_eq!(right.len(), 1);
        watcher.misses(&right).await.map_err(|failure| failure.with(&namespace))?;
    }
    Ok(())
}

/// Where only some namespaces are followed, the rights to these are enough for all but what is in none.
#[tokio::test]
async fn rights_to_some_namespaces_are_enough() -> Outcome<()> {
    let options = Options { definitions: Definitions::ALL.into(), ..Options::default() };
    let (cluster, _held) = shared::own(options).await?;
    let (all, subnet) = (objects(&kustomize("overlays/namespaced")?)?, Subnet::take()?);
    assert!(one(&all, "ClusterRole").is_err() && one(&all, "ClusterRoleBinding").is_err());
    let all = without(&all, "", "rights-to-some");
    let mut watcher = Watcher::start(&cluster, &all, "rights-to-some", (&subnet, 1)).await?;
    watcher.chancery.ready(SOON).await?;
    let state = |kind: &Kind| match &*kind.resource {
        "nodes" | "namespaces" | "gatewayclasses.gateway.networking.k8s.io" | "xmeshes.gateway.networking.x-k8s.io" => {
            "denied"
        }
        _ => "watching",
    };
    deadline::until("every other kind is watched", SOON, async || {
        let kinds = watcher.chancery.api().kinds().await.ok()?;
        kinds.iter().all(|kind| kind.state == state(kind)).then_some(())
    })
    .await
    .map_err(|failure| failure.with(&watcher.chancery.tail()))
}

/// What is installed, and the Secrets of its own namespace may be read.
fn with_secrets() -> Outcome<Objects> {
    let mut all = objects(&kustomize("base")?)?;
    for (name, mut object) in objects(&kustomize("secrets")?)? {
        object["metadata"]["namespace"] = NAMESPACE.into();
        all.insert(format!("{name}, in {NAMESPACE}"), object);
    }
    let deployment = all.values_mut().find(|object| object["kind"] == "Deployment");
    let args =
        deployment.and_then(|object| object.pointer_mut("/spec/template/spec/containers/0/args")?.as_array_mut());
    let args = args.ok_or_else(|| Failure::new("there is no Deployment with arguments"))?;
    args.push(format!("--secret-namespaces={NAMESPACE}").into());
    Ok(all)
}

/// Each right to the Secrets of a namespace is needed: without one they are not followed, and it is said which; with both they are.
#[tokio::test]
async fn each_right_to_secrets_of_a_namespace_is_needed() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    let (all, subnet, given) = (with_secrets()?, Subnet::take()?, rights(&objects(&kustomize("secrets")?)?));
    assert_eq!(given.len(), 2, "to list and to watch");
    let full = reduced(&all, "rights-secrets", |_, _| false);
    let watcher = Watcher::start(&cluster, &full, "rights-secrets", (&subnet, 1)).await?;
    watcher.follows_secrets("watching").await?;
    for (right, host) in given.iter().zip(2..) {
        let namespace = format!("rights-secrets-but-{}", right.0);
        let lacks = |verb: &str, resources: &[String]| verb == right.0 && resources == ["secrets"];
        let fewer = reduced(&all, &namespace, lacks);
        let watcher = Watcher::start(&cluster, &fewer, &namespace, (&subnet, host)).await?;
        watcher.misses(&[right]).await.map_err(|failure| failure.with(&namespace))?;
        watcher.follows_secrets("denied").await?;
    }
    Ok(())
}

/// Those that it takes longer to miss, for who has the time.
#[tokio::test]
#[ignore = "takes more than two minutes"]
async fn late_rights_are_needed_too() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    let (all, subnet) = (objects(&kustomize("base")?)?, Subnet::take()?);
    let fewer = without(&all, "delete", "rights-late");
    let mut gone = Watcher::start(&cluster, &fewer, "rights-late", (&subnet, 1)).await?;
    deadline::until("it has a Lease", SOON, async || {
        let found = cluster.kubectl(&["get", "leases", "-n", "rights-late", "-o", "name"]).await.ok()?;
        found.contains("chancery-peer-").then_some(())
    })
    .await?;
    gone.chancery.kill()?;
    let mut deployment = fewer;
    for object in deployment.values_mut().filter(|object| object["kind"] == "Deployment") {
        let args = object.pointer_mut("/spec/template/spec/containers/0/args").and_then(Value::as_array_mut);
        args.into_iter()
            .flatten()
            .filter(|flag| flag.as_str().is_some_and(|flag| flag.starts_with("--replica")))
            .for_each(|flag| *flag = "--replica=another".into());
    }
    let another = Watcher::start(&cluster, &deployment, "rights-late", (&subnet, 2)).await?;
    let late = rights(&all).into_iter().filter(is_late).collect::<Vec<_>>();
    assert_eq!(late.len(), LATE.len());
    let noticed = deadline::until("it says what it may not do", Duration::from_secs(150), async || {
        let said = another.said().await.ok()?;
        late.iter().all(|right| said.contains(&refusal(right))).then_some(())
    });
    noticed.await.map_err(|failure| failure.with(&another.chancery.tail()))
}

/// What a flag of its own needs is there with that flag only.
#[tokio::test]
async fn what_a_value_asks_for_is_allowed_with_it_only() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options { flags: TRUST_BUNDLES.into(), ..Options::default() }).await?;
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:chancery");
    let may = async |right: &[&str]| -> Outcome<String> {
        let asked = [&["auth", "can-i"][..], right, &[account.as_str()]].concat();
        Ok(cluster.try_kubectl(ADMIN, &asked, "").await?.output.trim().to_owned())
    };
    let rights: [(&str, &[&str]); 3] = [
        ("xds.tokenReview=true", &["create", "tokenreviews.authentication.k8s.io"]),
        ("xds.trustBundle=roots", &["create", "clustertrustbundles.certificates.k8s.io"]),
        ("xds.trustBundle=roots", &["patch", "clustertrustbundles.certificates.k8s.io/roots"]),
    ];
    let apply = async |values: &[&str]| -> Outcome<()> {
        let objects = objects(&helm(values)?)?;
        let kinds = ["ClusterRole", "ClusterRoleBinding"];
        cluster.apply(&list(objects.values().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind)))).await
    };
    apply(&[]).await?;
    for (value, right) in rights {
        assert_eq!(may(right).await?, "no", "{right:?} without {value}");
    }
    apply(&["--set", "xds.tokenReview=true", "--set", "xds.trustBundle=roots"]).await?;
    for (value, right) in rights {
        assert_eq!(may(right).await?, "yes", "{right:?} with {value}");
    }
    assert_eq!(may(&["patch", "clustertrustbundles.certificates.k8s.io/others"]).await?, "no", "no other");
    Ok(())
}

/// Of Leases by name the one of the replica that writes status may be read and renewed, and nobody else's: what chancery's service
/// account may do in its namespace, asked of the API server.
#[tokio::test]
async fn leases_of_others_are_out_of_reach() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    cluster.namespace(NAMESPACE).await?;
    let rendered = [("base", kustomize("base")?), ("the chart", helm(&[])?)];
    for (name, rendered) in rendered {
        let (all, kinds) = (objects(&rendered)?, ["Role", "RoleBinding"]);
        let needed = all.values().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind));
        cluster.apply(&list(needed)).await?;
        let account = format!("--as=system:serviceaccount:{NAMESPACE}:chancery");
        for (verb, lease, expected) in [
            ("get", "/chancery", "yes"),
            ("update", "/chancery", "yes"),
            ("get", "/others", "no"),
            ("update", "/others", "no"),
            ("get", "", "no"),
            ("list", "", "yes"),
            ("patch", "/chancery-peer-a", "yes"),
        ] {
            let resource = format!("leases.coordination.k8s.io{lease}");
            let asked = ["auth", "can-i", verb, &resource, "-n", NAMESPACE, &account];
            let told = cluster.try_kubectl(ADMIN, &asked, "").await?.output;
            assert_eq!(told.trim(), expected, "{name}: {verb} {resource}");
        }
        cluster.kubectl(&["delete", "roles,rolebindings", "--all", "-n", NAMESPACE]).await?;
    }
    Ok(())
}
