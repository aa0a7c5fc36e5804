//! What a client says about a response it rejects, made safe to keep, log and show.

use crate::snapshot::resource::Version;
use crate::xds::quarantine::message::reason;
use std::time::Instant;

/// How much of a message is kept, in bytes.
const MAX_MESSAGE: usize = 4 * 1024;
/// Where key material starts; nothing from there on is kept.
const PEM: &str = "-----BEGIN";

/// A rejected response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// The version of the whole that was rejected.
    pub version: Version,
    /// The client's reason: at most 4 KiB, without control characters and key material.
    pub message: String,
    /// When it was received.
    pub at: Instant,
}

impl Rejection {
    /// Keeps what is safe of `message`.
    pub fn new(version: Version, message: &str, at: Instant) -> Self {
        Self { version, message: safe(message), at }
    }
}

/// What is safe of a message, without a resource printed in it.
pub(in crate::xds) fn safe(message: &str) -> String {
    let message = reason(message);
    let (kept, redacted) = match message.find(PEM) {
        Some(at) => (&message[..at], "[redacted]"),
        None => (message, ""),
    };
    let mut out = String::new();
    for character in kept.chars() {
        let length = out.len();
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
        if out.len() > MAX_MESSAGE {
            out.truncate(length);
            break;
        }
    }
    out + redacted
}
