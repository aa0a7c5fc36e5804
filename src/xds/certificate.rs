//! `CreateCertificate` of `istio.v1.auth.IstioCertificateService`: the call by which an Istio agent has the key of its workload
//! signed. Its messages are in `proto/certificate.proto`.
//!
//! Who calls has proven who it is before a byte of the body is read. What it asks for is another room's business, see
//! [`trust`](super::trust).

use super::channel::Outgoing;
use super::frames::{Frames, PREFIX};
use super::identity::Credential;
use super::refusal::Refusal;
use super::stream::{FAREWELL, Guest, XdsContext};
use super::trust::{Means, Signer, Wish};
use crate::model::identity::Identity;
use crate::snapshot::wire;
use bytes::Bytes;
use envoy_types::pb::google::protobuf::{Struct, value::Kind};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Status;
use tracing::{debug, info};

/// The path of the call.
pub const CREATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
/// The largest request, in bytes: what is to be signed, and what the agent knows of itself.
const MAX_MESSAGE: usize = 64 * 1024;
/// How long it may take to arrive.
const ARRIVES: Duration = Duration::from_secs(10);
/// Metadata of a request: whom an agent of a node wants to be taken for (Istio's key).
const IMPERSONATED: &str = "ImpersonatedIdentity";

/// `IstioCertificateRequest`, as far as it is read.
#[derive(Clone, PartialEq, Message)]
pub struct CertificateRequest {
    /// What is to be signed, in PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// For how many seconds.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    /// What the agent knows of itself.
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<Struct>,
}

/// Field numbers of `IstioCertificateResponse`.
const CERT_CHAIN: u32 = 1;

/// Answers one call of somebody who has come through the secure door.
pub(super) async fn answer<B>(
    context: Arc<XdsContext>,
    guest: Guest,
    signer: Arc<dyn Signer>,
    body: B,
    outgoing: mpsc::Sender<Outgoing>,
) where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let patience = context.options.pod_wait;
    let signed = tokio::select! {
        signed = sign(&guest, signer.as_ref(), body, patience) => signed,
        () = outgoing.closed() => return debug!("whoever wanted a certificate is gone"),
    };
    let end = match signed {
        Ok(chain) => {
            let sent = outgoing.send_timeout(Outgoing::Message(Frames::of_message(&encode(&chain))), FAREWELL).await;
            if sent.is_err() {
                return debug!("whoever wanted a certificate is gone");
            }
            Status::ok("")
        }
        Err(refusal) => {
            context.metrics.xds.refused(refusal.reason());
            let (peer, reason) = (guest.peer.map(tracing::field::display), refusal.reason());
            info!(peer, reason, "signed nothing: {refusal}");
            Status::new(refusal.code(), refusal.to_string())
        }
    };
    _ = outgoing.send_timeout(Outgoing::End(end), FAREWELL).await;
}

async fn sign<B>(guest: &Guest, signer: &dyn Signer, body: B, patience: Duration) -> Result<Vec<String>, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    // Who has a certificate could else have one for ever, also where nobody would give it a token any more.
    if guest.means == Some(Means::Certificate) {
        return Err(Refusal::Denied(
            "a key is signed for who shows a token: with a certificate nobody gets another".to_owned(),
        ));
    }
    let request = read(body).await?;
    // A token that is over is believed for a little while, because clocks differ; a certificate for it would last far longer.
    if guest.is_over() {
        return Err(Refusal::Denied("the time of the token is over: nothing is signed for it".to_owned()));
    }
    let identity = caller(&guest.credential, &request)?;
    let lasts = u64::try_from(request.validity_duration).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
    signer.sign(identity, Wish { request: &request.csr, lasts, patience }).await
}

/// For whom is signed: for who calls, and for nobody that it names.
fn caller<'a>(credential: &'a Credential, request: &CertificateRequest) -> Result<&'a Identity, Refusal> {
    let metadata = request.metadata.as_ref().and_then(|metadata| metadata.fields.get(IMPERSONATED));
    let wants_to_be = metadata.and_then(|value| value.kind.as_ref());
    match credential {
        _ if wants_to_be.is_some_and(|kind| *kind != Kind::StringValue(String::new())) => {
            Err(Refusal::Denied("a certificate is for who asks for it: nobody signs for another".to_owned()))
        }
        Credential::Workload(identity) => Ok(identity),
        Credential::None => Err(Refusal::Denied("a certificate is for who has proven who it is".to_owned())),
    }
}

/// Reads the one message of the call.
async fn read<B>(body: B) -> Result<CertificateRequest, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let whole = tokio::time::timeout(ARRIVES, Limited::new(body, PREFIX + MAX_MESSAGE).collect()).await;
    let whole = match whole.map_err(|_| Refusal::Silent(ARRIVES))? {
        Ok(whole) => whole.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_long()),
        Err(_) => return Err(Refusal::Garbage("it ends too early".to_owned())),
    };
    decode(&whole)
}

/// Decodes the body of the call.
///
/// # Errors
/// If it is not one message, or not one that is read.
pub fn decode(whole: &[u8]) -> Result<CertificateRequest, Refusal> {
    let garbage = |text: &str| Refusal::Garbage(text.to_owned());
    let (prefix, message) = whole.split_first_chunk::<PREFIX>().ok_or_else(|| garbage("it ends too early"))?;
    let [flag, length @ ..] = *prefix;
    if flag != 0 {
        return Err(garbage("it is compressed, or no gRPC"));
    }
    if message.len() != u32::from_be_bytes(length) as usize {
        return Err(garbage("it is not one message"));
    }
    CertificateRequest::decode(message).map_err(|_| Refusal::Unsigned {
        text: "the request is not an IstioCertificateRequest".to_owned(),
        reason: "csr_malformed",
    })
}

fn too_long() -> Refusal {
    Refusal::Unsigned { text: format!("the request is longer than {MAX_MESSAGE} bytes"), reason: "csr_too_long" }
}

fn encode(chain: &[String]) -> Vec<u8> {
    let mut message = Vec::new();
    chain.iter().for_each(|part| wire::put_field(&mut message, CERT_CHAIN, part.as_bytes()));
    message
}
