//! xDS: streams resources from the board to Envoy, SotW and Delta, over one ADS stream a proxy.
//!
//! In reading order: [`request`] and [`response`] are what a session takes and gives, [`session`] is the protocol
//! without I/O, [`sotw`] and [`delta`] are its two wire forms, [`stream`] is one connection's loop, [`certificate`] the
//! call by which agents have keys signed, [`server`] the gRPC service. Nothing here knows what a resource means.

pub mod absent;
pub mod admission;
pub mod certificate;
pub mod channel;
pub mod chorus;
pub mod connection;
pub mod decode;
pub mod delta;
pub mod fields;
pub mod frames;
pub mod gate;
pub mod identity;
pub mod limits;
pub mod mistrust;
pub mod pace;
mod porch;
pub mod quarantine;
pub mod rarely;
pub mod refrain;
pub mod refusal;
pub mod registry;
pub mod request;
pub mod response;
pub mod server;
pub mod session;
pub mod shares;
pub mod shelf;
mod socket;
pub mod sotw;
pub mod stream;
pub mod subscription;
pub mod texts;
pub mod trust;
mod waiting;
