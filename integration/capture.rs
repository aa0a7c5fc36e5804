//! Transparent capture, live: real sidecars in network namespaces, iptables in front of them, judged by what
//! applications see. Each test has a network, processes and manifests of its own.

#[path = "capture/bare.rs"]
mod bare;
mod harness;
#[path = "capture/speaker.rs"]
mod speaker;
