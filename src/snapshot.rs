//! Resources without meaning: what is encoded, compared, posted and printed, whatever it configures.
//!
//! `publish` makes resources and posts snapshots on the board; `xds` takes them from there. This room knows no policy
//! and no protocol.

pub mod absent;
pub mod board;
pub mod canonical;
mod entry;
pub mod fragments;
pub mod kind;
pub mod lint;
pub mod print;
pub mod resource;
pub mod set;
pub mod wire;
