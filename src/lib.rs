//! chancery: an xDS control plane for Envoy sidecars whose cost follows the change.
//!
//! In the order a change travels: [`source`] parses manifests into the nouns of [`model`]; [`keeper`] applies them to the
//! World; [`publish`] recomputes what a change reaches through [`translate`] and posts a [`snapshot`]; [`xds`] streams
//! the difference to proxies. [`tokens`] tell who they are, and [`ca`] signs for them. [`status`] tells objects what became of them, [`peers`] is what replicas tell each other.
//! [`cli`] starts it all, [`app`] composes it; [`admin`] and [`telemetry`] are how it is watched. Who waits for a time has an [`alarm`], who has to know it a [`clock`].

pub mod admin;
pub mod alarm;
pub mod app;
pub mod ca;
pub mod cli;
pub mod clock;
pub mod keeper;
pub mod model;
pub mod peers;
pub mod publish;
pub mod snapshot;
pub mod source;
pub mod status;
pub mod telemetry;
pub mod tokens;
pub mod translate;
pub mod xds;
