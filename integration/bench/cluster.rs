//! A large cluster behind a real API server: how long until chancery is ready, what that takes of it and of the API server,
//! beside a bare lister that asks for the same pages and throws them away.

use super::figures::{Row, Verdict};
use super::harness::addresses::Subnet;
use super::harness::chancery::Chancery;
use super::harness::cluster::{ADMIN, Cluster, Options};
use super::harness::{Failure, Outcome};
use chancery::source::kubernetes;
use kube::Client;
use kube::core::Request;
use kube::core::params::ListParams;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How much there is.
const NAMESPACES: usize = 50;
const SERVICES: usize = 10_000;
/// Pods of a Service; its first slice has three of them, its second the rest.
const PODS: usize = 5;
/// Objects of a page, as chancery asks for them.
const PAGE: u32 = 500;
/// What is listed.
const PATHS: [&str; 3] = ["/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices", "/api/v1/pods"];
/// How long a start may take.
const LIMIT: Duration = Duration::from_secs(180);

/// The row; none where there is no control plane.
pub fn cluster() -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.expect("a runtime").block_on(measure()) {
        Ok(row) => vec![row],
        Err(failure) => {
            println!("no cluster is measured: {failure}");
            Vec::new()
        }
    }
}

async fn measure() -> Outcome<Row> {
    let cluster = Cluster::start(Options::default()).await?;
    fill(&cluster).await?;
    let client = kubernetes::client_of(Some(&cluster.kubeconfig(ADMIN)), None).await;
    let client = client.map_err(|error| Failure::new(error.to_string()))?;
    // The first list makes the API server read everything from etcd.
    list_all(&client).await?;
    let mut bare = [list_all(&client).await?, Duration::ZERO];
    let before = Load::of(&cluster).await?;
    let (subnet, folder) = (Subnet::take()?, tempfile::tempdir()?);
    let log = folder.path().join("chancery.log");
    let mut chancery = Chancery::of_cluster(&subnet, 1, &cluster.kubeconfig(ADMIN), log)?;
    let began = Instant::now();
    chancery.launch()?;
    chancery.ready(LIMIT).await?;
    let ready = began.elapsed();
    let after = Load::of(&cluster).await?;
    let pid = chancery.pid().ok_or_else(|| Failure::new("chancery isn't running"))?;
    let peak = memory(pid, "VmHWM:")?;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let rest = memory(pid, "VmRSS:")?;
    bare[1] = list_all(&client).await?;
    let floor = bare.iter().map(Duration::as_secs_f64).sum::<f64>() / 2.0;
    let ratio = ready.as_secs_f64() / floor;
    let case = format!("{SERVICES} Services, {} slices, {} Pods", 2 * SERVICES, PODS * SERVICES);
    Ok(Row::new("cluster", case)
        .also("start to ready", ready.as_secs_f64(), "s")
        .also("bare lister", floor, "s")
        .also("memory", rest, "MB")
        .also("most memory", peak, "MB")
        .also("requests", after.requests - before.requests, "")
        .also("API server's CPU", after.cpu - before.cpu, "s")
        .verdict(Verdict::at_most("ready, to the bare lister", ratio, 1.3, "x"))
        .verdict(Verdict::at_most("memory of a large cluster", rest, 400.0, "MB")))
}

/// What the API server has done so far.
struct Load {
    requests: f64,
    cpu: f64,
}

impl Load {
    async fn of(cluster: &Cluster) -> Outcome<Self> {
        let metrics = cluster.metrics().await?;
        let requests = metrics.sum("apiserver_request_total", &[]);
        Ok(Self { requests, cpu: metrics.sum("process_cpu_seconds_total", &[]) })
    }
}

/// A value of a process in MB.
fn memory(pid: u32, what: &str) -> Outcome<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kilobytes: Option<f64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    Ok(kilobytes.ok_or_else(|| Failure::new(format!("{what} of {pid}")))? / 1024.0)
}

/// A page of which only its end is read.
#[derive(Deserialize)]
struct Page {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    r#continue: String,
}

/// How long it takes to be given everything.
async fn list_all(client: &Client) -> Outcome<Duration> {
    let began = Instant::now();
    let mut lists = JoinSet::new();
    PATHS.into_iter().for_each(|path| _ = lists.spawn(list(client.clone(), path)));
    while let Some(listed) = lists.join_next().await {
        listed.map_err(|error| Failure::new(error.to_string()))??;
    }
    Ok(began.elapsed())
}

async fn list(client: Client, path: &'static str) -> Outcome<()> {
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let failed = |error: kube::Error| Failure::new(format!("{path}: {error}"));
        let request = Request::new(path).list(&params).map_err(|error| Failure::new(error.to_string()))?;
        let text = client.request_text(request).await.map_err(failed)?;
        let page: Page = serde_json::from_str(&text)?;
        if page.metadata.r#continue.is_empty() {
            return Ok(());
        }
        params.continue_token = Some(page.metadata.r#continue);
    }
}

/// Writes everything into etcd: through the API server it would take many minutes.
async fn fill(cluster: &Cluster) -> Outcome<()> {
    let namespaces = (0..NAMESPACES).map(|index| {
        let name = format!("ns{index}");
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata(None, &name, index),
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        (format!("namespaces/{name}"), object)
    });
    cluster.write(&namespaces.collect::<Vec<_>>()).await?;
    for first in (0..SERVICES).step_by(100) {
        let objects: Vec<_> = (first..(first + 100).min(SERVICES)).flat_map(of_service).collect();
        cluster.write(&objects).await?;
    }
    Ok(())
}

fn metadata(namespace: Option<&str>, name: &str, index: usize) -> Value {
    let uid = format!("00000000-0000-4000-8000-{index:012x}");
    let mut metadata = json!({"name": name, "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    metadata
}

/// A Service, its slices and its Pods.
fn of_service(index: usize) -> Vec<(String, Value)> {
    let (namespace, name) = (format!("ns{}", index % NAMESPACES), format!("service-{index}"));
    let address = |low: usize| format!("10.{}.{}.{}", 100 + low / 65_536, low / 256 % 256, low % 256);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(Some(&namespace), &name, index),
        "spec": {"clusterIP": address(index), "clusterIPs": [address(index)], "type": "ClusterIP", "sessionAffinity": "None",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
            "selector": {"app": name}, "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]},
        "status": {"loadBalancer": {}}});
    let mut objects = vec![(format!("services/specs/{namespace}/{name}"), service)];
    let pod_name = |pod: usize| format!("{name}-7d9f8c6b5d-{pod:05}");
    let pod_address = |pod: usize| address(1_000_000 + index * PODS + pod);
    for (slice, pods) in [0..3, 3..PODS].into_iter().enumerate() {
        let endpoints: Vec<_> = pods
            .map(|pod| {
                json!({"addresses": [pod_address(pod)], "nodeName": format!("node-{}", pod % 100),
                    "conditions": {"ready": true, "serving": true, "terminating": false},
                    "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod_name(pod),
                        "uid": format!("00000000-0000-4000-8001-{:012x}", index * PODS + pod)}})
            })
            .collect();
        let mut metadata = metadata(Some(&namespace), &format!("{name}-{slice}"), index * 2 + slice);
        metadata["labels"] = json!({"kubernetes.io/service-name": name, "app": name,
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"});
        let object = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "protocol": "TCP", "port": 8080}]});
        objects.push((format!("endpointslices/{namespace}/{name}-{slice}"), object));
    }
    objects
        .extend((0..PODS).map(|pod| of_pod(&namespace, &name, &pod_name(pod), &pod_address(pod), index * PODS + pod)));
    objects
}

/// A Pod as large as they are: with what managers of its fields leave, environment and probes.
fn of_pod(namespace: &str, app: &str, name: &str, address: &str, index: usize) -> (String, Value) {
    let mut metadata = metadata(Some(namespace), name, index);
    metadata["labels"] = json!({"app": app, "version": "v1", "pod-template-hash": "7d9f8c6b5d"});
    let fields: serde_json::Map<_, _> = (0..12).map(|field| (format!("f:spec-{field}"), json!({".": {}}))).collect();
    let manager = |name: &str| {
        json!({"manager": name, "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": fields}})
    };
    metadata["managedFields"] = json!([manager("kube-controller-manager"), manager("kubelet")]);
    let environment: Vec<_> =
        (0..10).map(|at| json!({"name": format!("VARIABLE_{at}"), "value": format!("value of it {at}")})).collect();
    let container = json!({"name": "app", "image": "registry.example/app:1.2.3", "env": environment,
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}, "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent"});
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}));
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"nodeName": format!("node-{}", index % 100), "serviceAccountName": "default", "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "securityContext": {},
            "schedulerName": "default-scheduler", "containers": [container]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}});
    (format!("pods/{namespace}/{name}"), object)
}
