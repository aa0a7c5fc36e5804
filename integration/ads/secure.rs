//! The secure door as tests find it: an authority of its own, a server that lets in who proves something, and who knocks.

use crate::stage::{Delta, NODE_ID, Stage, context, facts, node, until};
use chancery::app::security::authority::SecurityError;
use chancery::app::security::{Office, Options as Security, Told, issuers};
use chancery::ca::folder::Folder;
use chancery::ca::material::{Material, names};
use chancery::clock::Clock;
use chancery::model::audience::{Audience, Placement, ProxyFacts, Subject, Workload};
use chancery::model::identity::{BoundPod, Identity};
use chancery::model::mesh::Mesh;
use chancery::model::object::{Meta, Object, Stored};
use chancery::model::pod::Pod;
use chancery::model::provenance::{ObjectKey, ObjectKind, ObjectRef};
use chancery::model::world::{Change, State, World};
use chancery::snapshot::board::Posted;
use chancery::snapshot::kind::Kind;
use chancery::xds::limits::Options;
use chancery::xds::server::serve_securely;
use chancery::xds::trust::{Examiner, Security as Trust};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use http::Uri;
use hyper_util::rt::TokioIo;
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Longer than any test.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// A secure server, and the directory of its authority.
pub struct Secure {
    /// What is behind the door.
    pub stage: Stage,
    /// Who looks at what visitors of the admin port present.
    pub visitors: Examiner,
    /// What the door is opened with.
    pub security: Trust,
    /// The roots that clients trust: those of the beginning.
    pub trusted: String,
    /// Where the authority is.
    pub folder: Folder,
    /// What says what time it is.
    pub clock: Clock,
    /// The World that the office sees, with the Pod of [`cart`] in it.
    pub states: watch::Sender<Option<State>>,
    _place: TempDir,
    _tasks: JoinSet<()>,
}

impl Secure {
    pub async fn new(lasts: Duration) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("identity");
        Self::at(place, &path, lasts, Options::default()).await.expect("an authority")
    }

    /// The same by another clock than the system's.
    pub async fn by(clock: Clock, lasts: Duration) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("identity");
        let built = Self::build((place, &path), lasts, Options::default(), clock, None).await;
        built.expect("an authority")
    }

    /// One whose own certificate is in that directory.
    pub async fn given(folder: &Path) -> Result<Self, SecurityError> {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("identity");
        Self::build((place, &path), DAY, Options::default(), Clock::system(), Some(folder.to_owned())).await
    }

    /// The same, where a Pod that is not known is not waited for.
    pub async fn impatient(lasts: Duration) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("identity");
        let options = Options { pod_wait: Duration::from_millis(50), ..Options::default() };
        Self::at(place, &path, lasts, options).await.expect("an authority")
    }

    /// One with that authority.
    pub async fn of(material: Material) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("identity");
        Folder::new(&path).read_or(|| Ok(material)).expect("it is written");
        Self::at(place, &path, DAY, Options::default()).await.expect("an authority")
    }

    pub async fn at(place: TempDir, path: &Path, lasts: Duration, options: Options) -> Result<Self, SecurityError> {
        Self::build((place, path), lasts, options, Clock::system(), None).await
    }

    async fn build(
        (place, path): (TempDir, &Path),
        lasts: Duration,
        options: Options,
        clock: Clock,
        served: Option<PathBuf>,
    ) -> Result<Self, SecurityError> {
        let context = context(options);
        let security = Security {
            folder: Some(path.to_owned()),
            secret: String::new(),
            names: vec!["chancery".into()],
            served,
            audience: "chancery".into(),
            reviewed: false,
            bundle: None,
            lasts,
            clock: clock.clone(),
        };
        let office = Office::open(security, None, context.metrics.security.clone()).await?;
        let mut world = World::default();
        world.apply([cart_pod()]);
        let (states, mut tasks) = (watch::Sender::new(Some(State { world, since: None })), JoinSet::new());
        let told = Told { states: states.subscribe(), leadership: watch::channel(Default::default()).1 };
        let (security, visitors) = office.start(told, &context.readiness, &mut tasks);
        let opened = security.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, shutdown) = (listener.local_addr().expect("a bound port"), CancellationToken::new());
        let server = tokio::spawn(serve_securely(security, listener, context.clone(), shutdown.clone()));
        let stage = Stage { context, shutdown, address, server };
        until("there is an authority", || stage.context.readiness.pending().is_empty()).await;
        let folder = Folder::new(path);
        let trusted = fs::read_to_string(folder.path().join(names::ROOTS)).expect("roots");
        Ok(Self { stage, visitors, security: opened, trusted, folder, clock, states, _place: place, _tasks: tasks })
    }

    /// Changes the World that the office sees.
    pub fn change(&self, change: Change) {
        self.states.send_modify(|state| _ = state.as_mut().expect("a World").world.apply([change]));
    }

    pub fn token(&self, identity: &Identity, lasts: Duration) -> String {
        let issuer = issuers::issuer(&self.folder).expect("an issuer");
        issuer.issue(identity, "chancery", self.clock.now(), lasts).expect("a token")
    }

    /// The token of somebody that was issued so long ago.
    pub fn token_of_then(&self, identity: &Identity, ago: Duration, lasts: Duration) -> String {
        let issuer = issuers::issuer(&self.folder).expect("an issuer");
        issuer.issue(identity, "chancery", self.clock.now() - ago.as_secs(), lasts).expect("a token")
    }

    /// What a file of the authority says.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).expect("a file")
    }

    /// One with other limits.
    pub async fn with(options: Options) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("identity");
        Self::at(place, &path, DAY, options).await.expect("an authority")
    }

    /// A connection over TLS, for who speaks HTTP/2 by hand.
    pub async fn socket(&self) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(self.stage.address).await.expect("a connection");
        let name = ServerName::try_from("chancery").expect("a name");
        self.tls(None).connect(name, socket).await.expect("a handshake")
    }

    /// The same, from another address of this machine, where it may be refused.
    pub async fn socket_from(&self, from: Ipv4Addr) -> std::io::Result<TlsStream<TcpStream>> {
        let mut connector = Connector { address: self.stage.address, from: Some(from), tls: self.tls(None) };
        Ok(tower_service::Service::call(&mut connector, Uri::default()).await?.into_inner())
    }

    pub async fn channel(&self, shown: Option<&(String, String)>) -> Result<Channel, tonic::transport::Error> {
        let connector = Connector { address: self.stage.address, from: None, tls: self.tls(shown) };
        Endpoint::from_static("https://chancery").connect_with_connector(connector).await
    }

    /// The same, from another address of this machine.
    pub async fn channel_from(&self, from: Ipv4Addr) -> Channel {
        self.tried_from(from).await.expect("a connection")
    }

    /// The same where it may be refused.
    pub async fn tried_from(&self, from: Ipv4Addr) -> Result<Channel, tonic::transport::Error> {
        let connector = Connector { address: self.stage.address, from: Some(from), tls: self.tls(None) };
        Endpoint::from_static("https://chancery").connect_with_connector(connector).await
    }

    /// Another door to the same, with something behind it changed.
    pub async fn door(&self, change: impl FnOnce(Trust) -> Trust) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let (context, shutdown) = (self.stage.context.clone(), self.stage.shutdown.clone());
        tokio::spawn(serve_securely(change(self.security.clone()), listener, context, shutdown));
        address
    }

    /// A connection to such a door.
    pub async fn channel_at(&self, address: SocketAddr) -> Channel {
        let connector = Connector { address, from: None, tls: self.tls(None) };
        Endpoint::from_static("https://chancery").connect_with_connector(connector).await.expect("a connection")
    }

    fn tls(&self, shown: Option<&(String, String)>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        CertificateDer::pem_slice_iter(self.trusted.as_bytes())
            .for_each(|root| roots.add(root.expect("a certificate")).expect("a root"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_details(provider, Arc::new(self.clock.clone()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.expect("TLS").with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(|one| one.expect("a certificate"));
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(chain.collect(), key).expect("a certificate and its key")
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config).into()
    }

    /// A proxy with a token that asks for secrets first, as one that is warming.
    pub async fn asks(&self, token: &str, secrets: &[&str], held: BTreeMap<String, String>) -> Delta {
        let channel = self.channel(None).await.expect("a connection");
        Delta::begin(channel, Some(token), request(secrets, held)).await.expect("a stream")
    }

    /// Says where the proxy belongs that somebody is, as soon as one has joined.
    pub async fn place(&self, identity: &Identity) {
        until("a proxy joins", || self.stage.board().seated() > 0).await;
        let claims = facts();
        let pod = identity.pod.as_ref().map_or(claims.pod, |pod| pod.name.clone());
        let claims = ProxyFacts::new(identity.namespace.clone(), pod, claims.interception);
        let facts = ProxyFacts { authenticated: true, identity: Some(identity.clone()), ..claims };
        let placement = Placement {
            audience: Audience::of_everyone_in(identity.namespace.clone()),
            workload: Workload::plain(identity.namespace.clone()),
        };
        let board = self.stage.board();
        board.post(&Subject::Audience(placement.audience.clone()), Posted::default());
        board.post(&Subject::Workload(placement.workload.clone()), Posted::default());
        board.place(&facts, Some(placement));
    }
}

/// Speaks TLS to one address.
#[derive(Clone)]
struct Connector {
    address: SocketAddr,
    /// The address it comes from, if it isn't left to the system.
    from: Option<Ipv4Addr>,
    tls: TlsConnector,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { address, from, tls } = self.clone();
        Box::pin(async move {
            let socket = TcpSocket::new_v4()?;
            if let Some(from) = from {
                socket.bind(SocketAddr::new(from.into(), 0))?;
            }
            let socket = socket.connect(address).await?;
            Ok(TokioIo::new(tls.connect(ServerName::try_from("chancery").expect("a name"), socket).await?))
        })
    }
}

/// Seconds since 1970, by the system's clock.
pub fn now() -> u64 {
    Clock::system().now()
}

pub fn cart() -> Identity {
    let pod = BoundPod { name: "cart-1".into(), uid: "".into() };
    Identity { pod: Some(pod), ..Identity::new("shop".into(), "cart".into()) }
}

/// The Pod of [`cart`], which comes.
pub fn cart_pod() -> Change {
    let key = ObjectKey { kind: ObjectKind::Pod, namespace: "shop".into(), name: "cart-1".into() };
    let meta = Meta { reference: ObjectRef { key: key.clone(), uid: None, generation: None }, created: None };
    let pod = Pod {
        labels: Default::default(),
        addresses: Vec::new(),
        host_network: false,
        service_account: "cart".into(),
        node: None,
        ports: Vec::new(),
    };
    (key, Some(Object::Pod(Stored::new(meta, pod))))
}

/// Settings of the mesh.
pub fn mesh(settings: Mesh) -> Change {
    let meta = Meta { reference: ObjectRef { key: Mesh::key(), uid: None, generation: None }, created: None };
    (Mesh::key(), Some(Object::MeshConfig(Stored::new(meta, settings))))
}

/// The first request of a proxy, for names of a kind.
pub fn asking(kind: Kind, id: &str, names: Vec<String>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(node(id)),
        type_url: kind.type_url().into(),
        resource_names_subscribe: names,
        ..Default::default()
    }
}

pub fn request(secrets: &[&str], held: BTreeMap<String, String>) -> DeltaDiscoveryRequest {
    let names = secrets.iter().map(|name| (*name).to_owned()).collect();
    let initial_resource_versions = held.into_iter().collect();
    DeltaDiscoveryRequest { initial_resource_versions, ..asking(Kind::Secret, NODE_ID, names) }
}

/// Takes and acknowledges secrets, which come one by one, until each of these has come; returns all that came.
pub async fn secrets(client: &mut Delta, names: &[&str]) -> Result<DeltaDiscoveryResponse, Status> {
    let mut all = client.next().await?;
    client.ack(&all).await;
    while !names.iter().all(|name| names_in(&all).contains(name)) {
        let more = client.next().await?;
        client.ack(&more).await;
        all.resources.extend(more.resources);
    }
    Ok(all)
}

/// The same until nothing more is to come: each secret comes in its turn, so that after one that is asked for once more every
/// other has come.
pub async fn all_secrets(client: &mut Delta) -> Result<DeltaDiscoveryResponse, Status> {
    let name = "default";
    let mut all = secrets(client, &[name]).await?;
    client.send(DeltaDiscoveryRequest { node: None, ..request(&[name], BTreeMap::new()) }).await;
    let rest = secrets(client, &[name]).await?;
    all.resources.extend(rest.resources.into_iter().filter(|resource| resource.name != name));
    Ok(all)
}

pub fn names_in(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}

pub fn version_of(response: &DeltaDiscoveryResponse, name: &str) -> String {
    response.resources.iter().find(|resource| resource.name == name).expect("the resource").version.clone()
}

pub fn secret_in(response: &DeltaDiscoveryResponse, name: &str) -> Type {
    let resource = response.resources.iter().find(|resource| resource.name == name).expect("the resource");
    let any = resource.resource.as_ref().expect("a body");
    Secret::decode(any.value.as_slice()).expect("a secret").r#type.expect("of some type")
}

pub fn inline(source: &Option<envoy_types::pb::envoy::config::core::v3::DataSource>) -> String {
    use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
    match source.as_ref().and_then(|source| source.specifier.as_ref()) {
        Some(Specifier::InlineBytes(bytes)) => String::from_utf8(bytes.clone()).expect("text"),
        _ => String::new(),
    }
}

/// The certificate and key that a response carries.
pub fn pair_in(response: &DeltaDiscoveryResponse) -> (String, String) {
    pair_named(response, "default")
}

/// The same under a name.
pub fn pair_named(response: &DeltaDiscoveryResponse, name: &str) -> (String, String) {
    match secret_in(response, name) {
        Type::TlsCertificate(tls) => (inline(&tls.certificate_chain), inline(&tls.private_key)),
        _ => (String::new(), String::new()),
    }
}
