//! The protobuf wire format, as far as pre-framed messages and map order need it: varints, tags, fields. Reading never
//! panics.

use bytes::BufMut;
use std::ops::Range;

/// Wire type 2: length-delimited.
const LENGTH_DELIMITED: u64 = 2;

/// Appends a base-128 varint.
pub fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value as u8) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// The number of bytes of a varint.
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends the tag and the length of a length-delimited field, but not its content.
pub fn put_head(out: &mut impl BufMut, field: u32, length: usize) {
    put_varint(out, u64::from(field) << 3 | LENGTH_DELIMITED);
    put_varint(out, length as u64);
}

/// Appends a length-delimited field: a string, bytes or an encoded message.
pub fn put_field(out: &mut impl BufMut, field: u32, content: &[u8]) {
    put_head(out, field, content.len());
    out.put_slice(content);
}

/// The number of bytes [`put_field`] appends for content of that length.
pub fn field_len(field: u32, length: usize) -> usize {
    varint_len(u64::from(field) << 3) + varint_len(length as u64) + length
}

/// Takes a varint off the front; none at the end of the input or for more than ten bytes.
#[inline]
pub fn take_varint(input: &mut &[u8]) -> Option<u64> {
    // Nearly all are tags and lengths of one byte.
    if let Some((&byte, rest)) = input.split_first()
        && byte < 0x80
    {
        *input = rest;
        return Some(byte.into());
    }
    take_long_varint(input)
}

fn take_long_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, byte) in input.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            *input = &input[index + 1..];
            return Some(value);
        }
    }
    None
}

/// A field in the encoding of its message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// The field's number.
    pub number: u32,
    /// The value of a varint or fixed-length field, unsigned; none if the content is length-delimited.
    pub value: Option<u64>,
    /// Where tag, length and content lie.
    pub whole: Range<usize>,
    /// Where the content lies.
    pub content: Range<usize>,
}

/// The fields of an encoded message in order; ends after a none, which stands for bytes that are not well-formed.
pub fn fields(message: &[u8]) -> impl Iterator<Item = Option<Field>> {
    let mut at = Some(0);
    std::iter::from_fn(move || {
        let start = at.filter(|&start| start < message.len())?;
        let field = field_at(message, start);
        at = field.as_ref().map(|field| field.whole.end);
        Some(field)
    })
}

/// The field that starts at that place. Groups, which proto3 does not have, count as not well-formed.
fn field_at(message: &[u8], start: usize) -> Option<Field> {
    let mut rest = &message[start..];
    let tag = take_varint(&mut rest)?;
    let number = u32::try_from(tag >> 3).ok().filter(|&number| number > 0)?;
    let mut at = message.len() - rest.len();
    let value = match tag & 7 {
        0 => Some(take_varint(&mut rest)?),
        1 => Some(u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?)),
        5 => Some(u64::from(u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?))),
        LENGTH_DELIMITED => {
            let length = usize::try_from(take_varint(&mut rest)?).ok()?;
            at = message.len() - rest.len();
            take(&mut rest, length)?;
            None
        }
        _ => return None,
    };
    let end = message.len() - rest.len();
    Some(Field { number, value, whole: start..end, content: at..end })
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(taken)
}
