//! Bytes that go one after the other: short ones are joined, long ones stay as they are.

use bytes::Bytes;

/// Parts at least this long are written as they are; shorter ones are joined with what follows.
pub const WHOLE: usize = 8 * 1024;
/// What a DATA frame of HTTP/2 holds at most, as long as nobody asks for more: a piece a little longer would cost another.
pub const FRAME: usize = 16 * 1024;

/// Takes the next bytes off the front of `parts`: one long part as it is, or short parts joined, up to `most` bytes; what
/// does not fit stays in front.
pub fn next_piece<I: Iterator<Item = Bytes>>(parts: &mut std::iter::Peekable<I>, most: usize) -> Option<Bytes> {
    let first = parts.next()?;
    let is_short = |next: &Bytes| next.len() < WHOLE;
    if first.len() >= WHOLE || !parts.peek().is_some_and(is_short) {
        return Some(first);
    }
    let mut joined = Vec::with_capacity(most);
    joined.extend_from_slice(&first);
    while let Some(next) = parts.peek_mut().filter(|next| is_short(next)) {
        let fits = next.len().min(most - joined.len());
        joined.extend_from_slice(&next.split_to(fits));
        if !next.is_empty() {
            break;
        }
        parts.next();
    }
    Some(joined.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(parts: &[usize], most: usize) -> (Vec<usize>, Vec<u8>) {
        let part = |(number, length): (usize, &usize)| Bytes::from(vec![number as u8; *length]);
        let mut parts = parts.iter().enumerate().map(part).collect::<Vec<_>>().into_iter().peekable();
        let pieces: Vec<Bytes> = std::iter::from_fn(|| next_piece(&mut parts, most)).collect();
        (pieces.iter().map(Bytes::len).collect(), pieces.concat())
    }

    #[test]
    fn short_parts_fill_whole_frames() {
        for most in [FRAME, 4 * FRAME] {
            let parts = vec![1_370; 1_000];
            let (lengths, bytes) = pieces(&parts, most);
            let (last, others) = lengths.split_last().expect("some pieces");
            assert!(others.iter().all(|length| *length == most) && *last <= most, "{lengths:?}");
            let all: Vec<u8> = (0..1_000).flat_map(|number| vec![number as u8; 1_370]).collect();
            assert_eq!(bytes, all);
        }
    }

    #[test]
    fn long_parts_stay_as_they_are() {
        assert_eq!(pieces(&[10, 10, WHOLE, 10, 471_000, 10], FRAME).0, [20, WHOLE, 10, 471_000, 10]);
        assert_eq!(pieces(&[], FRAME).0, [0; 0]);
        assert_eq!(pieces(&[5], FRAME).0, [5]);
    }
}
