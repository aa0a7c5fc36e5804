//! The flags of the admin port: where it is, and who may see what there.

use crate::admin::guard::Operators;
use crate::app::AdminOptions;
use crate::model::name::{Name, Namespace};
use clap::{Args, ValueEnum};
use std::net::SocketAddr;

/// Who sees configuration at the admin port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Access {
    /// Who shows a token.
    Credential,
    /// Whoever asks.
    Open,
}

/// The admin port.
#[derive(Args, Debug)]
pub struct AdminArgs {
    /// Where probes, metrics and the API answer
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15014", env = "CHANCERY_ADMIN_ADDRESS")]
    admin_address: SocketAddr,
    /// Who sees proxies, objects and problems there: whoever shows a token that a proxy could show, or, on loopback by
    /// default, whoever asks. Probes and metrics are for everybody
    #[arg(long, value_name = "WHO", env = "CHANCERY_ADMIN_ACCESS")]
    admin_access: Option<Access>,
    /// Service accounts whose tokens show all of it, as NAMESPACE/NAME, with commas between them; others show their own
    /// namespace
    #[arg(long, value_name = "ACCOUNTS", value_delimiter = ',', value_parser = account, env = "CHANCERY_OPERATORS")]
    operators: Vec<(Namespace, Name)>,
}

impl From<AdminArgs> for AdminOptions {
    fn from(args: AdminArgs) -> Self {
        let AdminArgs { admin_address: address, admin_access, operators } = args;
        let open = admin_access.map_or(address.ip().is_loopback(), |access| access == Access::Open);
        AdminOptions { address, open, operators: Operators::from_iter(operators) }
    }
}

/// A service account, as NAMESPACE/NAME.
fn account(text: &str) -> Result<(Namespace, Name), String> {
    let plain = |part: &str| !part.is_empty() && !part.contains(['/', ' ']);
    match text.split_once('/').filter(|(namespace, name)| plain(namespace) && plain(name)) {
        Some((namespace, name)) => Ok((namespace.into(), name.into())),
        None => Err("a service account is named by its namespace and its name, such as shop/cart".to_owned()),
    }
}
