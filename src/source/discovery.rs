//! Which namespaces are read: those that `discoverySelectors` of the mesh select by the labels of their Namespace. Pure.
//!
//! Reached by the settings and by Namespaces as they are in effect; what leaves is the answer for one namespace. What is in no
//! namespace is always read, and so is everything while there are no selectors.

use crate::model::labels::Labels;
use crate::model::mesh::Mesh;
use crate::model::name::Namespace;
use crate::model::object::Object;
use crate::model::provenance::ObjectKey;
use crate::model::selector::Selector;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The label that Kubernetes gives every namespace, with its name: in a folder it needs not be written.
const NAME: &str = "kubernetes.io/metadata.name";

/// What is known of namespaces, and which are wanted.
#[derive(Default, Debug)]
pub struct Discovery {
    selectors: Box<[Selector]>,
    labels: BTreeMap<Namespace, Labels>,
    complete: Complete,
}

/// Of which namespaces it is known whether they are there.
#[derive(Default, Debug)]
enum Complete {
    /// Of those whose Namespace is there. A folder may leave it out, and rights to see it may be missing.
    #[default]
    Known,
    /// Of these as well.
    Some(BTreeSet<Namespace>),
    /// Of all.
    All,
}

/// What an object that is in effect now, or no more, means for that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Nothing.
    Nothing,
    /// This namespace is read now, or no more.
    One(Namespace, bool),
    /// Every namespace has to be asked for.
    All,
}

impl Discovery {
    /// Whether what is in a namespace is read; the empty name stands for what is in none.
    pub fn includes(&self, namespace: &str) -> bool {
        if self.selectors.is_empty() || namespace.is_empty() {
            return true;
        }
        let namespace = Namespace::from(namespace);
        match self.labels.get(&namespace) {
            Some(labels) => self.selectors.iter().any(|selector| selector.selects(labels)),
            None => !self.complete.has(&namespace),
        }
    }

    /// All Namespaces, or that one, were listed: what was not among them has no labels that could be selected by. What follows of that.
    pub fn listed(&mut self, within: Option<&str>) -> Turn {
        match (within, &mut self.complete) {
            (_, Complete::All) => return Turn::Nothing,
            (None, complete) => *complete = Complete::All,
            (Some(name), Complete::Some(names)) => _ = names.insert(name.into()),
            (Some(name), complete) => *complete = Complete::Some([name.into()].into()),
        }
        within.map_or(Turn::All, |name| Turn::One(name.into(), self.includes(name)))
    }

    /// An object is in effect now, or no more; what follows of that for others.
    pub fn learn(&mut self, key: &ObjectKey, object: Option<&Object>) -> Turn {
        if *key == Mesh::key() {
            let selectors = match object {
                Some(Object::MeshConfig(mesh)) => mesh.discovery.clone(),
                _ => Box::default(),
            };
            let same = self.selectors == selectors;
            self.selectors = selectors;
            return if same { Turn::Nothing } else { Turn::All };
        }
        let labels = match object {
            Some(Object::Namespace(namespace)) => Some(named(key.name.as_str(), &namespace.labels)),
            _ => None,
        };
        let name = Namespace::from(key.name.as_str());
        let before = self.includes(name.as_str());
        match labels {
            Some(labels) => _ = self.labels.insert(name.clone(), labels),
            None => _ = self.labels.remove(&name),
        }
        let after = self.includes(name.as_str());
        if before == after { Turn::Nothing } else { Turn::One(name, after) }
    }
}

impl Complete {
    fn has(&self, namespace: &Namespace) -> bool {
        match self {
            Complete::Known => false,
            Complete::Some(names) => names.contains(namespace),
            Complete::All => true,
        }
    }
}

fn named(name: &str, labels: &Labels) -> Labels {
    let own: (Arc<str>, Arc<str>) = (NAME.into(), name.into());
    [own].into_iter().chain(labels.iter().map(|(key, value)| (key.clone(), value.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::object::{Meta, NamespaceInfo, Stored};
    use crate::model::provenance::{ObjectKind, ObjectRef};

    fn meta(key: &ObjectKey) -> Meta {
        let reference = ObjectRef { key: key.clone(), uid: None, generation: None };
        Meta { reference, created: None }
    }

    fn mesh(pairs: &[(&str, &str)]) -> Object {
        let selector = |(key, value): &(&str, &str)| {
            let labels = Labels::from([((*key).into(), (*value).into())]);
            Selector { labels, expressions: Box::default() }
        };
        let discovery = pairs.iter().map(selector).collect();
        Object::MeshConfig(Stored::new(meta(&Mesh::key()), Mesh { discovery, ..Mesh::default() }))
    }

    fn namespace(name: &str, pairs: &[(&str, &str)]) -> (ObjectKey, Object) {
        let key = ObjectKey { kind: ObjectKind::Namespace, namespace: "".into(), name: name.into() };
        let labels = pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let object = Object::Namespace(Stored::new(meta(&key), NamespaceInfo { labels }));
        (key, object)
    }

    #[test]
    fn any_selector_selects_and_what_is_in_no_namespace_is_always_read() {
        let mut discovery = Discovery::default();
        let (key, object) = namespace("a", &[("mesh", "on")]);
        assert_eq!(discovery.learn(&key, Some(&object)), Turn::Nothing);
        assert_eq!(discovery.learn(&Mesh::key(), Some(&mesh(&[("mesh", "on"), (NAME, "b")]))), Turn::All);
        assert_eq!(discovery.learn(&Mesh::key(), Some(&mesh(&[("mesh", "on"), (NAME, "b")]))), Turn::Nothing);
        let (other, unlabelled) = namespace("b", &[]);
        assert_eq!(discovery.learn(&other, Some(&unlabelled)), Turn::Nothing, "not known before, so it was read");
        let (third, unlabelled) = namespace("c", &[]);
        assert_eq!(discovery.learn(&third, Some(&unlabelled)), Turn::One("c".into(), false));
        assert_eq!(["a", "b", "c", "d", ""].map(|name| discovery.includes(name)), [true, true, false, true, true]);
        let (_, off) = namespace("a", &[("mesh", "off")]);
        assert_eq!(discovery.learn(&key, Some(&off)), Turn::One("a".into(), false));
        assert_eq!(discovery.learn(&key, Some(&object)), Turn::One("a".into(), true));
        assert_eq!(discovery.learn(&Mesh::key(), None), Turn::All);
        assert!(discovery.includes("c"));
    }

    #[test]
    fn what_is_not_among_all_namespaces_is_not_read() {
        let mut discovery = Discovery::default();
        discovery.learn(&Mesh::key(), Some(&mesh(&[("mesh", "on")])));
        assert!(discovery.includes("a"), "who may not see Namespaces loses nothing");
        assert_eq!(discovery.listed(Some("a")), Turn::One("a".into(), false));
        assert_eq!(["a", "b"].map(|name| discovery.includes(name)), [false, true]);
        assert_eq!(discovery.listed(None), Turn::All);
        assert_eq!([discovery.listed(None), discovery.listed(Some("a"))], [Turn::Nothing, Turn::Nothing]);
        assert_eq!(["a", "b"].map(|name| discovery.includes(name)), [false, false]);
    }
}
