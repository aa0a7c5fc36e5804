//! Names as types, so that a namespace can't be passed where a host is meant. All are cheap to clone.

use std::fmt;
use std::sync::Arc;

/// The DNS domain of the cluster's services.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name_type!(
    /// A Kubernetes namespace.
    Namespace
);
name_type!(
    /// The name of a Kubernetes object within its namespace and kind.
    Name
);
name_type!(
    /// A DNS name of a service, lower case, without a trailing dot; a leading `*.` makes it a wildcard.
    Host
);

impl Host {
    /// Resolves a host as written in a rule of `namespace`: a name without a dot is short for
    /// `<name>.<namespace>.svc.<domain>`; anything with a dot, and `*`, stands for itself (Istio's rule for
    /// DestinationRule hosts, VirtualService hosts and destinations).
    pub fn resolve(written: &str, namespace: &Namespace) -> Self {
        let written = written.strip_suffix('.').unwrap_or(written).to_ascii_lowercase();
        if written.contains('.') || written == "*" {
            Self::from(written)
        } else {
            Self::from(format!("{written}.{namespace}.svc.{CLUSTER_DOMAIN}"))
        }
    }

    /// The wildcards that cover this host, which is none itself: the longest first, `*` last.
    pub fn wildcards(&self) -> impl Iterator<Item = Host> {
        let dots = self.0.match_indices('.').map(|(at, _)| Host::from(format!("*{}", &self.0[at..])));
        dots.chain([Host::from("*")])
    }

    /// Whether `host` is this one, or this is a wildcard for it. `*.a.com` doesn't cover `a.com` (Istio's rule).
    pub fn covers(&self, host: &Host) -> bool {
        match self.0.strip_prefix('*') {
            Some(suffix) => host.0.len() > suffix.len() && host.0.ends_with(suffix),
            None => self == host,
        }
    }

    /// Sorts hosts that cover the same one: exact, then the longest wildcard, is the greatest.
    pub fn specificity(&self) -> (bool, usize) {
        (!self.is_wildcard(), self.0.len())
    }

    /// Whether the host is that of a Service, or of a name below one.
    pub fn is_inside(&self) -> bool {
        self.0.strip_suffix(CLUSTER_DOMAIN).is_some_and(|rest| rest.ends_with(".svc."))
    }

    /// Whether the host is a wildcard (`*` or `*.example.com`).
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }
}

/// A service by namespace and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServiceKey {
    /// The service's namespace.
    pub namespace: Namespace,
    /// The service's name.
    pub name: Name,
}

impl ServiceKey {
    /// The fully qualified DNS name of the service.
    pub fn host(&self) -> Host {
        Host::from(format!("{}.{}.svc.{CLUSTER_DOMAIN}", self.name, self.namespace))
    }
}
