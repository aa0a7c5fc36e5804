//! What the bench and its test share: the server under test, the floor, the fleet, and how they are put to work.
#![allow(dead_code, reason = "the bench and its test each use a part")]

pub mod door;
pub mod engine;
pub mod fleet;
pub mod floor;
pub mod group;
pub mod knocks;
pub mod line;
pub mod papers;
pub mod proxy;
pub mod rig;
pub mod role;
pub mod server;
pub mod signing;
pub mod tally;
pub mod wire;
pub mod world;
