//! By way of which proxy an API server is reached: the one that its kubeconfig names, else that of the environment, as with kubectl. Pure.
//!
//! A proxy's address may hold a password, so none is ever shown as it was written.

use http::Uri;
use http::uri::Authority;
use kube::config::{Cluster, Kubeconfig};
use std::fmt;
use std::net::IpAddr;

/// What the environment says of proxies; empty where it says nothing.
#[derive(Clone, Default)]
pub struct Environment {
    /// The proxy for what is spoken to in TLS.
    pub https: String,
    /// The proxy for everything else.
    pub http: String,
    /// What is reached without one, with commas between.
    pub none: String,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("none", &self.none).finish_non_exhaustive()
    }
}

/// Why a proxy can't be used.
#[derive(thiserror::Error, Debug)]
#[error("{place}: {reason}")]
pub struct Refused {
    /// Where it is named.
    pub place: String,
    /// What is wrong.
    pub reason: String,
}

/// A proxy that can be used.
#[derive(PartialEq, Eq, Debug)]
pub struct Proxy {
    /// Where it is, with what has to be shown there.
    pub uri: Uri,
    /// Where that is said.
    pub place: String,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host) = (self.uri.scheme_str().unwrap_or_default(), self.uri.host().unwrap_or_default());
        write!(f, "{scheme}://{host}:{}", self.uri.port_u16().unwrap_or_default())
    }
}

/// The proxy for the cluster of a context, the current one if none is named; `file` is what the kubeconfig was read from.
///
/// # Errors
/// If there is one that can't be used.
pub fn of(
    kubeconfig: &Kubeconfig,
    context: Option<&str>,
    file: &str,
    environment: &Environment,
) -> Result<Option<Proxy>, Refused> {
    // That there is no such context or cluster is found by who reads the rest of it.
    let Some((name, cluster)) = cluster_of(kubeconfig, context) else { return Ok(None) };
    match cluster.proxy_url.as_deref().filter(|url| !url.is_empty()) {
        Some(url) => proxy(url, format!("{file}: proxy-url of the cluster {name:?}")).map(Some),
        None => match cluster.server.as_ref().and_then(|server| server.parse().ok()) {
            Some(server) => of_environment(&server, environment),
            None => Ok(None),
        },
    }
}

fn cluster_of<'k>(kubeconfig: &'k Kubeconfig, context: Option<&str>) -> Option<(&'k str, &'k Cluster)> {
    let context = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == context)?.context.as_ref()?;
    let named = kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?;
    Some((&named.name, named.cluster.as_ref()?))
}

fn of_environment(server: &Uri, environment: &Environment) -> Result<Option<Proxy>, Refused> {
    let (value, name, port) = match server.scheme_str() {
        Some("https") => (&environment.https, "HTTPS_PROXY", 443),
        _ => (&environment.http, "HTTP_PROXY", 80),
    };
    let host = server.host().unwrap_or_default().to_lowercase();
    if value.is_empty() || is_exempt(&host, server.port_u16().unwrap_or(port), &environment.none) {
        return Ok(None);
    }
    let value = if value.contains("://") { value.clone() } else { format!("http://{value}") };
    proxy(&value, format!("{name} of the environment")).map(Some)
}

fn proxy(url: &str, place: String) -> Result<Proxy, Refused> {
    match usable(url) {
        Ok(uri) => Ok(Proxy { uri, place }),
        Err(reason) => Err(Refused { place, reason }),
    }
}

/// A proxy's address with its port.
fn usable(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|error| format!("it is no URL: {error}"))?;
    let port = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        Some("socks5") => 1080,
        Some(other) => return Err(format!("it begins with {other}://, and http://, https:// and socks5:// are known")),
        None => return Err("it does not begin with http://, https:// or socks5://".to_owned()),
    };
    let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or("it names no host")?;
    if uri.scheme_str() == Some("socks5") && authority.as_str().contains('@') {
        return Err("a name and a password can be shown to http:// and https:// only".to_owned());
    }
    let authority = match authority.port() {
        Some(_) => authority.clone(),
        None => Authority::try_from(format!("{authority}:{port}")).map_err(|_| "its port is no port")?,
    };
    let scheme = uri.scheme_str().unwrap_or_default();
    Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build().map_err(|error| error.to_string())
}

/// Whether a server is reached without the environment's proxy: this machine is, and what one of the entries says.
fn is_exempt(host: &str, port: u16, entries: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let here = host == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
    let says = |entry: &str| match entry.split_once('/') {
        Some((base, bits)) => ip.is_some_and(|ip| is_within(ip, base, bits)),
        None => entry == "*" || names(entry, host, ip, port),
    };
    here || entries.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(says)
}

/// Whether an address is in a network.
fn is_within(ip: IpAddr, base: &str, bits: &str) -> bool {
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let differ = match (ip, base) {
        (IpAddr::V4(ip), IpAddr::V4(base)) => (ip.to_bits() ^ base.to_bits()).leading_zeros(),
        (IpAddr::V6(ip), IpAddr::V6(base)) => (ip.to_bits() ^ base.to_bits()).leading_zeros(),
        _ => return false,
    };
    differ >= bits
}

/// Whether an entry names a host: an address, or a domain with everything below it, or with a dot before it only that; of all ports,
/// or of the one that follows.
fn names(entry: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    let (name, only) = match entry.rsplit_once(':') {
        Some((name, only)) if entry.parse::<IpAddr>().is_err() => (name, Some(only)),
        _ => (entry, None),
    };
    if only.is_some_and(|only| only.parse() != Ok(port)) {
        return false;
    }
    if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        return ip == Some(address);
    }
    let name = name.to_lowercase();
    let name = name.strip_prefix('*').unwrap_or(&name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|below| below.ends_with('.')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(server: &str, proxy: &str) -> Kubeconfig {
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: prod}}}}], \
             clusters: [{{name: prod, cluster: {{server: '{server}', proxy-url: '{proxy}'}}}}]}}"
        );
        serde_json::from_value(serde_yaml_ng::from_str(&text).expect("YAML")).expect("a kubeconfig")
    }

    fn found(server: &str, proxy: &str, environment: &Environment) -> Result<Option<String>, String> {
        let proxy = of(&kubeconfig(server, proxy), None, "/k/config", environment);
        proxy.map(|proxy| proxy.map(|proxy| proxy.to_string())).map_err(|refused| refused.to_string())
    }

    #[test]
    fn a_kubeconfig_names_its_proxy() {
        let environment = Environment { https: "http://other".into(), none: "*".into(), ..Environment::default() };
        for (url, expected) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://proxy", "http://proxy:80"),
            ("https://user:secret@proxy/path", "https://proxy:443"),
            ("socks5://10.0.0.1", "socks5://10.0.0.1:1080"),
            ("http://[fd00::1]", "http://[fd00::1]:80"),
        ] {
            assert_eq!(found("https://api", url, &environment), Ok(Some(expected.to_owned())), "{url}");
        }
        assert_eq!(found("https://api", "", &Environment::default()), Ok(None), "the control");
        let shown = of(&kubeconfig("https://api", "http://user:secret@proxy"), None, "", &environment);
        let uri = shown.ok().flatten().expect("a proxy").uri;
        assert_eq!(uri.authority().map(Authority::as_str), Some("user:secret@proxy:80"), "it is shown to the proxy");
    }

    #[test]
    fn what_is_no_proxy_is_refused_with_file_cluster_and_field_and_without_a_password() {
        for (url, reason) in [
            ("proxy:3128", "does not begin with"),
            ("ftp://user:secret@proxy", "begins with ftp://"),
            ("http://user:se cret@proxy", "no URL"),
            ("http://:3128", "no host"),
            ("http://proxy:x", "no port"),
            ("socks5://user:secret@proxy", "a name and a password"),
        ] {
            let refused = found("https://api", url, &Environment::default()).expect_err(url);
            assert!(refused.starts_with("/k/config: proxy-url of the cluster \"prod\": "), "{refused}");
            assert!(refused.contains(reason) && !refused.contains("cret"), "{refused}");
        }
        let environment = Environment { https: "ftp://u:secret@proxy".into(), ..Environment::default() };
        let refused = found("https://api", "", &environment).expect_err("ftp");
        assert!(refused.starts_with("HTTPS_PROXY of the environment: ") && !refused.contains("secret"), "{refused}");
        assert!(!format!("{environment:?}").contains("secret"));
    }

    #[test]
    fn the_environment_counts_where_the_kubeconfig_says_nothing() {
        let environment = |none: &str| Environment { https: "one:1".into(), http: "two:2".into(), none: none.into() };
        assert_eq!(found("https://api:6443", "", &environment("")), Ok(Some("http://one:1".to_owned())));
        assert_eq!(found("http://api", "", &environment("")), Ok(Some("http://two:2".to_owned())));
        let is_direct = |server: &str, none: &str| found(server, "", &environment(none)) == Ok(None);
        for here in ["https://localhost", "https://127.0.0.9:6443", "https://[::1]:6443"] {
            assert!(is_direct(here, ""), "{here}");
        }
        for (server, none) in [
            ("https://api.example.com", "*"),
            ("https://api.example.com", "other, EXAMPLE.com,"),
            ("https://api.example.com", ".example.com"),
            ("https://api.example.com", "*.example.com"),
            ("https://api.example.com:6443", "example.com:6443"),
            ("https://10.1.2.3:6443", "10.1.0.0/16"),
            ("https://10.1.2.3:6443", "10.1.2.3"),
            ("https://10.1.2.3:6443", "10.1.2.3:6443"),
            ("https://[fd00::1]:6443", "fd00::/8"),
            ("https://[fd00::1]:6443", "fd00::1"),
            ("https://[fd00::1]:6443", "[fd00::1]:6443"),
        ] {
            assert!(is_direct(server, none), "{server} and {none}");
        }
        for (server, none) in [
            ("https://example.com", ".example.com"),
            ("https://api.badexample.com", "example.com"),
            ("https://api.example.com:6443", "example.com:443"),
            ("https://10.2.2.3:6443", "10.1.0.0/16"),
            ("https://10.1.2.3:6443", "10.1.2.3:443"),
            ("https://10.1.2.3:6443", "10.1.2,10.1.0.0/x,/,:"),
            ("https://[fd00::1]:6443", "fe00::/8"),
        ] {
            assert!(!is_direct(server, none), "{server} and {none}");
        }
    }
}
