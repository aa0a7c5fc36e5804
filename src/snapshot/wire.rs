//! The protobuf wire format, as far as pre-framed messages need it: varints, tags, length-delimited fields.

use bytes::BufMut;

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
pub fn take_varint(input: &mut &[u8]) -> Option<u64> {
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
