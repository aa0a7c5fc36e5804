//! The flags that say whether status is written, and who does.

use crate::app::StatusOptions;
use clap::{Args, ValueEnum};
use std::time::Duration;

/// Whether something is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// How status is written.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Whether what became of objects is written to them in a cluster, by one of the processes that share a Lease
    #[arg(long, value_name = "SWITCH", default_value = "on", env = "CHANCERY_STATUS")]
    status: Switch,
    /// The Lease in chancery's own namespace by which one process is chosen
    #[arg(long, value_name = "NAME", default_value = "chancery", env = "CHANCERY_LEASE")]
    lease: String,
    /// How long others wait for the process that holds the Lease, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, env = "CHANCERY_LEASE_SECONDS",
        value_parser = clap::value_parser!(u32).range(3..=300))]
    lease_seconds: u32,
}

impl StatusArgs {
    /// The options; none if status is not to be written.
    pub fn options(self) -> Option<StatusOptions> {
        let Self { status, lease, lease_seconds } = self;
        // In a Pod this is its name.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = Some(host.trim().to_owned()).filter(|host| !host.is_empty()).unwrap_or("chancery".to_owned());
        let lasts = Duration::from_secs(lease_seconds.into());
        (status == Switch::On).then_some(StatusOptions { lease, lasts, host })
    }
}
