//! Sources: inputs become objects of the model, and mistakes become findings.
//!
//! In reading order: [`finding`] is what a person is told; [`yaml`] reads bytes; [`parse`] turns serde values into objects and
//! is shared by every source; [`directory`] is a folder of YAML, reloaded when it changes. Nothing here knows Envoy.

pub mod directory;
pub mod finding;
pub mod parse;
pub mod yaml;
