//! Everything under `manifests/`: what it is rendered to, that a real API server takes it, that what it grants is needed,
//! and that its Pods do what they are there for when they are run as a node would. And the image that they are of.

#[path = "manifests/alerts.rs"]
mod alerts;
#[path = "manifests/container.rs"]
mod container;
#[path = "manifests/dockerfile.rs"]
mod dockerfile;
#[path = "manifests/golden.rs"]
mod golden;
mod harness;
#[path = "manifests/helm.rs"]
mod helm;
#[path = "manifests/how_to.rs"]
mod how_to;
#[path = "manifests/image.rs"]
mod image;
#[path = "manifests/node.rs"]
mod node;
#[path = "manifests/pods.rs"]
mod pods;
#[path = "manifests/releases.rs"]
mod releases;
#[path = "manifests/rendered.rs"]
mod rendered;
#[path = "manifests/rights.rs"]
mod rights;
#[path = "manifests/server.rs"]
mod server;
#[path = "kubernetes/shared.rs"]
mod shared;
#[path = "manifests/values.rs"]
mod values;
