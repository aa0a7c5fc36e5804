//! Connections made by hand: in plain text, or with TLS of any certificate and any words in ALPN.

use super::Outcome;
use super::authority::Certificate;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(3);

/// What is said, and with which TLS.
pub struct Caller<'a> {
    /// What is said, HTTP or not.
    pub says: &'a str,
    /// The certificate that is shown, and the words of ALPN; none is plain text.
    pub tls: Option<(Option<&'a Certificate>, &'a [&'a str])>,
}

impl Caller<'_> {
    /// Calls, and returns the beginning of what comes back; none if the connection ends without it.
    pub async fn call(&self, address: SocketAddr) -> Outcome<Option<String>> {
        let stream = TcpStream::connect(address).await?;
        let Some((certificate, alpn)) = self.tls else { return Ok(exchange(stream, self.says).await) };
        let connector = TlsConnector::from(Arc::new(config(certificate, alpn)?));
        match timeout(LIMIT, connector.connect(ServerName::try_from("any.example")?, stream)).await {
            Ok(Ok(stream)) => Ok(exchange(stream, self.says).await),
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    }
}

/// Asks once over HTTP/2 in the TLS of somebody with that certificate, and returns what comes back; none if nothing does.
pub async fn ask_http2(address: SocketAddr, certificate: &Certificate, alpn: &[&str]) -> Outcome<Option<String>> {
    let connector = TlsConnector::from(Arc::new(config(Some(certificate), alpn)?));
    let stream = TcpStream::connect(address).await?;
    let asked = async {
        let stream = connector.connect(ServerName::try_from("any.example").ok()?, stream).await.ok()?;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.ok()?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(async { drop(connection.await) }));
        let request = Request::get("http://web/by-hand").body(Empty::<Bytes>::new()).ok()?;
        let body = sender.send_request(request).await.ok()?.into_body().collect().await.ok()?;
        Some(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    };
    Ok(timeout(LIMIT, asked).await.ok().flatten())
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, says: &str) -> Option<String> {
    stream.write_all(says.as_bytes()).await.ok()?;
    let mut buffer = vec![0; 4096];
    let read = timeout(LIMIT, stream.read(&mut buffer)).await.ok()?.ok().filter(|read| *read > 0)?;
    Some(String::from_utf8_lossy(&buffer[..read]).into_owned())
}

fn config(certificate: Option<&Certificate>, alpn: &[&str]) -> Outcome<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.chain.as_bytes())?];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?)?
        }
    };
    config.alpn_protocols = alpn.iter().map(|token| token.as_bytes().to_vec()).collect();
    Ok(config)
}

/// Believes every server: it is the server's judgement that is looked at.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
