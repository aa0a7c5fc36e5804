//! A server outside of the mesh that demands a certificate of its clients, over HTTP/1.1, and says of each which it showed.

use crate::harness::authority::{Authority, Certificate};
use crate::harness::echo::VERSION;
use crate::harness::{Failure, Outcome};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The name in the server's certificate.
pub const NAME: &str = "far.example";

/// The server, and the authority of both ends.
pub struct Far {
    /// Where it listens.
    pub address: SocketAddr,
    authority: Authority,
    serving: JoinHandle<()>,
}

impl Drop for Far {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Far {
    /// Starts it.
    pub async fn start() -> Outcome<Self> {
        let authority = Authority::new()?;
        let Certificate { chain, key } = authority.issue_for_host(NAME)?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).map_err(failed)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build()?;
        let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).map_err(failed)?];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(failed)?;
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_client_cert_verifier(verifier).with_single_cert(chain, key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config))));
        Ok(Self { address, authority, serving })
    }

    /// A certificate for a client of that name, as what is in a Secret.
    pub fn client(&self, name: &str) -> Outcome<Certificate> {
        self.authority.issue(&format!("test://{name}"))
    }

    /// The certificate of the authority of both ends.
    pub fn authorities(&self) -> &str {
        &self.authority.certificate
    }
}

fn failed(error: impl std::fmt::Debug) -> Failure {
    Failure::new(format!("{error:?}"))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, acceptor.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| shown(chain.first()?)).unwrap_or_default();
    let answer = service_fn(move |_: Request<Incoming>| {
        let answer = Response::builder().header(VERSION, shown.as_str()).body(String::new());
        async move { Ok::<_, Infallible>(answer.expect("a name is a header's value")) }
    });
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
}

/// The name in a client's certificate.
fn shown(der: &CertificateDer) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Some(uri.trim_start_matches("test://").to_owned()),
        _ => None,
    })
}
