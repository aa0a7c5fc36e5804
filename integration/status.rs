//! What is said of objects and when it is written, without an API server.

#[path = "status/clerk.rs"]
mod clerk;
#[path = "status/desk.rs"]
mod desk;
#[path = "status/events.rs"]
mod events;
#[path = "status/verdict.rs"]
mod verdict;
