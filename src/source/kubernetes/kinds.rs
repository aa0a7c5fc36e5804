//! The table of watched kinds, one line each.

use crate::model::provenance::{ObjectKey, ObjectKind};
use crate::source::finding::Subject;
use std::collections::BTreeSet;
use std::fmt;

/// What it takes to be ready, as far as a kind is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// It must have been listed.
    Required,
    /// It must have been listed where the API server has it. It says who may talk, or how what is said is protected: what nobody lets us
    /// see may keep somebody out.
    Served,
    /// It must have been listed where the API server has it and lets us: its absence is somebody's decision.
    Optional,
}

/// What is done with objects of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// They are read as this.
    Read(ObjectKind),
    /// One of them, in our own namespace, holds the settings of the mesh.
    Settings,
    /// Nothing yet; each is said not to be in effect.
    Listed,
    /// The same of a kind that protects something.
    ListedSecurity,
}

/// One watched kind.
#[derive(PartialEq, Eq, Debug)]
pub struct Watched {
    /// The kind as written in a manifest.
    pub kind: &'static str,
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The versions it can be read in, the best first.
    pub versions: &'static [&'static str],
    /// The resource's name in a path.
    pub plural: &'static str,
    /// Which objects are asked for, as a field selector; empty for all.
    pub fields: &'static str,
    /// What it takes to be ready.
    pub need: Need,
    /// What is done with its objects.
    pub used: Use,
    /// The only namespace that is looked into, or, of Namespaces, at; none: all.
    pub within: Option<&'static str>,
}

impl Watched {
    /// Whether its objects are Namespaces, so that it is their name that says where they are watched.
    pub fn is_namespaces(&self) -> bool {
        self.used == Use::Read(ObjectKind::Namespace)
    }

    /// Whether its objects are in no namespace.
    pub fn is_cluster_wide(&self) -> bool {
        let core = matches!(self.used, Use::Read(ObjectKind::Namespace | ObjectKind::Node));
        core || [(GATEWAY, GATEWAY_CLASSES), (EXPERIMENTAL, MESHES)].contains(&(self.group, self.plural))
    }

    /// The kind, and where it is watched if that is not everywhere.
    pub fn place(&self) -> String {
        self.within.map_or_else(|| self.to_string(), |within| format!("{self} in {within}"))
    }

    /// What its objects are read as, if they are.
    pub fn read_as(&self) -> Option<ObjectKind> {
        match self.used {
            Use::Read(kind) => Some(kind),
            Use::Settings | Use::Listed | Use::ListedSecurity => None,
        }
    }

    /// Whether its objects are Secrets.
    pub fn is_secret(&self) -> bool {
        self.used == Use::Read(ObjectKind::Secret)
    }

    /// Whether its objects mean anything to proxies.
    pub fn is_in_effect(&self) -> bool {
        !matches!(self.used, Use::Listed | Use::ListedSecurity)
    }

    /// Whether a status of ours belongs on its objects. That of the Gateway API's kinds belongs to whoever takes their parent,
    /// which is not us, and TrafficSplits have none.
    pub fn has_status(&self) -> bool {
        self.group.ends_with(".istio.io")
    }

    /// What is said of one of its objects is said of this.
    pub fn subject(&self, namespace: &str, name: &str) -> Subject {
        match self.used {
            Use::Settings => Subject::from(&ObjectKey::mesh()),
            _ => Subject { kind: self.kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() },
        }
    }

    /// Whether only metadata is asked for.
    pub fn is_metadata_only(&self) -> bool {
        !self.is_in_effect() && !self.has_status()
    }

    /// The path of the resource in a version, in one namespace or in all.
    pub fn path(&self, version: &str, namespace: Option<&str>) -> String {
        let namespace = namespace.map_or_else(String::new, |namespace| format!("/namespaces/{namespace}"));
        format!("{}{namespace}/{}", self.group_path(version), self.plural)
    }

    /// The path of the group in a version.
    pub fn group_path(&self, version: &str) -> String {
        match self.group {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        }
    }

    /// What an object of that version has as `apiVersion`.
    pub fn api_version(&self, version: &str) -> String {
        match self.group {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plural)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

const ISTIO: &[&str] = &["v1", "v1beta1"];
const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const GATEWAY: &str = "gateway.networking.k8s.io";
const GATEWAY_CLASSES: &str = "gatewayclasses";
/// Where the Gateway API has kinds that may still go.
const EXPERIMENTAL: &str = "gateway.networking.x-k8s.io";
const MESHES: &str = "xmeshes";

const fn core(kind: ObjectKind, name: &'static str, plural: &'static str, need: Need) -> Watched {
    Watched { kind: name, group: "", versions: &["v1"], plural, fields: "", need, used: Use::Read(kind), within: None }
}

const fn policy(group: &'static str, kind: ObjectKind, name: &'static str, plural: &'static str) -> Watched {
    let used = Use::Read(kind);
    Watched { kind: name, group, versions: ISTIO, plural, fields: "", need: Need::Optional, used, within: None }
}

const fn protecting(kind: Watched) -> Watched {
    Watched { need: Need::Served, ..kind }
}

const fn listed(
    group: &'static str,
    versions: &'static [&'static str],
    kind: &'static str,
    plural: &'static str,
) -> Watched {
    Watched { kind, group, versions, plural, fields: "", need: Need::Optional, used: Use::Listed, within: None }
}

const fn security(kind: &'static str, plural: &'static str) -> Watched {
    Watched { used: Use::ListedSecurity, ..listed(SECURITY, ISTIO, kind, plural) }
}

/// Pods that will never answer again.
const ALIVE: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Every watched kind.
pub static KINDS: &[Watched] = &[
    core(ObjectKind::Namespace, "Namespace", "namespaces", Need::Required),
    core(ObjectKind::Service, "Service", "services", Need::Required),
    Watched {
        group: "discovery.k8s.io",
        ..core(ObjectKind::EndpointSlice, "EndpointSlice", "endpointslices", Need::Required)
    },
    Watched { fields: ALIVE, ..core(ObjectKind::Pod, "Pod", "pods", Need::Required) },
    core(ObjectKind::Node, "Node", "nodes", Need::Optional),
    Watched { used: Use::Settings, ..core(ObjectKind::MeshConfig, "ConfigMap", "configmaps", Need::Served) },
    protecting(policy(NETWORKING, ObjectKind::DestinationRule, "DestinationRule", "destinationrules")),
    policy(NETWORKING, ObjectKind::VirtualService, "VirtualService", "virtualservices"),
    policy(NETWORKING, ObjectKind::Sidecar, "Sidecar", "sidecars"),
    protecting(policy(SECURITY, ObjectKind::PeerAuthentication, "PeerAuthentication", "peerauthentications")),
    security("AuthorizationPolicy", "authorizationpolicies"),
    security("RequestAuthentication", "requestauthentications"),
    listed(NETWORKING, ISTIO, "ServiceEntry", "serviceentries"),
    listed(NETWORKING, ISTIO, "Gateway", "gateways"),
    listed(NETWORKING, ISTIO, "WorkloadEntry", "workloadentries"),
    listed(NETWORKING, ISTIO, "WorkloadGroup", "workloadgroups"),
    listed(NETWORKING, &["v1alpha3"], "EnvoyFilter", "envoyfilters"),
    listed(NETWORKING, &["v1beta1"], "ProxyConfig", "proxyconfigs"),
    listed("telemetry.istio.io", &["v1", "v1alpha1"], "Telemetry", "telemetries"),
    listed("extensions.istio.io", &["v1alpha1"], "WasmPlugin", "wasmplugins"),
    listed("split.smi-spec.io", &["v1alpha4", "v1alpha3", "v1alpha2", "v1alpha1"], "TrafficSplit", "trafficsplits"),
    listed(GATEWAY, &["v1", "v1beta1"], "GatewayClass", GATEWAY_CLASSES),
    listed(GATEWAY, &["v1", "v1beta1"], "Gateway", "gateways"),
    listed(GATEWAY, &["v1"], "ListenerSet", "listenersets"),
    listed(GATEWAY, &["v1", "v1beta1"], "HTTPRoute", "httproutes"),
    listed(GATEWAY, &["v1", "v1alpha2"], "GRPCRoute", "grpcroutes"),
    listed(GATEWAY, &["v1", "v1alpha3", "v1alpha2"], "TLSRoute", "tlsroutes"),
    listed(GATEWAY, &["v1", "v1alpha2"], "TCPRoute", "tcproutes"),
    listed(GATEWAY, &["v1", "v1alpha2"], "UDPRoute", "udproutes"),
    listed(GATEWAY, &["v1", "v1alpha3"], "BackendTLSPolicy", "backendtlspolicies"),
    listed(GATEWAY, &["v1", "v1beta1"], "ReferenceGrant", "referencegrants"),
    listed(EXPERIMENTAL, &["v1alpha1"], "XBackend", "xbackends"),
    listed(EXPERIMENTAL, &["v1alpha1"], "XBackendTrafficPolicy", "xbackendtrafficpolicies"),
    listed(EXPERIMENTAL, &["v1alpha1"], "XMesh", MESHES),
];

/// Secrets, which are watched in namespaces that somebody named, and nowhere else. Those of types that are of no use are left out.
pub static SECRETS: Watched =
    Watched { fields: NO_USE, ..core(ObjectKind::Secret, "Secret", "secrets", Need::Optional) };
const NO_USE: &str = "type!=kubernetes.io/service-account-token,type!=helm.sh/release.v1,type!=kubernetes.io/dockerconfigjson,\
                      type!=bootstrap.kubernetes.io/token";

/// The table for some namespaces only; for all if none is named. Each kind is watched in each of them by itself, so that rights
/// to these are enough; Namespaces, Nodes, GatewayClasses and XMeshes, which are in none, may be out of reach then. Its lines are kept for as long as
/// the process lives, so this is for its start. `secrets`: the namespaces whose Secrets are watched.
pub fn within(namespaces: &[String], secrets: &[String]) -> Vec<&'static Watched> {
    let secrets: BTreeSet<&String> = secrets.iter().collect();
    let secrets = secrets.into_iter().map(|name| one(&SECRETS, name.clone().leak()));
    if namespaces.is_empty() {
        return KINDS.iter().chain(secrets).collect();
    }
    let names: BTreeSet<&'static str> = namespaces.iter().map(|name| &*name.clone().leak()).collect();
    let each = |kind: &'static Watched| -> Vec<&'static Watched> {
        match kind.used {
            // The settings are in our own namespace, wherever that is.
            Use::Settings => vec![kind],
            _ if kind.is_namespaces() => names.iter().map(|name| one(kind, name)).collect(),
            _ if kind.is_cluster_wide() => vec![kind],
            _ => names.iter().map(|name| one(kind, name)).collect(),
        }
    };
    KINDS.iter().flat_map(each).chain(secrets).collect()
}

/// A line of the table for one namespace.
fn one(kind: &'static Watched, name: &'static str) -> &'static Watched {
    let need = if kind.is_namespaces() { Need::Optional } else { kind.need };
    Box::leak(Box::new(Watched { need, within: Some(name), ..*kind }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_there_once_and_every_kind_of_the_model_is_watched() {
        let names: BTreeSet<String> = KINDS.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), KINDS.len());
        for kind in ObjectKind::ALL.into_iter().filter(|kind| *kind != ObjectKind::MeshConfig) {
            let read: Vec<_> =
                KINDS.iter().chain([&SECRETS]).filter(|watched| watched.used == Use::Read(kind)).collect();
            assert_eq!(read.len(), 1, "{kind}");
            assert_eq!(read[0].kind, kind.as_str());
        }
    }

    #[test]
    fn some_namespaces_are_watched_one_by_one() {
        assert_eq!(within(&[], &[]).len(), KINDS.len());
        let table = within(&["b".to_owned(), "a".to_owned(), "b".to_owned()], &[]);
        let places =
            |plural| table.iter().filter(|kind| kind.plural == plural).map(|kind| kind.place()).collect::<Vec<_>>();
        assert_eq!(places("services"), ["services in a", "services in b"]);
        for plural in ["nodes", "configmaps"] {
            assert_eq!(places(plural), [plural]);
        }
        assert_eq!(places("gatewayclasses"), ["gatewayclasses.gateway.networking.k8s.io"]);
        assert_eq!(places("xmeshes"), ["xmeshes.gateway.networking.x-k8s.io"]);
        assert_eq!(table.len(), 2 * (KINDS.len() - 4) + 4);
        let first = |plural| table.iter().find(|kind| kind.plural == plural).expect("it is watched");
        let (services, namespaces) = (first("services"), first("namespaces"));
        assert_eq!((services.within, namespaces.within, first("nodes").within), (Some("a"), Some("a"), None));
        assert_eq!((services.need, namespaces.need), (Need::Required, Need::Optional));
    }

    #[test]
    fn secrets_are_watched_where_somebody_said_so() {
        let places = |namespaces: &[&str], secrets: &[&str]| -> Vec<String> {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let table = within(&owned(namespaces), &owned(secrets));
            table.iter().filter(|kind| kind.plural == "secrets").map(|kind| kind.place()).collect()
        };
        assert!(places(&[], &[]).is_empty() && places(&["a"], &[]).is_empty(), "nowhere by default");
        assert_eq!(places(&[], &["b", "a", "b"]), ["secrets in a", "secrets in b"]);
        assert_eq!(places(&["a"], &["b"]), ["secrets in b"]);
    }

    #[test]
    fn paths_are_those_of_the_api() {
        let path = |plural| KINDS.iter().find(|watched| watched.plural == plural).expect("it is watched");
        assert_eq!(path("pods").path("v1", None), "/api/v1/pods");
        assert_eq!(path("sidecars").path("v1", None), "/apis/networking.istio.io/v1/sidecars");
        assert_eq!(path("configmaps").path("v1", Some("n")), "/api/v1/namespaces/n/configmaps");
        assert_eq!(path("sidecars").api_version("v1"), "networking.istio.io/v1");
        assert_eq!(path("pods").api_version("v1"), "v1");
    }
}
