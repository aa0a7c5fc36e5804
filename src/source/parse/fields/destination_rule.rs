//! The fields of a DestinationRule's `spec`, as documented by Istio.

use super::traffic_policy::POLICY;
use super::{Field, Shape, TEXT_MAP, TEXTS};
use Shape::{List, Object, Text};

/// The fields.
pub const FIELDS: &[Field] = &[
    Field::done(
        "host",
        Text,
        "the host whose clusters this rule shapes; a name without a dot is of the rule's own namespace",
    ),
    Field::done("trafficPolicy", Object(POLICY), "how clients treat the host's endpoints"),
    Field::done("subsets", List(&Object(SUBSET)), "named parts of the host's endpoints, a cluster each"),
    Field::done(
        "exportTo",
        TEXTS,
        "the namespaces whose proxies it acts for: names, . for its own, * for all, ~ for none",
    ),
    Field::done(
        "workloadSelector",
        Object(SELECTOR),
        "the workloads of its namespace it acts for, before rules that name none; none is every workload it is exported to",
    ),
];

const SUBSET: &[Field] = &[
    Field::done("name", Text, "the subset's name, unique in the rule"),
    Field::done("labels", TEXT_MAP, "labels a Pod must carry to belong to the subset; none selects all"),
    Field::done("trafficPolicy", Object(POLICY), "laid over the rule's policy, block by block"),
];

const SELECTOR: &[Field] = &[Field::done("matchLabels", TEXT_MAP, "labels a workload must carry")];
