//! Sets up logging, once, at start: tracing events to standard error, as text or JSON lines.

use std::io::IsTerminal;
use std::str::FromStr;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

/// How log events are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            other => Err(format!("log format {other:?} is not one of text, json")),
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The level is neither a level nor a list of `target=level`.
    #[error("the log level is not valid: {0}")]
    Level(#[from] ParseError),
    /// Something else has set up logging before.
    #[error("logging is already set up: {0}")]
    Twice(#[from] TryInitError),
}

/// The library that asks the API server. Whatever fails there is said by those who asked, with what it means.
const CLIENT: &str = "kube_client";

/// Sends log events of at least `level` (`info`, or a list such as `info,chancery::xds=debug`) to standard error.
pub fn init(format: Format, level: &str) -> Result<(), LoggingError> {
    use tracing_subscriber::util::SubscriberInitExt;
    let silent = if level.contains(CLIENT) { String::new() } else { format!(",{CLIENT}=off") };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(format!("{level}{silent}"))?)
        .with_writer(std::io::stderr)
        // What can't be written, such as to a disk that is full, would be said there, which fails as well, and ends the task.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        Format::Text => builder.finish().try_init()?,
        Format::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

/// The most characters of a text of others that are shown.
const SHOWN: usize = 300;

/// A text of others as it may stand in a log.
pub fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(SHOWN).map(plain).collect()
}

/// An error with what caused it, each said once, as it may stand in a log.
pub fn words(error: &dyn std::error::Error) -> String {
    shown(&chain(error))
}

/// An error and what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        // Some errors already say what caused them.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}
