//! The fields of EndpointSlice, of the Kubernetes whose types the parser reads.

use super::Shape::{Choice, Flag, List, Object, Text, Whole};
use super::{Field, TEXT_MAP, TEXTS};

/// The object's fields; of its metadata those that are read.
pub const FIELDS: &[Field] = &[
    Field::done("metadata", Object(METADATA), "the namespace is that of the Service"),
    Field::done("addressType", Choice(&["IPv4", "IPv6"]), "what the addresses are; FQDN is an error"),
    Field::done("ports", List(&Object(PORT)), "the ports of every endpoint of the slice"),
    Field::done("endpoints", List(&Object(ENDPOINT)), "the endpoints"),
];

const METADATA: &[Field] = &[Field::done("labels", Object(LABELS), "which Service it is, and whose the slice")];

const LABELS: &[Field] = &[
    Field::done("kubernetes.io/service-name", Text, "the Service whose endpoints these are"),
    Field::done(
        "endpointslice.kubernetes.io/managed-by",
        Text,
        "what Kubernetes' controller doesn't keep gets a warning if it names Pods of other namespaces",
    ),
];

const PORT: &[Field] = &[
    Field::done("name", Text, "which port of the Service this is"),
    Field::done("port", Whole, "the number on the endpoints; a port without one has no endpoints"),
    Field::silent("protocol", Text, "the Service's port says it"),
    Field::silent("appProtocol", Text, "the Service's port says it"),
];

const ENDPOINT: &[Field] = &[
    Field::done("addresses", TEXTS, "where the endpoint is: the first address, as Kubernetes gives others no meaning"),
    Field::done("conditions", Object(CONDITIONS), "whether the endpoint gets requests"),
    Field::done("targetRef", Object(TARGET), "which Pod the endpoint is"),
    Field::done("nodeName", Text, "the Node whose region, zone and subzone are the endpoint's"),
    Field::done("zone", Text, "the endpoint's zone, which wins against that of the Node"),
    Field::done("hints", Object(HINTS), "for whom the endpoint is meant, where the Service asks for that"),
    Field::silent("hostname", Text, "it is for DNS"),
    Field::silent("deprecatedTopology", TEXT_MAP, "zone and nodeName say it"),
];

const CONDITIONS: &[Field] = &[
    Field::done("ready", Flag, "whether it takes requests; true if none"),
    Field::done(
        "terminating",
        Flag,
        "whether it is going away: it is left out unless it is ready, or serves and none is ready",
    ),
    Field::done("serving", Flag, "whether it takes requests even now that it goes away; true if none"),
];

const TARGET: &[Field] = &[
    Field::done("kind", Text, "only Pod means something"),
    Field::done("name", Text, "the Pod's name: its labels decide which subsets the endpoint is in"),
    Field::silent("namespace", Text, "it is the slice's own"),
    Field::silent("apiVersion", Text, "kind and name say enough"),
    Field::silent("fieldPath", Text, "kind and name say enough"),
    Field::silent("resourceVersion", Text, "kind and name say enough"),
    Field::done("uid", Text, "tells the Pod from its successor of the same name"),
];

const HINTS: &[Field] = &[
    Field::done(
        "forZones",
        List(&Object(FOR)),
        "they win against the endpoint's own zone, if all ready ones have them",
    ),
    Field::done(
        "forNodes",
        List(&Object(FOR)),
        "they win against the endpoint's own Node, if all ready ones have them",
    ),
];

const FOR: &[Field] = &[Field::done("name", Text, "for whom the endpoint is meant")];
