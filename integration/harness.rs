//! What the live tests and the demo share: real processes on addresses of their own, requests, counts and deadlines.
//!
//! A [`scene::Scene`] is the whole of it: chancery on a copy of the first-light example, two versions of the echo
//! service and an Envoy for every pod. Everything ends when its value is dropped. Nothing here knows what is expected;
//! the tests and the demo say that.
#![allow(dead_code, reason = "the demo and the live tests each use a part")]

pub mod addresses;
pub mod api;
pub mod authority;
pub mod caller;
pub mod chancery;
#[cfg(test)]
mod checks;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod deadline;
pub mod dns;
pub mod echo;
pub mod envoy;
pub mod load;
pub mod manifests;
pub mod metrics;
pub mod monitoring;
pub mod network;
pub mod passage;
pub mod prometheus;
pub mod relay;
pub mod scene;
pub mod spawner;
pub mod split;
pub mod steps;
pub mod timing;
pub mod tools;

use std::fmt;

/// Why something didn't come about, in words for the person in front of the terminal.
pub struct Failure(pub String);

/// The result of anything that touches the world outside.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A failure with these words.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The same failure with more to read below it, such as the end of a log.
    pub fn with(self, more: &str) -> Self {
        if more.is_empty() { self } else { Self(format!("{}\n{more}", self.0)) }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self(text)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
