//! How an API server is reached: by a kubeconfig, as kubectl does it, or with the service account of the Pod.

use super::api;
use super::proxy::{self, Environment, Refused};
use crate::telemetry::logging::words;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use std::path::PathBuf;
use std::time::Duration;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Which API server, and how to reach it.
#[derive(Clone, Default, Debug)]
pub struct Access {
    /// A kubeconfig; none: what kubectl would use, or the service account of the Pod.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; none: its current one.
    pub context: Option<String>,
    /// What the environment says of proxies.
    pub environment: Environment,
}

/// Why a cluster can't be reached at all.
#[derive(thiserror::Error, Debug)]
pub enum KubernetesError {
    /// The kubeconfig can't be used.
    #[error("the kubeconfig can't be used: {0}")]
    Kubeconfig(String),
    /// There is neither a kubeconfig nor the service account of a Pod.
    #[error("no cluster is known: give --kubeconfig, or --config for a folder of manifests ({0})")]
    NoCluster(String),
    /// A proxy is named that can't be used.
    #[error(transparent)]
    Proxy(#[from] Refused),
    /// The connection can't be set up as the kubeconfig says.
    #[error("the connection to the API server can't be set up: {0}")]
    Client(#[from] api::Failure),
}

impl From<KubeconfigError> for KubernetesError {
    fn from(error: KubeconfigError) -> Self {
        let environment = |name: &str, error: &dyn std::error::Error| {
            Self::Proxy(Refused { place: format!("{name} of the environment"), reason: words(error) })
        };
        match error {
            // The library's words show lines of the file, which holds keys.
            KubeconfigError::Parse(_) => Self::Kubeconfig("it is not understood".to_owned()),
            // The one of the kubeconfig was looked at before.
            KubeconfigError::ParseProxyUrl(error) => environment("HTTPS_PROXY", &error),
            KubeconfigError::ParseNoProxy(error) => environment("NO_PROXY", &error),
            error => Self::Kubeconfig(words(&error)),
        }
    }
}

impl Access {
    /// Makes a client for those who ask something now and then. Asks nothing.
    ///
    /// # Errors
    /// If the kubeconfig, or what it refers to, can't be used.
    pub async fn client(&self) -> Result<Client, KubernetesError> {
        Client::try_from(self.config().await?).map_err(|error| api::Failure::from(error).into())
    }

    /// What says how to reach it.
    pub(super) async fn config(&self) -> Result<Config, KubernetesError> {
        let mut config = match (&self.kubeconfig, &self.context) {
            (Some(path), _) => self.by(Kubeconfig::read_from(path)?, &path.display().to_string()).await?,
            (None, Some(_)) => self.by(Kubeconfig::read()?, USUAL).await?,
            (None, None) => self.found().await?,
        };
        config.connect_timeout = Some(CONNECT);
        Ok(config)
    }

    async fn by(&self, kubeconfig: Kubeconfig, file: &str) -> Result<Config, KubernetesError> {
        let proxy = proxy::of(&kubeconfig, self.context.as_deref(), file, &self.environment)?;
        let named = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &named).await?;
        if let Some(proxy) = &proxy {
            tracing::info!(%proxy, said = proxy.place, "the API server is reached by way of a proxy");
        }
        // The library takes that of the environment without a look at the server.
        config.proxy_url = proxy.map(|proxy| proxy.uri);
        Ok(config)
    }

    /// What kubectl would use, else the service account of the Pod, which is in the same cluster as the API server.
    async fn found(&self) -> Result<Config, KubernetesError> {
        let usual = match Kubeconfig::read() {
            Ok(kubeconfig) => self.by(kubeconfig, USUAL).await,
            Err(error) => Err(error.into()),
        };
        let mut config = match usual {
            Ok(config) => config,
            Err(refused @ KubernetesError::Proxy(_)) => return Err(refused),
            Err(error) => Config::incluster().map_err(|pod| KubernetesError::NoCluster(neither(&error, &pod)))?,
        };
        config.apply_debug_overrides();
        Ok(config)
    }
}

/// What a kubeconfig is called that nobody named.
const USUAL: &str = "the kubeconfig that kubectl would use";

fn neither(kubeconfig: &KubernetesError, pod: &dyn std::error::Error) -> String {
    // Further lines may be those of a kubeconfig.
    let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
    format!("{}; {}", first(kubeconfig.to_string()), first(words(pod)))
}
