//! Who was found at fault: asked of each of many things without a look at all the others. A client may name as many as it was
//! sent.

use super::Unit;
use crate::snapshot::resource::Version;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What was found at fault.
pub(super) struct Culprits<'u> {
    units: BTreeSet<&'u Unit>,
    /// The versions of those that are fragments: the same may be in several tables.
    parts: BTreeSet<Version>,
}

impl<'u> Culprits<'u> {
    pub(super) fn new(found: &'u [Unit]) -> Self {
        let parts = found.iter().filter(|unit| unit.part.is_some()).map(|unit| unit.version).collect();
        Self { units: found.iter().collect(), parts }
    }

    /// Whether a resource of that name, or a part of it, is among them.
    pub(super) fn has(&self, name: &Arc<str>) -> bool {
        let least = Unit { name: name.clone(), part: None, version: Version(0) };
        self.units.range::<Unit, _>(least..).next().is_some_and(|unit| unit.name == *name)
    }

    /// Whether this is at fault.
    pub(super) fn include(&self, unit: &Unit) -> bool {
        self.units.contains(unit) || (unit.part.is_some() && self.parts.contains(&unit.version))
    }
}

#[cfg(test)]
mod tests {
    use super::super::unit::compared;
    use super::super::{Flight, Nack, Quarantine, Unit};
    use crate::snapshot::kind::Kind;
    use crate::snapshot::resource::Resource;
    use crate::snapshot::set::{Layer, Snapshot};
    use crate::xds::request::Wire;
    use crate::xds::session::view::View;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Instant;

    fn clusters(count: usize) -> Vec<Arc<Resource>> {
        let cluster = |index| Arc::new(Resource::opaque(Kind::Cluster, &format!("c{index:05}"), b"bad", Vec::new()));
        (0..count).map(cluster).collect()
    }

    /// How often things are compared when a client rejects so many clusters by name.
    fn rejection(count: usize) -> usize {
        let (clusters, now) = (clusters(count), Instant::now());
        let mut layer = Layer::default();
        clusters.iter().for_each(|cluster| layer.insert(cluster.clone()));
        let snapshot = Snapshot { outbound: Arc::new(layer), ..Snapshot::default() };
        let names: Vec<_> = clusters.iter().map(|cluster| format!("{}: it is bad", cluster.name())).collect();
        let message = format!("Error adding/updating cluster(s) {}", names.join(", "));
        let mut quarantine = Quarantine::new(Wire::Delta);
        quarantine.on_sent(Kind::Cluster, Flight::new(1, clusters, BTreeMap::new()), now);
        let view = View::new(snapshot.clone(), None, true);
        let before = compared();
        let nack = Nack { kind: Kind::Cluster, nonce: 1, message: &message, came: false };
        quarantine.on_nack(&nack, &view, now);
        quarantine.barriers(&snapshot, now);
        assert_eq!(quarantine.charges(Kind::Cluster).filter(|charge| charge.found).count(), count);
        compared() - before
    }

    /// The control: each is compared with each.
    fn with_each_other(count: usize) -> usize {
        let before = compared();
        let unit =
            |cluster: &Arc<Resource>| Unit { name: cluster.name().clone(), part: None, version: cluster.version() };
        let units: Vec<_> = clusters(count).iter().map(unit).collect();
        assert!(units.iter().all(|unit| units.contains(unit)));
        compared() - before
    }

    #[test]
    fn a_rejection_of_all_costs_hardly_more_than_all_there_is() {
        for count in [200_usize, 400, 800, 1600] {
            let most = 20 * count * count.ilog2() as usize;
            let took = rejection(count);
            assert!((count..most).contains(&took), "{took} comparisons for {count} clusters, {most} at most");
        }
        assert!(with_each_other(1600) > 20 * 1600 * 1600usize.ilog2() as usize, "that would be seen");
    }
}
