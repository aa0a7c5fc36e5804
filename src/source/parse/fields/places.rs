//! The fields of Namespace, Node and Pod that are read; all their others have no effect and nothing is said of them.

use super::Shape::{Flag, List, Object, Text, Whole};
use super::{Field, TEXT_MAP};

/// Of a Namespace.
pub const NAMESPACE: &[Field] = &[Field::done("metadata", Object(NAMESPACE_METADATA), "what describes the Namespace")];

/// Of a Node.
pub const NODE: &[Field] = &[Field::done("metadata", Object(NODE_METADATA), "what describes the Node")];

/// Of a Pod.
pub const POD: &[Field] = &[
    Field::done("metadata", Object(LABELLED), "what describes the Pod"),
    Field::done("spec", Object(POD_SPEC), "what the Pod shall be"),
    Field::done("status", Object(POD_STATUS), "what the Pod is"),
];

const NAMESPACE_METADATA: &[Field] = &[Field::done("labels", TEXT_MAP, "what MeshConfig.discoverySelectors select by")];

const LABELLED: &[Field] = &[Field::done(
    "labels",
    TEXT_MAP,
    "what selectors select by; security.istio.io/tlsMode: istio says that its proxy takes mutual TLS",
)];

const NODE_METADATA: &[Field] = &[Field::done("labels", Object(TOPOLOGY), "where the Node stands")];

const TOPOLOGY: &[Field] = &[
    Field::done("topology.kubernetes.io/region", Text, "the region of its endpoints"),
    Field::done("topology.kubernetes.io/zone", Text, "the zone of its endpoints that don't say their own"),
    Field::done("topology.istio.io/subzone", Text, "the subzone of its endpoints"),
];

const POD_SPEC: &[Field] = &[
    Field::done("serviceAccountName", Text, "as whom its certificate names it to clients; default if none"),
    Field::done("nodeName", Text, "where its proxy is, for Services whose endpoints are chosen by that"),
    Field::done("hostNetwork", Flag, "whether its addresses are its Node's"),
    Field::done("containers", List(&Object(CONTAINER)), "what runs in it"),
    Field::done("initContainers", List(&Object(SIDECAR)), "what runs in it before; of those, what goes on"),
];

const SIDECAR: &[Field] = &[
    Field::done("restartPolicy", Text, "Always, if it goes on as a sidecar: only then are its ports read"),
    Field::done("ports", List(&Object(CONTAINER_PORT)), "the ports a targetPort can name"),
];

const CONTAINER: &[Field] = &[Field::done("ports", List(&Object(CONTAINER_PORT)), "the ports a targetPort can name")];

const CONTAINER_PORT: &[Field] = &[
    Field::done("name", Text, "the name; one that stands twice means its first"),
    Field::done("containerPort", Whole, "the number"),
    Field::done("protocol", Text, "only ports of TCP, which is meant if none, can be named"),
];

const POD_STATUS: &[Field] = &[
    Field::done("podIPs", List(&Object(POD_IP)), "the Pod's addresses"),
    Field::done("podIP", Text, "the Pod's address, where podIPs is absent"),
];

const POD_IP: &[Field] = &[Field::done("ip", Text, "one address")];
