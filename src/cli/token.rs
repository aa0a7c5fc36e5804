//! `chancery token`: a token for a workload of a folder of manifests, as a cluster would give it to its Pod.

use super::Done;
use super::serve::limits::positive;
use crate::app::security::issuers;
use crate::ca::folder::Folder;
use crate::clock::Clock;
use crate::model::identity::{BoundPod, Identity};
use clap::Args;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// The flags of `chancery token`.
#[derive(Args, Debug)]
pub struct TokenArgs {
    /// The directory that `chancery serve --identity` has
    #[arg(long, value_name = "DIR", env = "CHANCERY_IDENTITY")]
    identity: PathBuf,
    /// Who is to have it
    #[arg(long, value_name = "POD.NAMESPACE", value_parser = pod)]
    pod: (String, String),
    /// The service account the Pod runs as
    #[arg(long, value_name = "NAME", default_value = "default")]
    service_account: String,
    /// Whom it is meant for: what `chancery serve --token-audience` says
    #[arg(long, value_name = "AUDIENCE", default_value = "chancery")]
    audience: String,
    /// How long it is valid
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = positive)]
    lasts: Duration,
}

impl TokenArgs {
    /// The token.
    ///
    /// # Errors
    /// If there is no key in the directory and none can be made.
    pub fn run(self) -> Result<Done, Box<dyn Error>> {
        let Self { identity, pod: (pod, namespace), service_account, audience, lasts } = self;
        let bound = BoundPod { name: pod.into(), uid: "".into() };
        let who = Identity { pod: Some(bound), ..Identity::new(namespace.into(), service_account.into()) };
        let token = issuers::issuer(&Folder::new(identity))?.issue(&who, &audience, Clock::system().now(), lasts)?;
        Ok(Done::ok(token + "\n"))
    }
}

fn pod(text: &str) -> Result<(String, String), String> {
    let (pod, namespace) = text.rsplit_once('.').unwrap_or_default();
    match pod.is_empty() || namespace.is_empty() {
        true => Err("it has to be the Pod's name, a dot, and its namespace".to_owned()),
        false => Ok((pod.to_owned(), namespace.to_owned())),
    }
}
