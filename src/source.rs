//! Sources: inputs become objects of the model, and mistakes become findings.
//!
//! In reading order: [`finding`] is what a person is told; [`yaml`] reads bytes; [`parse`] turns serde values into objects and
//! is shared by every source; [`report`] is what is wrong now; [`directory`] is a folder of YAML, reloaded when it changes;
//! [`kubernetes`] watches an API server. Nothing here knows Envoy.

pub mod directory;
mod discovery;
mod exchange;
pub mod finding;
pub mod kubernetes;
pub mod parse;
pub mod report;
pub mod yaml;
