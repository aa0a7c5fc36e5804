//! `chancery bootstrap`: prints an Envoy bootstrap that works as it is.
//!
//! Flags come in, checked one by one and then together; YAML or JSON leaves. What the bootstrap says is in [`config`].

pub mod config;
pub mod input;

use crate::snapshot::print::{self, Format};
use config::Options;
use config::xds::{File, Trust, roots_secret, token_secret};
use input::{Entry, HostPort, ServiceNode, path};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use thiserror::Error;

/// The flags of `chancery bootstrap`.
#[derive(clap::Args, Clone, Debug)]
pub struct BootstrapArgs {
    /// Where Envoy finds chancery: an address and port, or a DNS name and port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:15012")]
    pub xds_address: HostPort,

    /// Where Envoy finds the root certificates of who signs chancery's; without it chancery is spoken to in plain text
    #[arg(long, value_name = "FILE", value_parser = path)]
    pub root_cert: Option<String>,

    /// The DNS name in chancery's certificate
    #[arg(long, value_name = "NAME", default_value = "chancery", requires = "root_cert")]
    pub server_name: String,

    /// Where Envoy finds the token with which it proves who it is; a stream has the one that is there when it begins
    #[arg(long, value_name = "FILE", value_parser = path, requires = "root_cert")]
    pub token: Option<String>,

    /// Where Envoy finds token.yaml and roots.yaml, which name the token and the roots: both are then followed while it
    /// runs, the token by a filter that Envoy has since 1.37
    #[arg(long, value_name = "DIR", value_parser = path, requires = "token")]
    pub secrets_dir: Option<String>,

    /// What to print: bootstrap, or what one of the two files says, token or roots
    #[arg(long, value_name = "WHAT", default_value = "bootstrap", hide_possible_values = true)]
    pub print: What,

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

/// What is printed.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The bootstrap.
    Bootstrap,
    /// token.yaml.
    Token,
    /// roots.yaml.
    Roots,
}

/// Flags that are good one by one but not together.
#[derive(Error, PartialEq, Eq, Debug)]
pub enum BootstrapError {
    /// Two of the ports are one.
    #[error("--{0} and --{1} are both {2}; they need a port each")]
    SamePort(&'static str, &'static str, u16),
    /// What is asked for names a file, which was not given.
    #[error("--print {0} needs --{1}")]
    NotGiven(&'static str, &'static str),
    /// A key of the metadata was given more than once.
    #[error("--node-metadata: {0} is given twice")]
    GivenTwice(String),
}

impl BootstrapArgs {
    /// What is asked for as text, to be printed as it is.
    pub fn text(self) -> Result<String, BootstrapError> {
        let format = self.output;
        let value = match self.print {
            What::Bootstrap => config::bootstrap(&self.options()?),
            What::Token => token_secret(self.token.as_deref().ok_or(BootstrapError::NotGiven("token", "token"))?),
            What::Roots => {
                roots_secret(self.root_cert.as_deref().ok_or(BootstrapError::NotGiven("roots", "root-cert"))?)
            }
        };
        Ok(print::text(&value, format))
    }

    fn trust(&self) -> Option<Trust> {
        let (named, server) = (
            |name| self.secrets_dir.as_ref().map(|dir| File::Secret(format!("{dir}/{name}.yaml"))),
            self.server_name.clone(),
        );
        let roots = self.root_cert.clone()?;
        let token = self.token.clone().map(|token| named("token").unwrap_or(File::Plain(token)));
        Some(Trust { roots: named("roots").unwrap_or(File::Plain(roots)), server, token })
    }

    /// The flags as options.
    pub fn options(self) -> Result<Options, BootstrapError> {
        let trust = self.trust();
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
            root_cert: _,
            server_name: _,
            token: _,
            secrets_dir: _,
            print: _,
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
            trust,
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
