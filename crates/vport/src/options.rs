// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reading and writing a port's options: netlink attributes (`struct nlattr`: u16 length with header, u16 type, value,
//! padded to 4 bytes; host order), as `create` and `set_options` get them and `get_options` gives them.

use crate::ops::Errno;

/// Bytes of an attribute's header.
const HEADER: usize = 4;
/// The part of an attribute's type that is its number (NLA_TYPE_MASK).
const TYPE_MASK: u16 = 0x3fff;

/// The attributes in `options`, in order; `Err(EINVAL)`, then the end, where they are damaged.
pub fn iter(options: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Errno>> {
    let mut rest = options;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let attribute = split(rest);
        rest = attribute.map_or(&[], |(_, _, rest)| rest);
        Some(attribute.map(|(attr, value, _)| (attr, value)).ok_or(Errno::EINVAL))
    })
}

fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (len, attr) = (bytes.get(..2)?, bytes.get(2..HEADER)?);
    let len = usize::from(u16::from_ne_bytes([len[0], len[1]]));
    let attr = u16::from_ne_bytes([attr[0], attr[1]]) & TYPE_MASK;
    let value = bytes.get(HEADER..len)?;
    Some((attr, value, bytes.get(len.next_multiple_of(4)..).unwrap_or(&[])))
}

/// Appends an attribute. EMSGSIZE if its value is too long for one.
pub fn push(out: &mut Vec<u8>, attr: u16, value: &[u8]) -> Result<(), Errno> {
    let len = u16::try_from(HEADER + value.len()).map_err(|_| Errno::EMSGSIZE)?;
    out.extend_from_slice(&len.to_ne_bytes());
    out.extend_from_slice(&attr.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    Ok(())
}

/// Appends a string with its NUL. EMSGSIZE if it is too long.
pub fn push_str(out: &mut Vec<u8>, attr: u16, text: &str) -> Result<(), Errno> {
    let mut value = text.as_bytes().to_vec();
    value.push(0);
    push(out, attr, &value)
}

/// The text of a string attribute, with or without its NUL. EINVAL if there is another NUL in it or it is not UTF-8.
pub fn as_str(value: &[u8]) -> Result<&str, Errno> {
    let text = value.strip_suffix(&[0]).unwrap_or(value);
    let text = std::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    if text.contains('\0') { Err(Errno::EINVAL) } else { Ok(text) }
}

/// The value of a u32 attribute. EINVAL if it has another length.
pub fn as_u32(value: &[u8]) -> Result<u32, Errno> {
    value.try_into().map(u32::from_ne_bytes).map_err(|_| Errno::EINVAL)
}

/// The value of a u16 attribute. EINVAL if it has another length.
pub fn as_u16(value: &[u8]) -> Result<u16, Errno> {
    value.try_into().map(u16::from_ne_bytes).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        push_str(&mut out, 1, "abc").unwrap();
        push_str(&mut out, 2, "abcd").unwrap();
        push(&mut out, 3, &7u32.to_ne_bytes()).unwrap();
        out
    }

    #[test]
    fn attributes_come_back() {
        let options = sample();
        let all: Vec<_> = iter(&options).map(Result::unwrap).collect();
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].0, as_str(all[0].1)), (1, Ok("abc")));
        assert_eq!((all[1].0, as_str(all[1].1)), (2, Ok("abcd")));
        assert_eq!((all[2].0, as_u32(all[2].1)), (3, Ok(7)));
        assert_eq!(as_u16(all[2].1), Err(Errno::EINVAL));
    }

    #[test]
    fn a_cut_anywhere_is_an_error_or_a_shorter_list() {
        let options = sample();
        for end in 0..options.len() {
            let all: Vec<_> = iter(&options[..end]).collect();
            assert!(all.len() <= 3);
            let whole = end == 0 || end == 8 || end == 20 || (13..20).contains(&end) && end >= 17;
            assert_eq!(all.iter().all(Result::is_ok), whole, "{end}");
        }
        assert_eq!(iter(&[3, 0, 1, 0]).collect::<Vec<_>>(), [Err(Errno::EINVAL)], "shorter than its header");
        assert_eq!(push(&mut Vec::new(), 1, &[0; 65_532]), Err(Errno::EMSGSIZE));
        assert_eq!(as_str(b"a\0b\0"), Err(Errno::EINVAL));
    }
}
