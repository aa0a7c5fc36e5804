//! What the environment says of proxies, in the variables that kubectl reads.

use crate::source::kubernetes::proxy::Environment;

/// What it says. Of each variable the name in capitals goes before the other.
pub fn environment() -> Environment {
    let said = |names: [&str; 2]| {
        names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty())).unwrap_or_default()
    };
    Environment {
        https: said(["HTTPS_PROXY", "https_proxy"]),
        http: said(["HTTP_PROXY", "http_proxy"]),
        none: said(["NO_PROXY", "no_proxy"]),
    }
}
