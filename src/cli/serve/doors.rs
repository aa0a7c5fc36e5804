//! The flags of where proxies connect, and of how they prove who they are.

use super::limits::positive;
use crate::app::security::Options;
use crate::clock::Clock;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// DNS names in the server's certificate, whatever the flags say.
const NAMES: [&str; 2] = ["chancery", "localhost"];

/// Where proxies connect.
#[derive(Args, Debug)]
pub struct DoorArgs {
    /// Where proxies connect, over TLS, and prove who they are
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15012", env = "CHANCERY_XDS_ADDRESS")]
    xds_address: SocketAddr,
    /// Directory of the certificate authority, in the layout of Istio's cacerts, and of the key that signs tokens for a
    /// folder of manifests; both are made if they are not there. In a cluster a Secret is used without it
    #[arg(long, value_name = "DIR", env = "CHANCERY_IDENTITY")]
    identity: Option<PathBuf>,
    /// Secret of the certificate authority in chancery's own namespace; made if it is not there
    #[arg(
        long,
        value_name = "NAME",
        default_value = "chancery-ca",
        env = "CHANCERY_CA_SECRET",
        conflicts_with = "config"
    )]
    ca_secret: String,
    /// A DNS name of this server, for its certificate, besides chancery and localhost. May be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "CHANCERY_XDS_NAME")]
    xds_name: Vec<String>,
    /// Directory with the certificate and the key of this server, tls.crt and tls.key, in place of one that the authority signs; read
    /// again when they change. Proxies have to trust who has signed it
    #[arg(long, value_name = "DIR", env = "CHANCERY_SERVER_CERTIFICATE")]
    server_certificate: Option<PathBuf>,
    /// What the tokens of proxies must be meant for
    #[arg(long, value_name = "AUDIENCE", default_value = "chancery", env = "CHANCERY_TOKEN_AUDIENCE")]
    token_audience: String,
    /// Ask the API server about the token of each proxy (TokenReview), in place of verifying it here; answers count for a
    /// minute
    #[arg(long, env = "CHANCERY_TOKEN_REVIEW", conflicts_with = "config")]
    token_review: bool,
    /// A ClusterTrustBundle in which the roots are told, besides the ConfigMap in each namespace; written by the process that
    /// writes status
    #[arg(long, value_name = "NAME", env = "CHANCERY_TRUST_BUNDLE", conflicts_with = "config")]
    trust_bundle: Option<String>,
    /// How long the certificate of a workload lasts; it is renewed at half of that
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = positive, env = "CHANCERY_CERTIFICATE_LIFETIME")]
    certificate_lifetime: Duration,
    /// Where proxies connect in plain text as well, and prove nothing: they have no certificate, and what they say of
    /// themselves is believed. On loopback only
    #[arg(long, value_name = "ADDRESS", env = "CHANCERY_PLAINTEXT_ADDRESS")]
    plaintext_address: Option<SocketAddr>,
    /// Let the plaintext address be another than loopback: whoever reaches it can read the configuration of any proxy
    #[arg(long, env = "CHANCERY_PLAINTEXT_ANYWHERE", requires = "plaintext_address")]
    plaintext_anywhere: bool,
    /// Open no other address than the plaintext one: no proxy has a certificate
    #[arg(long, env = "CHANCERY_PLAINTEXT_ONLY", requires = "plaintext_address")]
    plaintext_only: bool,
}

/// Where proxies connect.
pub struct Doors {
    /// Over TLS, and how.
    pub secure: Option<(SocketAddr, Options)>,
    /// In plain text.
    pub plaintext: Option<SocketAddr>,
}

impl DoorArgs {
    /// The doors that are to be opened, for a folder or for a cluster.
    ///
    /// # Errors
    /// If there is none, or one that should not be open.
    pub fn doors(self, is_folder: bool) -> Result<Doors, String> {
        let plaintext = self.plaintext_address;
        if let Some(address) = plaintext.filter(|address| !self.plaintext_anywhere && !address.ip().is_loopback()) {
            return Err(format!(
                "--plaintext-address {address} is not on loopback, so anybody could read any proxy's configuration there; \
                 --plaintext-anywhere allows it"
            ));
        }
        if self.plaintext_only {
            return Ok(Doors { secure: None, plaintext });
        }
        if is_folder && self.identity.is_none() {
            return Err("proxies have to prove who they are: give --identity DIR, a directory for the certificate \
                 authority, which is made if it is not there; or --plaintext-address and --plaintext-only, where they don't"
                .to_owned());
        }
        let names = NAMES.into_iter().map(str::to_owned).chain(self.xds_name).collect();
        let options = Options {
            folder: self.identity,
            secret: self.ca_secret,
            names,
            served: self.server_certificate,
            audience: self.token_audience,
            reviewed: self.token_review,
            bundle: self.trust_bundle,
            lasts: self.certificate_lifetime,
            clock: Clock::system(),
        };
        Ok(Doors { secure: Some((self.xds_address, options)), plaintext })
    }
}
