//! The fields of a Secret that are read: what TLS takes, under the names that Istio reads.

use super::Shape::{Object, Text};
use super::{Field, Shape};

/// The fields.
pub const FIELDS: &[Field] = &[
    Field::done(
        "type",
        Text,
        "kubernetes.io/tls, or Opaque, which is meant if none; a Secret of another type is left alone",
    ),
    Field::done("data", DATA, "certificates and a key, in base64"),
    Field::done("stringData", DATA, "the same as they are, which come first"),
];

const DATA: Shape = Object(&[
    Field::done("tls.crt", Text, "the certificate to show, and those between it and its authority, in PEM"),
    Field::done("tls.key", Text, "its key, in PEM"),
    Field::done("ca.crt", Text, "certificates of the authorities to trust, in PEM"),
    Field::without("ca.crl", Text, "certificates that were revoked are taken all the same"),
    Field::done("cert", Text, "another name of tls.crt, which comes first"),
    Field::done("key", Text, "another name of tls.key, with cert"),
    Field::done("cacert", Text, "another name of ca.crt, which comes first"),
    Field::without("crl", Text, "certificates that were revoked are taken all the same"),
]);
