// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Names that a client wants for a device that is to be made.

use portway_uapi::Errno;
use portway_vport::PortName;

/// The most names that are tried for a pattern.
const TRIES_MAX: u32 = 8 * 4096;

/// Calls `make` with the device name wanted. A name with `%d` in it is a pattern, as in the kernel: the lowest number
/// whose name is free takes the place.
///
/// # Errors
/// EINVAL for what cannot be a device's name; ENFILE if every number is taken; else what `make` says.
pub(crate) fn make_named<T>(
    wanted: &[u8],
    mut make: impl FnMut(PortName) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let name = PortName::new(wanted).filter(PortName::is_device_name).ok_or(Errno::EINVAL)?;
    let Some(at) = wanted.iter().position(|byte| *byte == b'%') else { return make(name) };
    let (before, after) = (&wanted[..at], &wanted[at + 1..]);
    let Some(after) = after.strip_prefix(b"d").filter(|rest| !rest.contains(&b'%')) else {
        return Err(Errno::EINVAL);
    };
    for number in 0..TRIES_MAX {
        let candidate = [before, number.to_string().as_bytes(), after].concat();
        let name = PortName::new(&candidate).ok_or(Errno::ENFILE)?;
        match make(name) {
            Err(Errno::EEXIST | Errno::EBUSY) => {}
            result => return result,
        }
    }
    Err(Errno::ENFILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_the_lowest_free_number() {
        let taken = ["n0", "n1", "0"];
        let make = |name: PortName| {
            let name = name.to_string();
            if taken.contains(&name.as_str()) { Err(Errno::EEXIST) } else { Ok(name) }
        };
        assert_eq!(make_named(b"n%d", make).unwrap(), "n2");
        assert_eq!(make_named(b"%d", make).unwrap(), "1");
        assert_eq!(make_named(b"a%db", make).unwrap(), "a0b");
        assert_eq!(make_named(b"n0", make), Err(Errno::EEXIST));
        for bad in [&b"n%s"[..], b"n%", b"%d%d", b"", b"a b", b"0123456789abcdef"] {
            assert_eq!(make_named(bad, make), Err(Errno::EINVAL), "{bad:?}");
        }
    }
}
