//! chancery: an xDS control plane for Envoy sidecars whose cost follows the change.
//!
//! In reading order: [`model`] holds what is known about the world; [`snapshot`] holds resources without meaning.

pub mod cli;
pub mod model;
pub mod snapshot;
