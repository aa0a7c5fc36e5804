//! The fields of Service, of the Kubernetes whose types the parser reads.

use super::Shape::{Any, Choice, Flag, List, Object, Text, Whole};
use super::{Field, TEXT_MAP, TEXTS};

/// The object's fields; of its metadata those that are read.
pub const FIELDS: &[Field] = &[
    Field::done("metadata", Object(METADATA), "name and namespace make the host"),
    Field::done("spec", Object(SPEC), "what the Service is"),
    Field::silent("status", Any, "it is the cluster's report"),
];

const METADATA: &[Field] = &[Field::done("annotations", Object(ANNOTATIONS), "what Kubernetes itself doesn't know")];

const ANNOTATIONS: &[Field] = &[
    Field::done(
        "networking.istio.io/exportTo",
        Text,
        "the namespaces the Service is there for: names, `.` or `*`, with commas between; the mesh's default if none",
    ),
    Field::done(
        "service.kubernetes.io/topology-mode",
        Text,
        "Auto, without trafficDistribution: endpoints whose hints name the proxy's zone come first, if all have hints",
    ),
];

const SPEC: &[Field] = &[
    Field::done("type", Text, "ExternalName makes the Service another name, for what externalName says"),
    Field::done(
        "clusterIP",
        Text,
        "the address clients use, where clusterIPs is absent; None makes the Service headless: clients pick its Pods",
    ),
    Field::done("clusterIPs", TEXTS, "the addresses clients use"),
    Field::done(
        "ports",
        List(&Object(PORT)),
        "what the Service offers; only one that is headless or of type ExternalName may have none",
    ),
    Field::done("publishNotReadyAddresses", Flag, "whether endpoints that aren't ready get requests too"),
    Field::done("selector", TEXT_MAP, "which Pods the Service is of: what they receive on its ports is its traffic"),
    Field::without("sessionAffinity", Text, "a DestinationRule's consistentHash keeps a client at an endpoint")
        .except(&[r#""None""#, r#""""#]),
    Field::without("sessionAffinityConfig", Object(AFFINITY), "sessionAffinity isn't there either").except(&["{}"]),
    Field::done(
        "internalTrafficPolicy",
        Text,
        "Local: only endpoints on the proxy's own Node get requests; nothing for a headless Service",
    ),
    Field::done(
        "trafficDistribution",
        Text,
        "PreferSameZone (also PreferClose) and PreferSameNode: endpoints there get all requests while one of them is healthy, \
         then those further away; nothing for a headless Service",
    ),
    Field::done(
        "externalName",
        Text,
        "with that type, the host of a Service that gets the requests, or a name that proxies look up in DNS",
    ),
    Field::silent("externalTrafficPolicy", Text, "kube-proxy heeds it for traffic from outside the cluster"),
    Field::silent("externalIPs", TEXTS, "kube-proxy accepts traffic for them on the nodes"),
    Field::done(
        "ipFamilies",
        TEXTS,
        "by which family Pods of both are called first, where no address in clusterIPs says it",
    ),
    Field::silent("ipFamilyPolicy", Text, "the cluster chooses addresses by it; clusterIPs says which"),
    Field::silent("allocateLoadBalancerNodePorts", Flag, "it is for load balancers outside the cluster"),
    Field::silent("healthCheckNodePort", Whole, "it is for load balancers outside the cluster"),
    Field::silent("loadBalancerClass", Text, "it is for load balancers outside the cluster"),
    Field::silent("loadBalancerIP", Text, "it is for load balancers outside the cluster"),
    Field::silent("loadBalancerSourceRanges", TEXTS, "it is for load balancers outside the cluster"),
];

const AFFINITY: &[Field] = &[Field::silent("clientIP", Object(CLIENT_IP), "how affinity to a client's address works")];

const CLIENT_IP: &[Field] = &[Field::silent("timeoutSeconds", Whole, "how long affinity lasts")];

const PORT: &[Field] = &[
    Field::done("name", Text, "the name slices refer to; its part before the first `-` says what the port speaks"),
    Field::done("port", Whole, "the number clients use"),
    Field::done("targetPort", Any, "the number, or the name, of the port on the Pods; the same number if none"),
    Field::done("appProtocol", Text, "what the port speaks; it wins against the name"),
    Field::done("protocol", Choice(&["TCP", "UDP", "SCTP"]), "TCP if none; ports of UDP and SCTP are not proxied"),
    Field::silent("nodePort", Whole, "kube-proxy accepts traffic for it on the nodes"),
];
