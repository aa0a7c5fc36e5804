//! `tls` of a traffic policy. What it says ends up as names and paths in Envoy's configuration.

use super::notes::Notes;
use super::syntax;
use super::syntax::quoted;
use crate::model::destination::{ClientTls, Credential, ServerCheck, ServerTls};
use crate::model::name::{Name, Namespace};
use crate::model::provenance::{ObjectKey, ObjectKind};
use crate::model::secret::AUTHORITIES;
use crate::source::yaml::marks;
use serde::Deserialize;
use std::sync::Arc;

/// `tls` as written.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTlsSpec {
    mode: String,
    client_certificate: String,
    private_key: String,
    ca_certificates: String,
    credential_name: String,
    subject_alt_names: Vec<String>,
    sni: String,
    insecure_skip_verify: bool,
    ca_crl: String,
}

/// Which Secrets a rule may name.
#[derive(Clone, Copy)]
pub struct Secrets<'a> {
    /// Those of its own namespace.
    pub namespace: &'a Namespace,
    /// Whether its workloads may have any: only those that it says it is for (Istio's rule).
    pub usable: bool,
}

impl ClientTlsSpec {
    /// Validates it; it stands at `path`.
    pub fn parse(self, path: &str, secrets: Secrets, notes: &mut Notes) -> Option<ClientTls> {
        let mut at = At { path, notes };
        let sni = at.text("sni", &self.sni, server_name);
        let names = at.names(&self.subject_alt_names);
        match &*self.mode {
            "ISTIO_MUTUAL" => {
                self.without_files(&mut at);
                if self.insecure_skip_verify {
                    at.warning("insecureSkipVerify", "has no effect with ISTIO_MUTUAL, which checks in any case");
                }
                Some(ClientTls::Mesh { sni, names })
            }
            "SIMPLE" | "MUTUAL" => {
                let credential = self.credential(secrets, &mut at);
                let certificate = if credential.is_some() { None } else { self.certificate(&mut at) };
                let check = self.check(names, &mut at);
                Some(ClientTls::Server(ServerTls { certificate, credential, sni, check }))
            }
            // Istio's default. Another word was noted by the walk along the field table.
            _ => Some(ClientTls::Disable),
        }
    }

    /// The names of the fields that name files, as far as they do.
    fn files(&self) -> impl Iterator<Item = &'static str> {
        let files = [
            ("clientCertificate", &self.client_certificate),
            ("privateKey", &self.private_key),
            ("caCertificates", &self.ca_certificates),
            ("caCrl", &self.ca_crl),
        ];
        files.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, _)| name)
    }

    fn without_files(&self, at: &mut At) {
        let credential = (!self.credential_name.is_empty()).then_some("credentialName");
        for name in self.files().chain(credential) {
            at.warning(name, "has no effect with ISTIO_MUTUAL, which is with the certificates of the mesh");
        }
    }

    /// The Secret that stands for all files.
    fn credential(&self, secrets: Secrets, at: &mut At) -> Option<Credential> {
        let name = &*self.credential_name;
        if name.is_empty() {
            return None;
        }
        for file in self.files() {
            at.error(file, "names a file, and credentialName a Secret in place of all files".to_owned());
        }
        if let Err(text) = secret_name(name) {
            at.error("credentialName", text);
            return None;
        }
        if !secrets.usable {
            let text = "has no effect at sidecars, which use files, as long as spec.workloadSelector does not say which of \
                        them may have the Secret";
            at.warning("credentialName", text);
            return None;
        }
        let (namespace, name) = (secrets.namespace.clone(), Name::from(name));
        let secret = ObjectKey { kind: ObjectKind::Secret, namespace, name };
        Some(Credential { secret, shown: self.mode == "MUTUAL" })
    }

    /// The files of the client's certificate and key: both with MUTUAL, none with SIMPLE.
    fn certificate(&self, at: &mut At) -> Option<(Arc<str>, Arc<str>)> {
        let files = [("clientCertificate", &self.client_certificate), ("privateKey", &self.private_key)];
        if self.mode == "SIMPLE" {
            for (name, _) in files.into_iter().filter(|(_, text)| !text.is_empty()) {
                at.warning(name, "has no effect with SIMPLE, which shows no certificate");
            }
            return None;
        }
        let [certificate, key] = files.map(|(name, text)| {
            if text.is_empty() {
                at.error(name, "must be given with MUTUAL".to_owned());
            }
            at.text(name, text, file)
        });
        Some((certificate?, key?))
    }

    fn check(&self, names: Vec<Arc<str>>, at: &mut At) -> ServerCheck {
        let authorities = at.text("caCertificates", &self.ca_certificates, file);
        let revoked = at.text("caCrl", &self.ca_crl, file);
        if !self.insecure_skip_verify {
            return ServerCheck::Checked { authorities, revoked, names };
        }
        let stated = authorities.is_some() || revoked.is_some() || !names.is_empty();
        if stated {
            at.warning("insecureSkipVerify", "leaves out every check, also against what is stated beside it");
        }
        ServerCheck::Unchecked
    }
}

/// The block whose fields are being checked.
struct At<'a> {
    path: &'a str,
    notes: &'a mut Notes,
}

impl At<'_> {
    fn error(&mut self, name: &str, text: String) {
        self.notes.error(format!("{}.{name}", self.path), text);
    }

    fn warning(&mut self, name: &str, text: &str) {
        self.notes.warning(format!("{}.{name}", self.path), text);
    }

    /// A text, where one is given.
    fn text(&mut self, name: &str, written: &str, check: fn(&str) -> Result<(), String>) -> Option<Arc<str>> {
        if written.is_empty() {
            return None;
        }
        check(written).map_err(|text| self.error(name, text)).ok().map(|()| written.into())
    }

    fn names(&mut self, written: &[String]) -> Vec<Arc<str>> {
        let checked = written.iter().enumerate().filter_map(|(at, name)| {
            let field = marks::index("subjectAltNames", at);
            alternative_name(name).map_err(|text| self.error(&field, text)).ok().map(|()| Arc::from(name.as_str()))
        });
        let mut names: Vec<Arc<str>> = checked.collect();
        names.sort();
        names.dedup();
        names
    }
}

/// The name of a Secret. What Istio takes besides, such as names of other namespaces, has a prefix with a colon or a slash.
fn secret_name(name: &str) -> Result<(), String> {
    syntax::dns_name(name)
        .map_err(|text| format!("{text}; it has to be the name of a Secret of the rule's namespace"))?;
    match name.strip_suffix(AUTHORITIES) {
        Some(of) => Err(format!("{} is where the authorities of {} are looked for", quoted(name), quoted(of))),
        None => Ok(()),
    }
}

/// A file of the proxy.
fn file(path: &str) -> Result<(), String> {
    const LONGEST: usize = 4096;
    if path.len() <= LONGEST && path.starts_with('/') && !path.contains(char::is_control) {
        Ok(())
    } else {
        Err(format!("{} is not the path of a file, which begins with /", quoted(path)))
    }
}

/// What a server is asked for in TLS. Names such as `outbound_.80_._.web.shop.svc.cluster.local` have underscores.
fn server_name(name: &str) -> Result<(), String> {
    const LONGEST: usize = 255;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if name.len() <= LONGEST && name.chars().all(plain) {
        Ok(())
    } else {
        Err(format!("{} is not the name of a server", quoted(name)))
    }
}

/// A name in a certificate: a DNS name, an IP address or a URI, compared as a whole.
fn alternative_name(name: &str) -> Result<(), String> {
    const LONGEST: usize = 2048;
    let visible = |c: char| c.is_ascii_graphic();
    match name {
        "" => Err("must not be empty".to_owned()),
        _ if name.len() > LONGEST || !name.chars().all(visible) => {
            Err(format!("{} is not a name that a certificate can have", quoted(name)))
        }
        _ if name.contains('*') => Err(format!("{} is compared as a whole, so * stands for itself", quoted(name))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_names_are_plain_text() {
        for good in ["/etc/certs/ca.pem", "/a b/ä.pem"] {
            file(good).expect(good);
        }
        for bad in ["etc/ca.pem", "", "/etc/\n", "/etc/\0", &"/a".repeat(3000)] {
            file(bad).expect_err(bad);
        }
        for good in ["example.com", "outbound_.80_._.web.shop.svc.cluster.local", "EXAMPLE.com"] {
            server_name(good).expect(good);
        }
        for bad in ["a b", "a/b", "ä.example", "a\n", &"a".repeat(300)] {
            server_name(bad).expect_err(bad);
        }
        for good in ["example.com", "spiffe://cluster.local/ns/a/sa/b", "10.0.0.1", "::1"] {
            alternative_name(good).expect(good);
        }
        for bad in ["", "*.example.com", "a b", "a\n", "ä", &"a".repeat(3000)] {
            alternative_name(bad).expect_err(bad);
        }
    }
}
