//! Where an authority is kept: a directory, or a Secret in our own namespace, which replicas share.

use super::roots;
use crate::ca::folder::{Folder, FolderError};
use crate::ca::material::{CaError, Form, Material, names};
use crate::ca::rotation::{Change, PARTS, Parts};
use crate::model::sensitive::Sensitive;
use crate::telemetry::logging::shown;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Error, ResourceExt};
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;
use zeroize::Zeroize;

/// How long an answer of the API server may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The annotation of a Secret in which cert-manager says which Certificate it is written for.
const CERTIFICATE: &str = "cert-manager.io/certificate-name";

/// Where an authority is kept.
#[derive(Clone)]
pub enum Store {
    /// A directory.
    Folder(Folder),
    /// A Secret.
    Secret {
        /// Ours, in our own namespace.
        api: Box<Api<Secret>>,
        /// What it is called.
        name: String,
        /// Where what is trusted is told, in the same namespace.
        told: Box<Api<ConfigMap>>,
    },
}

/// Why nothing can be had from a store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The directory can't be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The API server can't be asked, or says no.
    #[error("Secret {name}: {reason}")]
    Cluster {
        /// Which Secret.
        name: String,
        /// What it says.
        reason: String,
    },
    /// A part is missing or none.
    #[error("Secret {name}: {source}")]
    Content {
        /// Which Secret.
        name: String,
        /// What is wrong.
        source: CaError,
    },
    /// It is gone, and what is trusted says that there was one.
    #[error(
        "Secret {name} is gone, and ConfigMap {told} beside it still tells of a root whose key was in it; a new root would be \
         trusted by nobody. Bring the Secret back; or, to start anew, delete the ConfigMap",
        told = roots::NAME
    )]
    Gone {
        /// Which Secret.
        name: String,
    },
    /// It is for somebody else to change what is there.
    #[error("Secret {name}: {keeper} keeps it: a new root is for who signs there to give")]
    Kept {
        /// Which Secret.
        name: String,
        /// Who.
        keeper: String,
    },
}

impl Store {
    /// A Secret in a namespace.
    pub fn secret(client: Client, namespace: &str, name: &str) -> Self {
        let told = Box::new(Api::namespaced(client.clone(), namespace));
        Store::Secret { api: Box::new(Api::namespaced(client, namespace)), name: name.to_owned(), told }
    }

    /// What the authority is made of; made if there is nothing, and never was. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// If it can't be read, or made, or isn't complete, or is gone.
    pub async fn read_or_make(&self, now: u64) -> Result<Material, StoreError> {
        let (api, name, told) = match self {
            Store::Folder(folder) => return Ok(folder.read_or(|| Material::self_signed(now))?),
            Store::Secret { api, name, told } => (api, name, told),
        };
        // In this order: another replica makes the Secret first, and tells then.
        let told = asked(name, told.get_opt(roots::NAME)).await;
        if let Some(secret) = asked(name, api.get_opt(name)).await? {
            return read(name, secret);
        }
        let kept_in = roots::of_secret(api.namespace().unwrap_or_default(), name);
        if told?.is_some_and(|told| roots::tells_of(&told, &kept_in)) {
            return Err(StoreError::Gone { name: name.clone() });
        }
        let content = |source| StoreError::Content { name: name.clone(), source };
        let made = Wiped(secret_of(name, &Material::self_signed(now).map_err(content)?));
        let created = tokio::time::timeout(PATIENCE, api.create(&PostParams::default(), &made.0)).await;
        drop(made);
        match created {
            // Another replica was first: its authority is ours.
            Ok(Err(Error::Api(status))) if status.code == 409 => self.read().await,
            Ok(created) => created.map_err(|error| failed(name, &error)).and_then(|secret| read(name, secret)),
            Err(_) => Err(silent(name)),
        }
    }

    /// Changes what is kept, by what there is: all at once in a Secret, one after the other in a directory.
    ///
    /// # Errors
    /// If it can't be read or written, somebody else writes at the same time or keeps it, or `changes` says so.
    pub async fn change<E: From<StoreError>>(
        &self,
        changes: impl FnOnce(Parts) -> Result<Vec<Change>, E>,
    ) -> Result<(), E> {
        let (api, name) = match self {
            Store::Folder(folder) => {
                let changes = changes(folder.parts(&PARTS).map_err(StoreError::from)?)?;
                return Ok(folder.change(changes).map_err(StoreError::from)?);
            }
            Store::Secret { api, name, .. } => (api, name),
        };
        let mut secret = Wiped(asked(name, api.get(name)).await?);
        if let Some(keeper) = keeper(&secret.0) {
            return Err(StoreError::Kept { name: name.clone(), keeper }.into());
        }
        let data = secret.0.data.get_or_insert_default();
        let part = |part: &&'static str| Some((*part, Sensitive::new(data.get(*part)?.0.clone())));
        let changes = changes(PARTS.iter().filter_map(part).collect())?;
        if changes.is_empty() {
            return Ok(());
        }
        for (part, content) in changes {
            let replaced = match content {
                Some(content) => data.insert(part.to_owned(), ByteString(content.expose().to_vec())),
                None => data.remove(part),
            };
            replaced.into_iter().for_each(|mut replaced| replaced.0.zeroize());
        }
        // It is refused if it is not what was read any more.
        let replaced = asked(name, api.replace(name, &PostParams::default(), &secret.0)).await;
        replaced.map(|secret| drop(Wiped(secret))).map_err(E::from)
    }

    /// What the authority is made of.
    ///
    /// # Errors
    /// If it can't be read, or isn't complete.
    pub async fn read(&self) -> Result<Material, StoreError> {
        match self {
            Store::Folder(folder) => Ok(folder.read_all()?),
            Store::Secret { api, name, .. } => read(name, asked(name, api.get(name)).await?),
        }
    }
}

async fn asked<T>(name: &str, request: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(|error| failed(name, &error)),
        Err(_) => Err(silent(name)),
    }
}

fn silent(name: &str) -> StoreError {
    StoreError::Cluster { name: name.to_owned(), reason: format!("the API server said nothing for {PATIENCE:?}") }
}

fn failed(name: &str, error: &Error) -> StoreError {
    let reason = match error {
        Error::Api(status) => shown(status.message.trim()),
        // An answer that isn't understood is told with its words, which may be those of the Secret.
        Error::SerdeError(_) => "the API server's answer is not understood".to_owned(),
        other => shown(&other.to_string()),
    };
    StoreError::Cluster { name: name.to_owned(), reason }
}

fn read(name: &str, secret: Secret) -> Result<Material, StoreError> {
    let secret = Wiped(secret);
    let form = form(&secret.0);
    let data = secret.0.data.as_ref();
    let part = |part| Some((part, Sensitive::new(data?.get(form.name(part))?.0.clone())));
    let material = Material::of_parts(&names::ALL.into_iter().filter_map(part).collect(), form);
    material.map_err(|source| StoreError::Content { name: name.to_owned(), source })
}

/// A Secret whose content is overwritten in the end, however that comes.
struct Wiped(Secret);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.data.iter_mut().flatten().for_each(|(_, part)| part.0.zeroize());
    }
}

/// What its parts are called: as they are made here, unless there is only a certificate, or a key, of the other form.
fn form(secret: &Secret) -> Form {
    let has = |part| secret.data.as_ref().is_some_and(|data| data.contains_key(part));
    match [names::CERTIFICATE, names::KEY].map(|part| Form::Tls.name(part)).into_iter().any(has) {
        true if !has(names::CERTIFICATE) => Form::Tls,
        _ => Form::Cacerts,
    }
}

/// Who keeps an authority in a form in which none is made here.
fn keeper(secret: &Secret) -> Option<String> {
    (form(secret) == Form::Tls).then(|| match secret.annotations().get(CERTIFICATE) {
        Some(certificate) => format!("cert-manager, by its Certificate {},", shown(certificate)),
        None => "whoever writes tls.crt and tls.key".to_owned(),
    })
}

fn secret_of(name: &str, material: &Material) -> Secret {
    let text = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = [
        (names::ROOTS, text(&material.roots)),
        (names::CERTIFICATE, text(&material.certificate)),
        (names::CHAIN, text(&material.chain)),
        (names::KEY, ByteString(material.key.expose().to_vec())),
    ];
    let data: BTreeMap<_, _> = data.into_iter().map(|(part, bytes)| (part.to_owned(), bytes)).collect();
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some(data),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::authority::Authority;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    const NOW: u64 = 1_800_000_000;

    /// A Secret with those parts, which cert-manager says is for a Certificate of that name.
    fn secret(parts: &[(&str, &str)], of: Option<&str>) -> Secret {
        let annotations = of.map(|of| [(CERTIFICATE.to_owned(), of.to_owned())].into());
        let bytes = |(part, text): &(&str, &str)| ((*part).to_owned(), ByteString(text.as_bytes().to_vec()));
        let metadata = ObjectMeta { annotations, ..ObjectMeta::default() };
        Secret { metadata, data: Some(parts.iter().map(bytes).collect()), ..Secret::default() }
    }

    fn tls(certificate: &str, key: &str, roots: &str) -> Secret {
        secret(&[("tls.crt", certificate), ("tls.key", key), ("ca.crt", roots)], Some("mesh"))
    }

    fn key(material: &Material) -> String {
        String::from_utf8_lossy(material.key.expose()).into_owned()
    }

    /// The certificate and the key of an authority that a root has signed.
    fn intermediate(root: &Material) -> (String, String) {
        let issuer = Issuer::from_ca_cert_pem(&root.certificate, KeyPair::from_pem(&key(root)).expect("a key"));
        let (mut params, own) = (CertificateParams::default(), KeyPair::generate().expect("a key"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signed = params.signed_by(&own, &issuer.expect("an issuer")).expect("an intermediate");
        (signed.pem(), own.serialize_pem())
    }

    fn refusal(secret: Secret) -> String {
        match read("mesh", secret) {
            Ok(material) => Authority::new(&material, NOW).err().expect("it is refused").to_string(),
            Err(error) => error.to_string().replace("Secret mesh: ", ""),
        }
    }

    #[test]
    fn a_certificate_as_cert_manager_writes_it_is_an_authority() {
        let root = Material::self_signed(NOW).expect("a root");
        let (upper, upper_key) = intermediate(&root);
        let key_of_upper = Sensitive::new(upper_key.clone().into_bytes());
        let (lower, lower_key) =
            intermediate(&Material { certificate: upper.clone(), key: key_of_upper, ..root.clone() });
        for (chain, key, is_shown) in [
            (upper.clone(), upper_key, true),
            (lower + &upper, lower_key, true),
            // A root that signs itself, which is written twice.
            (root.certificate.clone(), key(&root), false),
        ] {
            let material = read("mesh", tls(&chain, &key, &root.roots)).expect("an authority");
            let authority = Authority::new(&material, NOW).expect("one that can sign");
            assert_eq!(authority.roots(), root.roots);
            let issued = authority.issue("spiffe://a/ns/a/sa/a", NOW, NOW + 60).expect("a certificate");
            assert_eq!(issued.chain.ends_with(&chain), is_shown, "the way to the root, and not the root itself");
        }
    }

    #[test]
    fn a_part_is_named_as_it_is_in_the_secret() {
        let [root, other] = [(); 2].map(|()| Material::self_signed(NOW).expect("a root"));
        let own = key(&root);
        let (own, certificate) = (&*own, &*root.certificate);
        for (broken, expected) in [
            (secret(&[("tls.crt", certificate), ("tls.key", own)], None), "ca.crt: it is missing"),
            (secret(&[("tls.crt", certificate), ("ca.crt", certificate)], None), "tls.key: it is missing"),
            (secret(&[("tls.key", own), ("ca.crt", certificate)], None), "tls.crt: it is missing"),
            (tls(certificate, "garbage", certificate), "tls.key: it is not a private key in PKCS#8 PEM"),
            (tls(certificate, &key(&other), certificate), "tls.key: it is the key of another certificate"),
            (tls(certificate, own, ""), "ca.crt: it is not a certificate in PEM"),
            (tls(certificate, own, &other.roots), "tls.crt: the roots don't vouch for what is signed"),
            (
                secret(&[("ca-cert.pem", certificate), ("root-cert.pem", certificate), ("tls.key", own)], None),
                "ca-key.pem: it is missing",
            ),
        ] {
            let said = refusal(broken);
            assert!(said.starts_with(expected), "{expected}: {said}");
        }
        let ended = Material::self_signed(NOW - 11 * 365 * 24 * 3600).expect("a root");
        assert_eq!(refusal(tls(&ended.certificate, &key(&ended), &ended.roots)), "tls.crt: it has expired");
    }

    #[test]
    fn the_form_that_is_made_here_goes_first_and_is_nobody_elses() {
        let [root, other] = [(); 2].map(|()| Material::self_signed(NOW).expect("a root"));
        let keys = [key(&root), key(&other)];
        let parts = [("ca-cert.pem", &*root.certificate), ("ca-key.pem", &*keys[0]), ("root-cert.pem", &*root.roots)];
        let others = [("tls.crt", &*other.certificate), ("tls.key", &*keys[1]), ("ca.crt", &*other.roots)];
        let both = secret(&[parts, others].concat(), None);
        assert_eq!(keeper(&both), None);
        assert_eq!(read("mesh", both).expect("an authority").certificate, root.certificate);
        let keepers = [Some("a"), None].map(|of| keeper(&secret(&others, of)).expect("somebody"));
        assert_eq!(keepers, ["cert-manager, by its Certificate a,", "whoever writes tls.crt and tls.key"]);
    }
}
