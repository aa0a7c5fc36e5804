//! The fields of a Secret, tried as those of the other core kinds are: what they hold has to be made first.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

/// What a Secret holds, in PEM.
struct Made {
    certificate: String,
    /// One of the same key.
    another: String,
    key: String,
}

impl Made {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let signed = |name: &str| {
            let params = CertificateParams::new([name.to_owned()]).expect("a name");
            params.self_signed(&key).expect("a certificate").pem()
        };
        Self { certificate: signed("a.example"), another: signed("b.example"), key: key.serialize_pem() }
    }
}

/// The path of a name in a map.
fn path(place: &str, name: &str) -> String {
    if name.contains('.') { format!("{place}[\"{name}\"]") } else { format!("{place}.{name}") }
}

/// For each field its path and two Secrets that differ in it alone; the second asks for it.
pub fn pairs() -> Vec<(String, Value, Value)> {
    let Made { certificate, another, key } = Made::new();
    // The same key, written otherwise.
    let spaced = key.clone() + "\n";
    let mut pairs = Vec::new();
    for (place, encoded) in [("data", true), ("stringData", false)] {
        let written = |text: &str| if encoded { STANDARD.encode(text) } else { text.to_owned() };
        for (chain, own, authorities, revoked) in
            [("tls.crt", "tls.key", "ca.crt", "ca.crl"), ("cert", "key", "cacert", "crl")]
        {
            let plain = [(chain, &certificate), (own, &key), (authorities, &certificate)];
            let secret = |name: &str, text: &str| {
                let mut secret = json!({"type": "Opaque"});
                for (name, text) in plain.iter().map(|(name, text)| (*name, text.as_str())).chain([(name, text)]) {
                    secret[place][name] = written(text).into();
                }
                secret
            };
            for (name, text) in [(chain, &another), (own, &spaced), (authorities, &another), (revoked, &another)] {
                // What comes last stands.
                pairs.push((path(place, name), secret(chain, &certificate), secret(name, text)));
            }
        }
    }
    let of_type = |stated: &str| json!({"type": stated, "data": {"ca.crt": STANDARD.encode(&certificate)}});
    pairs.push(("type".to_owned(), of_type("kubernetes.io/tls"), of_type("kubernetes.io/dockerconfigjson")));
    pairs
}
