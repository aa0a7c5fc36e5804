//! Which services a workload sees, as the Sidecar that applies to it says: a canonical value, so that workloads that see
//! the same share an audience.

use super::name::{Host, Namespace, ServiceKey};
use super::sidecar::{EgressHost, EgressNamespace};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A set of patterns, none of which another one covers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scope(Arc<[Pattern]>);

/// Services by namespace, or of any, and host.
type Pattern = (Option<Namespace>, Host);

impl Scope {
    /// Every service.
    pub fn everything() -> Self {
        Self([(None, Host::from("*"))].into())
    }

    /// What a Sidecar's hosts mean for a workload of that namespace.
    pub fn of(hosts: &[EgressHost], own: &Namespace) -> Self {
        let namespace = |host: &EgressHost| match &host.namespace {
            EgressNamespace::Any => None,
            EgressNamespace::Own => Some(own.clone()),
            EgressNamespace::Named(namespace) => Some(namespace.clone()),
        };
        let all: BTreeSet<Pattern> = hosts.iter().map(|host| (namespace(host), host.host.clone())).collect();
        let wider = |(namespace, host): &Pattern| {
            let of_any = namespace.is_some().then(|| (None, host.clone()));
            let named = covering(host).flat_map(|host| [(namespace.clone(), host.clone()), (None, host)]);
            of_any.into_iter().chain(named).any(|pattern| all.contains(&pattern))
        };
        Self(all.iter().filter(|pattern| !wider(pattern)).cloned().collect())
    }

    /// Whether that is every service.
    pub fn is_everything(&self) -> bool {
        *self == Self::everything()
    }

    /// Whether a service is among them.
    pub fn sees(&self, service: &ServiceKey) -> bool {
        let host = service.host();
        let has = |namespace: Option<&Namespace>, host: &Host| {
            let find = |(of, name): &Pattern| (of.as_ref(), name).cmp(&(namespace, host));
            self.0.binary_search_by(find).is_ok()
        };
        let mut hosts = std::iter::once(host.clone()).chain(host.wildcards());
        hosts.any(|host| has(None, &host) || has(Some(&service.namespace), &host))
    }
}

/// The wildcards that cover more than a host or wildcard does.
fn covering(host: &Host) -> impl Iterator<Item = Host> {
    host.wildcards().filter(move |wider| wider != host && wider.covers(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(hosts: &[(EgressNamespace, &str)]) -> Scope {
        let host = |(namespace, host): &(EgressNamespace, &str)| EgressHost {
            namespace: namespace.clone(),
            host: Host::from(*host),
        };
        Scope::of(&hosts.iter().map(host).collect::<Vec<_>>(), &Namespace::from("shop"))
    }

    #[test]
    fn equal_sets_are_equal_values() {
        let own = EgressNamespace::Own;
        let shop = EgressNamespace::Named("shop".into());
        let web = (own.clone(), "web.shop.svc.cluster.local");
        let all = (EgressNamespace::Any, "*");
        assert_eq!(scope(&[(own.clone(), "*"), web.clone()]), scope(&[(shop, "*")]));
        assert_eq!(
            scope(&[web.clone(), (EgressNamespace::Any, "*.local")]),
            scope(&[(EgressNamespace::Any, "*.local")])
        );
        assert_eq!(scope(&[(own.clone(), "*"), all.clone(), web.clone()]), Scope::everything());
        assert_eq!(scope(&[(own.clone(), "*.local"), (own, "*.cluster.local")]).0.len(), 1);
        assert!(scope(&[all]).is_everything() && !scope(&[web]).is_everything() && !scope(&[]).is_everything());
    }

    #[test]
    fn patterns_see_by_namespace_and_host() {
        let service = |namespace: &str, name: &str| ServiceKey { namespace: namespace.into(), name: name.into() };
        let bank = EgressNamespace::Named("bank".into());
        let seen = scope(&[(EgressNamespace::Own, "*"), (bank, "api.bank.svc.cluster.local")]);
        assert!(seen.sees(&service("shop", "web")) && seen.sees(&service("bank", "api")));
        assert!(!seen.sees(&service("bank", "web")) && !seen.sees(&service("other", "web")));
        assert!(scope(&[(EgressNamespace::Any, "*.bank.svc.cluster.local")]).sees(&service("bank", "web")));
        assert!(!scope(&[(EgressNamespace::Own, "*.bank.svc.cluster.local")]).sees(&service("bank", "web")));
        assert!(!scope(&[]).sees(&service("shop", "web")));
    }
}
