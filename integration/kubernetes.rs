//! A real Kubernetes control plane: that it is what other tests take it for, and what its validation says of manifests
//! that chancery reads. Tests that leave it as it is share one, each with namespaces of its own.

#[path = "kubernetes/backwards.rs"]
mod backwards;
#[path = "kubernetes/bundles.rs"]
mod bundles;
#[path = "kubernetes/contexts.rs"]
mod contexts;
#[path = "kubernetes/control_plane.rs"]
mod control_plane;
#[path = "kubernetes/crossing.rs"]
mod crossing;
#[path = "kubernetes/cut.rs"]
mod cut;
#[path = "kubernetes/dashboards.rs"]
mod dashboards;
#[path = "kubernetes/discovery.rs"]
mod discovery;
#[path = "kubernetes/disk.rs"]
mod disk;
#[path = "kubernetes/ends.rs"]
mod ends;
#[path = "kubernetes/examples.rs"]
mod examples;
#[path = "kubernetes/faults.rs"]
mod faults;
#[path = "kubernetes/flips.rs"]
mod flips;
#[path = "ads/raw.rs"]
mod frames;
mod harness;
#[path = "kubernetes/hung.rs"]
mod hung;
#[path = "kubernetes/identity.rs"]
mod identity;
#[path = "kubernetes/invalid.rs"]
mod invalid;
#[path = "kubernetes/issuers.rs"]
mod issuers;
#[path = "kubernetes/kinds.rs"]
mod kinds;
#[path = "kubernetes/leaders.rs"]
mod leaders;
#[path = "kubernetes/lists.rs"]
mod lists;
#[path = "kubernetes/losses.rs"]
mod losses;
#[path = "kubernetes/namespaces.rs"]
mod namespaces;
#[path = "kubernetes/outages.rs"]
mod outages;
#[path = "kubernetes/policies.rs"]
mod policies;
#[path = "kubernetes/prompt.rs"]
mod prompt;
#[path = "kubernetes/proxies.rs"]
mod proxies;
#[path = "kubernetes/recorded.rs"]
mod recorded;
#[path = "trace/recorder.rs"]
mod recorder;
#[path = "kubernetes/refusals.rs"]
mod refusals;
#[path = "kubernetes/replays.rs"]
mod replays;
#[path = "kubernetes/replicas.rs"]
mod replicas;
#[path = "kubernetes/reviews.rs"]
mod reviews;
#[path = "kubernetes/rotation.rs"]
mod rotation;
#[path = "kubernetes/secrets.rs"]
mod secrets;
#[path = "kubernetes/serving.rs"]
mod serving;
#[path = "kubernetes/shared.rs"]
mod shared;
#[path = "kubernetes/skew.rs"]
mod skew;
#[path = "kubernetes/slow.rs"]
mod slow;
#[path = "kubernetes/source.rs"]
mod source;
#[path = "kubernetes/stage.rs"]
mod stage;
#[path = "kubernetes/status.rs"]
mod status;
#[path = "kubernetes/stored.rs"]
mod stored;
#[path = "kubernetes/streams.rs"]
mod streams;
#[path = "kubernetes/stub.rs"]
mod stub;
#[path = "kubernetes/told.rs"]
mod told;
mod trace;
#[path = "kubernetes/tutorial.rs"]
mod tutorial;
#[path = "kubernetes/verdicts.rs"]
mod verdicts;
#[path = "kubernetes/waiting.rs"]
mod waiting;
