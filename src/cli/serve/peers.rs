//! The flags of the talk among replicas.

use super::cluster::ClusterArgs;
use crate::peers::Options;
use clap::Args;
use std::net::{IpAddr, SocketAddr};

/// How replicas talk with each other.
#[derive(Args, Debug)]
pub struct PeerArgs {
    /// Where other replicas ask what is known here of proxies, over mutual TLS; without it this one is alone
    #[arg(long, value_name = "ADDRESS", env = "CHANCERY_PEER_ADDRESS", conflicts_with = "config")]
    peer_address: Option<SocketAddr>,
    /// The IP address at which they find it; that of the peer address by default
    #[arg(long, value_name = "IP", env = "CHANCERY_PEER_IP", requires = "peer_address")]
    peer_ip: Option<IpAddr>,
    /// This replica's name among the others: that of its Pod; the host's name by default
    #[arg(long, value_name = "NAME", env = "CHANCERY_REPLICA")]
    replica: Option<String>,
}

impl PeerArgs {
    /// Where to listen and how to take part; none: not at all.
    pub fn options(self, cluster: &ClusterArgs) -> Result<Option<(SocketAddr, Options)>, String> {
        let Some(address) = self.peer_address else { return Ok(None) };
        let ip = self.peer_ip.unwrap_or(address.ip());
        if ip.is_unspecified() {
            return Err(format!(
                "--peer-address {address} is no address at which others find this replica: give --peer-ip"
            ));
        }
        let named = self.replica.or_else(|| std::env::var("HOSTNAME").ok()).filter(|name| !name.is_empty());
        let replica = named.ok_or("the host has no name: give --replica")?;
        let advertised = SocketAddr::new(ip, address.port());
        let (installation, namespace) = (cluster.installation(), cluster.own_namespace());
        Ok(Some((address, Options { replica, advertised, installation, namespace })))
    }
}
