//! The domain: nouns of Kubernetes and Istio as chancery understands them, and the World that holds them.
//!
//! Sources parse into these types, `translate` reads them. Nothing here knows Kubernetes clients, Envoy or async.

pub mod access_log;
pub mod audience;
pub mod authentication;
pub mod destination;
pub mod endpoint;
pub mod exports;
pub mod identity;
pub mod labels;
pub mod mesh;
pub mod name;
pub mod near;
pub mod node;
pub mod object;
pub mod outlook;
pub mod pod;
pub mod problem;
pub mod provenance;
pub mod reach;
pub mod route;
pub mod scope;
pub mod secret;
pub mod selector;
pub mod sensitive;
pub mod service;
pub mod sidecar;
pub mod text;
pub mod tracked;
pub mod view;
pub mod world;
