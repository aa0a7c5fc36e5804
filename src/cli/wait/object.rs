//! The object that is waited for, as kubectl would be told: KIND/NAME.

use crate::model::name::Namespace;
use crate::model::provenance::{ObjectKey, ObjectKind};
use std::str::FromStr;

/// A kind, and the name of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    kind: ObjectKind,
    name: String,
}

impl Asked {
    /// Whether these are the settings of the mesh.
    pub fn is_mesh(&self) -> bool {
        self.kind == ObjectKind::MeshConfig
    }

    /// The object of that name in a namespace.
    pub fn key(&self, namespace: &str) -> ObjectKey {
        if self.kind == ObjectKind::MeshConfig {
            return ObjectKey::mesh();
        }
        ObjectKey { kind: self.kind, namespace: Namespace::from(namespace), name: self.name.as_str().into() }
    }
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or("it is not KIND/NAME")?;
        let words = kind.to_lowercase();
        let word = words.split('.').next().unwrap_or_default();
        let policies = || ObjectKind::ALL.into_iter().filter(|kind| kind.is_policy());
        let kind = policies().find(|kind| names(*kind).iter().any(|name| name == word)).ok_or_else(|| {
            let known: Vec<_> = policies().map(ObjectKind::as_str).collect();
            format!("\"{kind}\" is none of {}", known.join(", "))
        })?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if !name.chars().all(plain) {
            return Err(format!("{name:?} is not a name"));
        }
        Ok(Self { kind, name: name.to_owned() })
    }
}

/// What a kind may be called: its name, that in plural, and kubectl's short ones.
fn names(kind: ObjectKind) -> Vec<String> {
    let name = kind.as_str().to_lowercase();
    let short = match kind {
        ObjectKind::VirtualService => Some("vs"),
        ObjectKind::DestinationRule => Some("dr"),
        ObjectKind::PeerAuthentication => Some("pa"),
        _ => None,
    };
    let plural = format!("{name}s");
    [name, plural].into_iter().chain(short.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_called_as_in_kubectl() {
        for text in ["VirtualService/a", "virtualservices/a", "vs/a", "virtualservices.networking.istio.io/a"] {
            let asked: Asked = text.parse().expect(text);
            assert_eq!(asked.key("n").to_string(), "VirtualService n/a");
        }
        assert_eq!("pa/a".parse::<Asked>().expect("it is known").key("n").to_string(), "PeerAuthentication n/a");
        assert_eq!("dr/a".parse::<Asked>().expect("it is known").key("n").to_string(), "DestinationRule n/a");
        assert_eq!("meshconfig/mesh".parse::<Asked>().expect("it is known").key("n"), ObjectKey::mesh());
        for text in ["vs", "vs/", "/a", "pod/a", "", "vs/a b", "vs/a&b"] {
            text.parse::<Asked>().expect_err(text);
        }
    }
}
