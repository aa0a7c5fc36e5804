//! The objects of a large cluster, as an API server keeps them.

use super::super::harness::Outcome;
use super::super::harness::cluster::Cluster;
use serde_json::{Value, json};

/// How much there is.
pub const NAMESPACES: usize = 50;
pub const SERVICES: usize = 10_000;
/// Pods of a Service; its first slice has three of them, its second the rest.
pub const PODS: usize = 5;
/// Pods of the proxies that connect.
pub const PROXIES: usize = 100;

/// Writes everything into etcd: through the API server it would take many minutes.
pub async fn fill(cluster: &Cluster) -> Outcome<()> {
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
    let proxies = (0..PROXIES).map(|index| {
        let address = format!("10.99.0.{}", index + 1);
        of_pod(&format!("ns{}", index % NAMESPACES), "proxy", &format!("p{index}"), &address, 10_000_000 + index)
    });
    cluster.write(&proxies.collect::<Vec<_>>()).await
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
pub fn of_pod(namespace: &str, app: &str, name: &str, address: &str, index: usize) -> (String, Value) {
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
