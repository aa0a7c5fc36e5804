//! Bytes that nobody may see: no way to show them, and nothing left of them in memory when they are dropped.

use std::sync::Arc;
use zeroize::Zeroizing;

/// Key material. Clones share it; it has no `Debug`, no `Display`, and is overwritten when the last clone goes.
#[derive(Clone)]
pub struct Sensitive(Arc<Zeroizing<Vec<u8>>>);

impl Sensitive {
    /// Takes bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The bytes, for who signs with them or delivers them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
