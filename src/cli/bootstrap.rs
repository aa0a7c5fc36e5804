//! `chancery bootstrap`: prints an Envoy bootstrap that works as it is.
//!
//! Flags come in, checked one by one and then together; YAML or JSON leaves. What the bootstrap says is in [`config`].

pub mod config;
pub mod input;

use crate::snapshot::print::{self, Format};
use config::Options;
use input::{Entry, HostPort, ServiceNode};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use thiserror::Error;

/// The flags of `chancery bootstrap`.
#[derive(clap::Args, Clone, Debug)]
pub struct BootstrapArgs {
    /// Where Envoy finds chancery: an address and port, or a DNS name and port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:15010")]
    pub xds_address: HostPort,

    /// The port of Envoy's admin interface, always on a loopback address
    #[arg(long, value_name = "PORT", default_value = "15000", value_parser = clap::value_parser!(u16).range(1..))]
    pub admin_port: u16,

    /// The port where Envoy serves /stats/prometheus and nothing else
    #[arg(long, value_name = "PORT", default_value = "15090", value_parser = clap::value_parser!(u16).range(1..))]
    pub stats_port: u16,

    /// The port where Envoy serves /healthz/ready and nothing else
    #[arg(long, value_name = "PORT", default_value = "15021", value_parser = clap::value_parser!(u16).range(1..))]
    pub ready_port: u16,

    /// The address the stats and readiness ports are opened on, and the admin port too if it is a loopback address
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub bind_address: IpAddr,

    /// Who the proxy is. Without it, pass --service-node and --service-cluster to Envoy
    #[arg(long, value_name = "sidecar~IP~POD.NAMESPACE~DOMAIN")]
    pub service_node: Option<ServiceNode>,

    /// An entry of the node's metadata; a value that starts with { or [ is read as JSON. May be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub node_metadata: Vec<Entry>,

    /// The heap Envoy may grow to, in MiB: from 90 % on it gives memory back, from 95 % on it refuses requests. 0: no limit
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(..1 << 24))]
    pub max_heap_mib: u64,

    /// Keep all of Envoy's statistics, not only the essential ones
    #[arg(long)]
    pub all_stats: bool,

    /// How the bootstrap is written
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    pub output: Format,
}

/// Flags that are good one by one but not together.
#[derive(Error, PartialEq, Eq, Debug)]
pub enum BootstrapError {
    /// Two of the ports are one.
    #[error("--{0} and --{1} are both {2}; they need a port each")]
    SamePort(&'static str, &'static str, u16),
    /// A key of the metadata was given more than once.
    #[error("--node-metadata: {0} is given twice")]
    GivenTwice(String),
}

impl BootstrapArgs {
    /// The bootstrap as text, to be printed as it is.
    pub fn text(self) -> Result<String, BootstrapError> {
        let format = self.output;
        Ok(print::text(&config::bootstrap(&self.options()?), format))
    }

    /// The flags as options.
    pub fn options(self) -> Result<Options, BootstrapError> {
        let Self {
            xds_address,
            admin_port,
            stats_port,
            ready_port,
            bind_address,
            service_node,
            node_metadata,
            max_heap_mib,
            all_stats,
            output: _,
        } = self;
        distinct([("admin-port", admin_port), ("stats-port", stats_port), ("ready-port", ready_port)])?;
        let mut metadata = BTreeMap::new();
        for Entry { key, value } in node_metadata {
            if metadata.insert(key.clone(), value).is_some() {
                return Err(BootstrapError::GivenTwice(key));
            }
        }
        Ok(Options {
            xds: xds_address,
            admin_port,
            stats_port,
            ready_port,
            bind: bind_address,
            node: service_node,
            metadata,
            max_heap_mib: Some(max_heap_mib).filter(|mib| *mib > 0),
            all_stats,
        })
    }
}

/// Fails if two flags name one port.
fn distinct(ports: [(&'static str, u16); 3]) -> Result<(), BootstrapError> {
    for (index, (flag, port)) in ports.iter().enumerate() {
        if let Some((other, _)) = ports[..index].iter().find(|(_, taken)| taken == port) {
            return Err(BootstrapError::SamePort(other, flag, *port));
        }
    }
    Ok(())
}
