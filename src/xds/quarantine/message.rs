//! What Envoy's words say of who is at fault, and the part of them worth keeping.
//!
//! Envoy 1.36 and 1.40 have three forms. `Error adding/updating cluster(s) NAME: REASON, NAME: REASON` (for listeners, one
//! a line): these are refused, the rest is applied. A printed resource, its name on a line of its own, then `Proto
//! constraint validation failed`: the whole response is refused, clusters and listeners too; of virtual hosts the number is
//! given. Anything else: the whole response is refused, and there may or may not be a name in quotes.

use crate::snapshot::kind::Kind;
use std::collections::BTreeSet;

/// What comes before the names of clusters or listeners that are refused alone.
const APART: &str = "Error adding/updating ";
/// What comes before the reason, after a printed resource.
const CONSTRAINT: &str = "Proto constraint validation failed";
/// What Envoy puts before a printed resource; the rest of the word differs from process to process.
const PRINTED: &str = "goo.gle/debug";
/// What Envoy puts at the end of a message that it cut off.
const CUT: &str = "...(truncated)";
/// What comes before the number of a virtual host.
const HOST: &str = "VirtualHosts[";
/// What comes before the name of a route configuration that stands at the end.
const ROUTE: &str = " in route ";

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Accusation<'m> {
    /// The names of resources at fault.
    pub(super) names: BTreeSet<&'m str>,
    /// The number of the virtual host at fault.
    pub(super) host: Option<usize>,
    /// Whether everything else in the response was applied.
    pub(super) apart: bool,
}

/// Reads what a message says of resources of a kind; `known` are those the response carried.
pub(super) fn read(kind: Kind, message: &str, known: impl Fn(&str) -> bool) -> Accusation<'_> {
    if kind.is_whole_set() && message.starts_with(APART) {
        // Who is not named in a message that was cut off may have been refused too.
        return Accusation { names: refused_apart(message, known), apart: !message.ends_with(CUT), host: None };
    }
    let (names, host) = match message.rfind(CONSTRAINT) {
        Some(at) => (printed(&message[..at]).filter(|name| known(name)).into_iter().collect(), number(&message[at..])),
        None => (mentioned(message, known), None),
    };
    Accusation { names, host: host.filter(|_| kind == Kind::Route), apart: false }
}

/// The reason without a printed resource before it, which may be long and may hold secrets.
pub(in crate::xds) fn reason(message: &str) -> &str {
    match message.rfind(CONSTRAINT) {
        Some(at) => &message[at..],
        None if message.starts_with(PRINTED) || (message.ends_with(CUT) && printed(message).is_some()) => {
            "a printed resource that was cut off"
        }
        None => message,
    }
}

/// Each name follows the introduction, a comma or the end of a line, and is followed by a colon.
fn refused_apart(message: &str, known: impl Fn(&str) -> bool) -> BTreeSet<&str> {
    let list = message.split_once("(s) ").map_or("", |(_, list)| list);
    let parts = list.split('\n').flat_map(|line| line.split(", "));
    parts.filter_map(|part| Some(part.split_once(": ")?.0)).filter(|name| known(name)).collect()
}

/// The name of a printed resource: its first field, on a line that is not indented.
fn printed(text: &str) -> Option<&str> {
    let name = |line: &'_ str| line.starts_with("name:") || line.starts_with("cluster_name:");
    let line = text.lines().find(|line| name(line))?;
    line.split_once(':')?.1.trim().strip_prefix('"')?.strip_suffix('"')
}

fn number(text: &str) -> Option<usize> {
    let digits = &text[text.find(HOST)? + HOST.len()..];
    digits.split(']').next()?.parse().ok()
}

/// The one name in quotes, or at the end; none where several are.
fn mentioned(message: &str, known: impl Fn(&str) -> bool) -> BTreeSet<&str> {
    let last = message.rfind(ROUTE).map(|at| message[at + ROUTE.len()..].trim());
    let quoted = ['\'', '"'].into_iter().flat_map(|mark| message.split(mark).skip(1).step_by(2));
    let names: BTreeSet<_> = last.into_iter().chain(quoted).filter(|name| known(name)).collect();
    if names.len() == 1 { names } else { BTreeSet::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'m>(kind: Kind, message: &'m str, known: &[&str]) -> Accusation<'m> {
        super::read(kind, message, |name| known.contains(&name))
    }

    fn names<'m>(names: &[&'m str]) -> BTreeSet<&'m str> {
        names.iter().copied().collect()
    }

    /// Word for word what Envoy 1.40.0 says.
    #[test]
    fn the_words_of_envoy_are_read() {
        let said = "Error adding/updating cluster(s) z: cannot create an EDS cluster without an EDS config, outbound|80||y: no";
        let accusation = read(Kind::Cluster, said, &["z", "outbound|80||y", "a"]);
        assert_eq!((accusation.names, accusation.apart), (names(&["z", "outbound|80||y"]), true));
        let said = "Error adding/updating listener(s) 0.0.0.0_80: Didn't find a registered implementation for 'a' with type \
                    URL: ''\nzz: Didn't find a registered implementation for 'b' with type URL: ''\n";
        assert_eq!(read(Kind::Listener, said, &["0.0.0.0_80", "zz", "a"]).names, names(&["0.0.0.0_80", "zz"]));
        let said = "goo.gle/debugproto    \nname: \"i\"\nvirtual_hosts {\n  name: \"h\"\n}\n: Proto constraint validation failed \
                    (RouteConfigurationValidationError.VirtualHosts[1]: embedded message failed validation | caused by \
                    VirtualHostValidationError.Domains: value must contain at least 1 item(s))";
        let accusation = read(Kind::Route, said, &["i", "h"]);
        assert_eq!((accusation.names, accusation.host, accusation.apart), (names(&["i"]), Some(1), false));
        let said = "goo.gle/debugonly  \ncluster_name: \"i\"\nendpoints {\n}\n: Proto constraint validation failed (x)";
        assert_eq!(read(Kind::Endpoint, said, &["i"]).names, names(&["i"]));
        let said = "Only unique values for domains are permitted. Duplicate entry of domain one in route i";
        assert_eq!(read(Kind::Route, said, &["i", "one"]).names, names(&["i"]));
    }

    #[test]
    fn nobody_is_guessed() {
        for said in ["malformed IP address: a", "missing ): (", ":-prefixed or host headers may not be modified", ""] {
            assert_eq!(read(Kind::Endpoint, said, &["a", "b"]), Accusation::default(), "{said}");
        }
        let both = "neither 'a' nor 'b'";
        assert_eq!(read(Kind::Secret, both, &["a", "b"]), Accusation::default());
        assert_eq!(read(Kind::Secret, both, &["b"]).names, names(&["b"]));
        assert_eq!(read(Kind::Cluster, "Error adding/updating cluster(s) x: y", &["a"]).names, names(&[]));
    }

    #[test]
    fn a_printed_resource_is_not_kept() {
        let said = "goo.gle/debugonly\nname: \"x\"\nkey: \"secret\"\n: Proto constraint validation failed (Why)";
        assert_eq!(reason(said), "Proto constraint validation failed (Why)");
        let cut = "goo.gle/debugproto \nlisteners {\n  key: \"secret\"";
        assert!(!reason(cut).contains("secret"), "whatever it begins with, and however it was cut");
        assert_eq!(reason("anything else"), "anything else");
    }
}
