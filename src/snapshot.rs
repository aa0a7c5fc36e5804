//! Resources without meaning: what is encoded, compared, posted and printed, whatever it configures.
//!
//! `publish` makes resources and posts snapshots on the board; `xds` takes them from there. This room knows no policy
//! and no protocol.

pub mod absent;
pub mod bell;
pub mod board;
pub mod canonical;
pub mod digest;
mod entry;
pub mod fragments;
pub mod interest;
pub mod keyed;
pub mod kind;
pub mod lint;
pub mod names;
pub mod pieces;
pub mod print;
pub mod private;
pub mod resource;
pub mod roll;
pub mod set;
pub mod sources;
pub mod wire;
