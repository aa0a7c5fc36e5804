//! How commands reach an API server: by the flags that kubectl has, and by the variables that it reads.

use crate::source::kubernetes::access::Access;
use crate::source::kubernetes::proxy::Environment;
use std::path::PathBuf;

/// By that kubeconfig and context, as flags name them, and the proxies of the environment.
pub fn access(kubeconfig: Option<PathBuf>, context: Option<String>) -> Access {
    Access { kubeconfig, context, environment: environment() }
}

/// What the environment says of proxies. Of each variable the name in capitals goes before the other.
fn environment() -> Environment {
    let said = |names: [&str; 2]| {
        names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty())).unwrap_or_default()
    };
    Environment {
        https: said(["HTTPS_PROXY", "https_proxy"]),
        http: said(["HTTP_PROXY", "http_proxy"]),
        none: said(["NO_PROXY", "no_proxy"]),
    }
}
