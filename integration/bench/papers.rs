//! What proxies need at the secure door: the roots they trust, what they show, and the sessions that they may resume.
//!
//! Made beforehand, with what the server has put into its directory: neither the time nor the server's CPU is measured
//! meanwhile.

use chancery::app::security::issuers;
use chancery::ca::authority::Authority;
use chancery::ca::folder::Folder;
use chancery::clock::Clock;
use chancery::model::identity::{BoundPod, Identity};
use chancery::model::name::{Name, Namespace};
use chancery::tokens::issuer::Issuer;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What tokens are meant for: the default of `--token-audience`.
pub const AUDIENCE: &str = "chancery";
/// The mesh's trust domain, as nobody says otherwise.
pub const DOMAIN: &str = "cluster.local";
/// Longer than any run.
pub const LASTS: Duration = Duration::from_secs(24 * 3600);
/// Room for the tickets of one server, of which the newest is used.
const ONE_SERVER: usize = 1;

/// How the proxies of a group come in.
#[derive(Clone, Serialize, Deserialize)]
pub struct Way {
    /// The directory of the authority, and of the key with which tokens are signed.
    pub folder: PathBuf,
    pub shows: Shows,
    /// Whether one that comes back resumes its session.
    pub resumes: bool,
}

/// What a proxy shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Shows {
    /// A token that is bound to its Pod, with each call.
    Token,
    /// A certificate of its service account, with the connection.
    Certificate,
}

/// What one proxy has.
#[derive(Clone)]
pub struct Papers {
    /// How it speaks TLS: TLS 1.3 with whoever does, as the bootstrap says. Its sessions are in here.
    pub tls: Arc<ClientConfig>,
    pub token: Option<Rc<str>>,
}

/// Makes papers for the proxies of a group.
pub struct Mint {
    way: Way,
    namespaces: usize,
    authority: Authority,
    issuer: Issuer,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    made: RefCell<Vec<Papers>>,
}

impl Mint {
    /// With what is in that directory.
    pub fn new(way: Way, namespaces: usize) -> Self {
        let folder = Folder::new(&way.folder);
        let material = folder.read_all().expect("the server has made an authority");
        let authority = Authority::new(&material, Clock::system().now()).expect("an authority that can sign");
        let issuer = issuers::issuer(&folder).expect("the server has made an issuer");
        let roots = Arc::new(authority.root_store());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Self { way, namespaces, authority, issuer, roots, provider, made: RefCell::default() }
    }

    /// Makes those of so many proxies, as far as they are not there.
    pub fn prepare(&self, count: usize) {
        let mut made = self.made.borrow_mut();
        let missing = made.len()..count;
        made.extend(missing.map(|index| self.make(index)));
    }

    /// Those of one proxy.
    pub fn papers(&self, index: usize) -> Papers {
        self.prepare(index + 1);
        self.made.borrow()[index].clone()
    }

    fn make(&self, index: usize) -> Papers {
        let pod = BoundPod { name: Name::from(format!("p{index}")), uid: "".into() };
        let namespace = Namespace::from(format!("ns{}", index % self.namespaces));
        let identity = Identity { pod: Some(pod), ..Identity::new(namespace, "default".into()) };
        let builder = ClientConfig::builder_with_provider(self.provider.clone());
        let builder = builder.with_safe_default_protocol_versions().expect("the provider has them");
        let builder = builder.with_root_certificates(self.roots.clone());
        let (mut tls, token) = match self.way.shows {
            Shows::Token => {
                let token = self.issuer.issue(&identity, AUDIENCE, Clock::system().now(), LASTS).expect("a token");
                (builder.with_no_client_auth(), Some(token.into()))
            }
            Shows::Certificate => {
                let until = Clock::system().now() + LASTS.as_secs();
                let issued = self
                    .authority
                    .issue(&identity.spiffe(DOMAIN), Clock::system().now(), until)
                    .expect("a certificate");
                let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes());
                let chain = chain.map(|one| one.expect("a certificate")).collect();
                let key = PrivateKeyDer::from_pem_slice(issued.key.expose()).expect("its key");
                (builder.with_client_auth_cert(chain, key).expect("a certificate and its key"), None)
            }
        };
        tls.alpn_protocols = vec![b"h2".to_vec()];
        tls.resumption =
            if self.way.resumes { Resumption::in_memory_sessions(ONE_SERVER) } else { Resumption::disabled() };
        Papers { tls: Arc::new(tls), token }
    }
}
