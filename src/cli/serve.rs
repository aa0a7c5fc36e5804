//! `chancery serve`: flags, logging, and the runtime around [`crate::app`].

mod admin;
mod cluster;
mod doors;
pub mod limits;
mod peers;
mod status;

use crate::app::{self, Options, SourceOptions};
use crate::telemetry::logging::{self, Format};
use clap::Args;
use std::error::Error;
use std::path::PathBuf;

/// `chancery serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Folder of manifests (*.yaml, *.yml, *.json) to serve from instead of a cluster; read again when a file changes
    #[arg(long, value_name = "DIR", env = "CHANCERY_CONFIG")]
    config: Option<PathBuf>,
    /// Settings of the mesh (Istio's MeshConfig), in place of DIR/mesh.yaml; read again when the file changes
    #[arg(long, value_name = "FILE", env = "CHANCERY_MESH_CONFIG", requires = "config")]
    mesh_config: Option<PathBuf>,
    #[command(flatten)]
    cluster: cluster::ClusterArgs,
    #[command(flatten)]
    status: status::StatusArgs,
    #[command(flatten)]
    doors: doors::DoorArgs,
    #[command(flatten)]
    admin: admin::AdminArgs,
    /// What to log: error, warn, info, debug, trace, or a list such as info,chancery::xds=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "CHANCERY_LOG_LEVEL")]
    log_level: String,
    /// How to log: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", env = "CHANCERY_LOG_FORMAT")]
    log_format: Format,
    #[command(flatten)]
    peers: peers::PeerArgs,
    #[command(flatten)]
    limits: limits::LimitArgs,
}

impl ServeArgs {
    /// Serves until a signal or a failure.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        let Self { config, mesh_config, cluster, status, doors, admin, log_level, log_format, peers, limits } = self;
        logging::init(log_format, &log_level)?;
        let peers = peers.options(&cluster)?;
        let doors::Doors { secure, plaintext } = doors.doors(config.is_some())?;
        let source = match config {
            Some(config) => SourceOptions::Folder { config, mesh_config },
            None => SourceOptions::Kubernetes(cluster.into()),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (xds, status) = (limits.into(), status.options());
        let options = Options { source, secure, plaintext, admin: admin.into(), xds, peers, status };
        Ok(runtime.block_on(app::run(options))?)
    }
}
