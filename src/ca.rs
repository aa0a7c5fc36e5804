//! The certificate authority: signs for who has proven an identity, and for this server.
//!
//! [`authority`] signs, with a [`key`]; [`material`] is what it is made of, in the layout of files and keys that Istio's `cacerts` has;
//! [`folder`] keeps that on disk, and [`rotation`] leads from one root to the next. [`request`] is what somebody wants signed,
//! [`given`] a certificate of this server that somebody else has signed, [`tls`] how a server speaks with its help, [`peer`] what a client's certificate says, and [`term`] for how long it all counts.
//! As text keys are [`Sensitive`](crate::model::sensitive::Sensitive): never shown.

pub mod authority;
pub mod folder;
pub mod given;
pub mod key;
pub mod material;
pub mod peer;
pub mod request;
pub mod rotation;
pub mod term;
pub mod tls;
