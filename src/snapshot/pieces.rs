//! Bytes that go one after the other: short ones are joined, long ones stay as they are.

use bytes::Bytes;

/// Parts at least this long are written as they are; shorter ones are joined with what follows.
const WHOLE: usize = 8 * 1024;
/// Joined parts are written when they are this long: one HTTP/2 DATA frame.
const JOINED: usize = 16 * 1024;

/// Takes the next bytes off the front of `parts`: one long part as it is, or short parts joined.
pub fn next_piece<I: Iterator<Item = Bytes>>(parts: &mut std::iter::Peekable<I>) -> Option<Bytes> {
    let first = parts.next()?;
    let follows = |next: &Bytes| next.len() < WHOLE;
    if first.len() >= WHOLE || !parts.peek().is_some_and(follows) {
        return Some(first);
    }
    let mut joined = Vec::with_capacity(JOINED + WHOLE);
    joined.extend_from_slice(&first);
    while joined.len() < JOINED {
        let Some(next) = parts.next_if(follows) else { break };
        joined.extend_from_slice(&next);
    }
    Some(joined.into())
}
