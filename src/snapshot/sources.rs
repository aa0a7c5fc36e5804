//! What of a resource is another than before, and which objects shaped it: part by part, so that one of a thousand virtual
//! hosts is not taken for all of them.

use super::resource::Resource;
use crate::model::provenance::{ObjectRef, Provenance};

/// A part of a resource, a fragment or all that is not a fragment, in two forms of the resource.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    before: Option<&'a Provenance>,
    after: Option<&'a Provenance>,
    /// Whether its content is the same in both.
    pub is_same: bool,
}

impl<'a> Part<'a> {
    /// The objects that shaped it before.
    pub fn before(&self) -> impl Iterator<Item = &'a ObjectRef> + use<'a> {
        self.before.into_iter().flat_map(Provenance::refs)
    }

    /// The objects that shape it now.
    pub fn after(&self) -> impl Iterator<Item = &'a ObjectRef> + use<'a> {
        self.after.into_iter().flat_map(Provenance::refs)
    }
}

/// The parts that differ between two forms of a resource, in content or in the objects that shaped them. Costs what differs
/// where both are made of fragments, else every part.
pub fn differences<'a>(before: Option<&'a Resource>, after: Option<&'a Resource>) -> Vec<Part<'a>> {
    let fragments = |form: Option<&'a Resource>| form.and_then(Resource::fragments);
    let head = |form: Option<&'a Resource>| form.map(Resource::provenance);
    let is_same = before.zip(after).is_some_and(|(before, after)| before.has_head_of(after));
    let mut parts = vec![Part { before: head(before), after: head(after), is_same }];
    match (fragments(before), fragments(after)) {
        (Some(old), Some(new)) => parts.extend(old.differences(new).map(|(old, new)| Part {
            before: old.map(|part| part.provenance()),
            after: new.map(|part| part.provenance()),
            is_same: old.zip(new).is_some_and(|(old, new)| old.version() == new.version()),
        })),
        (old, new) => {
            let old = old.into_iter().flat_map(|old| old.iter()).map(|part| (Some(part.provenance()), None));
            let new = new.into_iter().flat_map(|new| new.iter()).map(|part| (None, Some(part.provenance())));
            parts.extend(old.chain(new).map(|(before, after)| Part { before, after, is_same: false }));
        }
    }
    parts.retain(|part| !part.is_same || part.before != part.after);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::provenance::{ObjectKey, ObjectKind};
    use crate::snapshot::fragments::Fragments;
    use crate::snapshot::kind::Kind;
    use crate::snapshot::resource::Fragment;
    use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
    use std::sync::Arc;

    fn source(name: &str) -> Provenance {
        let key = ObjectKey { kind: ObjectKind::VirtualService, namespace: "n".into(), name: name.into() };
        [ObjectRef { key, uid: None, generation: None }].into_iter().collect()
    }

    fn table(parts: &[(&str, &str)], head: &str) -> Resource {
        let fragment = |(name, content): &(&str, &str)| {
            let message = VirtualHost { name: content.to_string(), ..VirtualHost::default() };
            Arc::new(Fragment::new(name, 2, &message, Vec::new(), source(name)))
        };
        let fragments: Fragments = parts.iter().map(fragment).collect();
        let message = RouteConfiguration { name: head.to_owned(), ..RouteConfiguration::default() };
        Resource::of_fragments(Kind::Route, "80", &message, fragments, source("head"))
    }

    fn names(parts: &[Part<'_>]) -> Vec<(Option<String>, Option<String>)> {
        let name = |object: &ObjectRef| object.key.name.to_string();
        parts.iter().map(|part| (part.before().map(name).next(), part.after().map(name).next())).collect()
    }

    #[test]
    fn one_part_is_not_all() {
        let (old, new) = (table(&[("a", "1"), ("b", "1")], "h"), table(&[("a", "2"), ("b", "1")], "h"));
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(names(&differences(Some(&old), Some(&new))), [(some("a"), some("a"))]);
        assert!(differences(Some(&old), Some(&old)).is_empty());
        let (gone, come) = (differences(Some(&old), None), differences(None, Some(&new)));
        assert_eq!(names(&gone), [(some("head"), None), (some("a"), None), (some("b"), None)]);
        assert_eq!(names(&come), [(None, some("head")), (None, some("a")), (None, some("b"))]);
        let other_head = table(&[("a", "1"), ("b", "1")], "other");
        assert_eq!(names(&differences(Some(&old), Some(&other_head))), [(some("head"), some("head"))]);
    }
}
