//! The composition root of `serve`: every task, every channel, and the order in which they end.
//!
//! Nothing may use this module. When a task ends before it should, the process ends with its reason.

use crate::admin;
use crate::keeper;
use crate::publish::run::{self as publish, Sinks};
use crate::snapshot::board::Board;
use crate::source::directory;
use crate::telemetry::Metrics;
use crate::telemetry::readiness::Readiness;
use crate::xds::registry::Registry;
use crate::xds::server::{self, XdsContext};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How many batches may wait for the keeper; a source waits when they do.
const BATCHES: usize = 64;
/// How long streams and admin requests may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// What `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of manifests.
    pub config: PathBuf,
    /// Where proxies connect.
    pub xds_address: SocketAddr,
    /// Where operators and Prometheus ask.
    pub admin_address: SocketAddr,
}

/// Why `serve` ended.
#[derive(Debug, Error)]
pub enum AppError {
    /// An address can't be bound.
    #[error("cannot listen on {address} for {purpose}: {source}")]
    Bind {
        /// What the address is for.
        purpose: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The folder can't be read.
    #[error(transparent)]
    Source(#[from] directory::DirectoryError),
    /// The xDS server failed.
    #[error(transparent)]
    Xds(#[from] server::ServeError),
    /// The admin server failed.
    #[error("the admin server failed: {0}")]
    Admin(std::io::Error),
    /// A task ended that never should.
    #[error("the {0} ended unexpectedly")]
    Ended(&'static str),
}
