//! Flags of the xDS server's limits: how long, how large, how much at once.

use crate::xds::gate;
use crate::xds::limits::Options;
use clap::Args;
use jiff::SignedDuration;
use std::time::Duration;

/// A moment so far ahead can still be told; beyond some time it can't.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The limits of the xDS server.
#[derive(Args, Debug)]
pub struct LimitArgs {
    /// How often a proxy's connection is asked whether it is alive, such as 30s
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = positive, env = "CHANCERY_KEEPALIVE_INTERVAL")]
    keepalive_interval: Duration,
    /// How long a proxy has to answer before its connection is closed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive, env = "CHANCERY_KEEPALIVE_TIMEOUT")]
    keepalive_timeout: Duration,
    /// How old a connection may become, give or take a tenth, before the proxy is asked to come anew; 0s for any age
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = duration, env = "CHANCERY_MAX_CONNECTION_AGE")]
    max_connection_age: Duration,
    /// The largest request that is read, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = mebibytes(), env = "CHANCERY_MAX_REQUEST_MIB")]
    max_request_mib: u32,
    /// The largest response that is sent, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = mebibytes(), env = "CHANCERY_MAX_RESPONSE_MIB")]
    max_response_mib: u32,
    /// How much may be on its way to proxies that are not configured yet, in MiB; further ones wait
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = mebibytes(), env = "CHANCERY_ADMISSION_MIB")]
    admission_mib: u32,
    /// How much memory it may have, in MiB; near that new streams are refused. 0 for no limit; else that of its control group
    #[arg(long, value_name = "MIB", env = "CHANCERY_MEMORY_LIMIT_MIB")]
    memory_limit_mib: Option<u32>,
    /// How long routes and listeners wait for a cluster that they name and the proxy has not accepted; then they are sent all the
    /// same
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration, env = "CHANCERY_HOLD_TIME")]
    hold_time: Duration,
    /// How long a proxy's replaced listeners go on: the --drain-time-s of its Envoy. What they name stays that long, and 5 s more
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration, env = "CHANCERY_DRAIN_TIME")]
    drain_time: Duration,
}

impl From<LimitArgs> for Options {
    fn from(args: LimitArgs) -> Self {
        Options {
            keepalive_interval: args.keepalive_interval,
            keepalive_timeout: args.keepalive_timeout,
            max_age: args.max_connection_age,
            max_request: (args.max_request_mib as usize) << 20,
            max_response: (args.max_response_mib as usize) << 20,
            admission: u64::from(args.admission_mib) << 20,
            memory_limit: args.memory_limit_mib.map(|limit| u64::from(limit) << 20),
            gate: gate::Options { hold: args.hold_time, ..gate::Options::draining(args.drain_time) },
            ..Options::default()
        }
    }
}

/// A message's length is a number of 32 bits.
fn mebibytes() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..4096)
}

fn duration(text: &str) -> Result<Duration, String> {
    let time: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    let time = Duration::try_from(time).map_err(|_| "it is negative".to_owned())?;
    if time > LONGEST { Err("it has to be a year at most".to_owned()) } else { Ok(time) }
}

/// A time that is not zero, such as 30s.
pub fn positive(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| if time.is_zero() { Err("it has to be longer".to_owned()) } else { Ok(time) })
}
