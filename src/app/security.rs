//! The secure door: the authority and its renewal, the keys of who issues tokens, and what the xDS server asks of both.
//!
//! In reading order: [`store`] is where the authority is kept, [`authority`] follows it and keeps the server's own
//! certificate fresh; [`keyring`] has the secrets of workloads, [`signer`] signs keys of theirs; [`issuers`], or [`reviews`], are believed by [`verifier`], which says who
//! somebody is. [`roots`] are told to every namespace.

pub mod authority;
pub mod issuers;
pub mod keyring;
pub mod reviews;
pub mod roots;
pub mod signer;
pub mod store;
pub mod verifier;

use crate::ca::authority::Authority;
use crate::ca::folder::Folder;
use crate::clock::Clock;
use crate::model::tracked::Tracked;
use crate::model::world::State;
use crate::status::account::Leadership;
use crate::telemetry::readiness::Readiness;
use crate::telemetry::security::SecurityMetrics;
use crate::xds::mistrust::Mistrust;
use crate::xds::trust::{Examiner, Security};
use authority::{Followed, SecurityError, Sinks};
use issuers::{Issuers, Known};
use keyring::Keyring;
use kube::Client;
use reviews::{FOR_PROXIES, FOR_VISITORS, Reviewer};
use rustls::ServerConfig;
use signer::BySigningRequest;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::sync::watch;
use tokio::task::JoinSet;
use verifier::{Believed, ByTokenOrCertificate};

/// How the secure door is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the authority, and of the key of who issues tokens where no cluster does; none: a Secret.
    pub folder: Option<PathBuf>,
    /// What the Secret is called, in our own namespace.
    pub secret: String,
    /// DNS names of this server, for its certificate.
    pub names: Vec<String>,
    /// The directory of a certificate for this server, which somebody else has signed; none: the authority signs one.
    pub served: Option<PathBuf>,
    /// What tokens must be meant for.
    pub audience: String,
    /// Whether the API server is asked about each token, in place of verifying it here.
    pub reviewed: bool,
    /// The name of a ClusterTrustBundle in which what is trusted is to be told as well.
    pub bundle: Option<String>,
    /// How long the certificate of a workload lasts.
    pub lasts: Duration,
    /// What says what time it is.
    pub clock: Clock,
}

/// The newest authority; none until it has been read.
pub type Authorities = watch::Receiver<Option<Arc<Authority>>>;
/// How TLS is spoken; none until there is an authority.
pub type Configs = watch::Receiver<Option<Arc<ServerConfig>>>;

/// The cluster we are in.
pub struct Home {
    /// Its API server.
    pub client: Client,
    /// Our own namespace.
    pub namespace: String,
    /// The namespaces that are followed; none where all are.
    pub within: BTreeSet<String>,
}

/// What the rest of the process tells.
pub struct Told {
    /// The World.
    pub states: watch::Receiver<Option<State>>,
    /// Whether it is for us to write to the cluster.
    pub leadership: watch::Receiver<Leadership>,
}

/// What is behind the secure door, before anybody comes in.
pub struct Office {
    followed: Followed,
    authorities: Authorities,
    configs: Configs,
    issuers: Known,
    /// The cluster, and where to tell its issuers.
    asked: Option<(Home, watch::Sender<Arc<Issuers>>)>,
    options: Options,
    metrics: SecurityMetrics,
}

impl Office {
    /// Opens it: what is in a directory is read now, what is in a cluster later.
    ///
    /// # Errors
    /// If there is a directory, and no authority in it that can sign.
    pub async fn open(
        options: Options,
        cluster: Option<Home>,
        metrics: SecurityMetrics,
    ) -> Result<Self, SecurityError> {
        let folder = options.folder.as_ref().map(Folder::new);
        let store = match (&folder, &cluster) {
            (Some(folder), _) => Store::Folder(folder.clone()),
            (None, Some(home)) => Store::secret(home.client.clone(), &home.namespace, &options.secret),
            (None, None) => return Err(SecurityError::Nowhere),
        };
        let (authorities, configs) = (watch::Sender::new(None), watch::Sender::new(None));
        let (newest, config) = (authorities.subscribe(), configs.subscribe());
        let sinks = Sinks { authorities, configs, metrics: metrics.clone() };
        let mut followed = Followed::new(store, &options, sinks)?;
        let (issuers, asked) = match (&folder, cluster) {
            (Some(folder), None) => (issuers::of_folder(folder)?, None),
            (_, Some(home)) => {
                let (sink, newest) = watch::channel(Arc::default());
                (Known { newest, unknown_key: Arc::default() }, Some((home, sink)))
            }
            (None, None) => return Err(SecurityError::Nowhere),
        };
        if folder.is_some() {
            followed.open().await?;
        }
        Ok(Self { followed, authorities: newest, configs: config, issuers, asked, options, metrics })
    }

    /// Begins to work; what it does goes on for as long as the tasks. Nobody is ready before there is an authority, and before it is
    /// known whose tokens to believe. Returns what the door for proxies needs, and who looks at what visitors of the admin port
    /// present.
    pub fn start(self, told: Told, readiness: &Readiness, tasks: &mut JoinSet<()>) -> (Security, Examiner) {
        let Told { states, leadership } = told;
        let Self { followed, authorities, configs, issuers, asked, options, metrics } = self;
        let signer = BySigningRequest {
            authorities: authorities.clone(),
            states: states.clone(),
            lasts: options.lasts,
            clock: options.clock.clone(),
            metrics: metrics.clone(),
        };
        let clock = &options.clock;
        let reviewer = |client: &Client| Reviewer::new(client.clone(), metrics.clone(), clock.clone(), FOR_PROXIES);
        let reviewer = asked.as_ref().filter(|_| options.reviewed).map(|(home, _)| reviewer(&home.client));
        let sources =
            keyring::Sources { authorities: authorities.clone(), states: states.clone(), clock: clock.clone() };
        let keyring = Arc::new(Keyring::new(sources, options.lasts, metrics.clone()));
        tasks.spawn(followed.run(readiness.block("the certificate authority")));
        tasks.spawn(keyring.clone().run());
        if let Some((Home { client, namespace, within }, sink)) = asked {
            if reviewer.is_none() {
                let token = readiness.block("the keys of who issues tokens");
                tasks.spawn(issuers::follow(client.clone(), sink, issuers.unknown_key.clone(), token));
            }
            // In our own in any case: what is there says later that there was an authority.
            let kept_in = options.folder.is_none().then(|| roots::of_secret(&namespace, &options.secret));
            let (states, within) = (states.clone(), within.into_iter().chain([namespace]).collect());
            let sources = roots::Sources { authorities, states, within, bundle: options.bundle, kept_in, leadership };
            tasks.spawn(roots::run(client, sources));
        }
        let tokens = reviewer.map_or(Believed::Here(issuers), |reviewer| Believed::There(Box::new(reviewer)));
        let (audience, mistrust) = (options.audience, Arc::<Mistrust>::default());
        let examiner = |tokens| {
            let (audience, states, clock) = (audience.clone(), states.clone(), options.clock.clone());
            let verifier = ByTokenOrCertificate { tokens, audience, states, clock };
            Examiner { verifier: Arc::new(verifier), mistrust: mistrust.clone() }
        };
        let visitors = examiner(tokens.beside(FOR_VISITORS));
        let security = Security { tls: configs, examiner: examiner(tokens), keyring, signer: Arc::new(signer) };
        (security, visitors)
    }
}

/// The mesh's trust domain, as far as it is known.
fn trust_domain(states: &watch::Receiver<Option<State>>) -> Option<Arc<str>> {
    states.borrow().as_ref().map(|state| Tracked::new(&state.world).mesh().trust_domain.clone())
}
