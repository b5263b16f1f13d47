// SPDX-License-Identifier: Apache-2.0 OR MIT
//! GRE (RFC 2784, RFC 2890) with Ethernet frames inside.

use portway_vport::abi::{TunnelInfo, tunnel_flags};
use portway_wire::checksum::Sum;
use portway_wire::ethernet;
use portway_wire::gre::{Repr, View};

use crate::{Header, Refusal};

/// The header that `info` asks for, for `frame`: key and checksum as its flags say. The id is cut to 32 bits.
pub fn encode(info: &TunnelInfo, frame: &[u8]) -> Header {
    let repr = Repr {
        protocol: ethernet::ethertype::TEB,
        checksum: info.flags & tunnel_flags::CSUM != 0,
        key: (info.flags & tunnel_flags::KEY != 0).then_some(info.id as u32),
        sequence: None,
    };
    let mut bytes = [0; 16];
    // Sixteen bytes are the longest header that there is.
    let len = repr.emit(&mut bytes).unwrap_or(0);
    let mut header = Header::new(&[&bytes[..len]]);
    if repr.checksum {
        let checksum = Sum::new().bytes(header.bytes()).bytes(frame).checksum();
        header.bytes_mut()[4..6].copy_from_slice(&checksum.to_be_bytes());
    }
    header
}

/// Notes in `info` what the header says, and returns where the frame inside starts.
///
/// # Errors
/// [`Refusal::BadHeader`]: cut, another version, source routing, something else than a frame inside, or a checksum: as the kernel's
/// port, this one has agreed with no peer on one.
pub fn decode(packet: &[u8], info: &mut TunnelInfo) -> Result<usize, Refusal> {
    let view = View::new(packet).map_err(|_| Refusal::BadHeader)?;
    if view.protocol() != ethernet::ethertype::TEB || view.checksum().is_some() {
        return Err(Refusal::BadHeader);
    }
    if let Some(key) = view.key() {
        info.id = u64::from(key);
        info.flags |= tunnel_flags::KEY;
    }
    Ok(view.header_len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(id: u32, has_key: bool) {
            let flags = if has_key { tunnel_flags::KEY } else { 0 };
            let info = TunnelInfo { id: u64::from(id), flags, ..Default::default() };
            let header = encode(&info, &[]);
            let mut read = TunnelInfo::default();
            prop_assert_eq!(decode(header.bytes(), &mut read), Ok(header.bytes().len()));
            prop_assert_eq!((read.flags, read.id), (flags, if has_key { u64::from(id) } else { 0 }));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            if let Ok(at) = decode(&bytes, &mut TunnelInfo::default()) {
                prop_assert!(at <= bytes.len());
            }
        }
    }

    #[test]
    fn a_checksum_is_right_when_sent_and_refused_when_received() {
        let frame = [7; 61];
        let info = TunnelInfo { id: 42, flags: tunnel_flags::KEY | tunnel_flags::CSUM, ..Default::default() };
        let header = encode(&info, &frame);
        assert_eq!(Sum::new().bytes(header.bytes()).bytes(&frame).checksum(), 0);
        assert_eq!(decode(header.bytes(), &mut TunnelInfo::default()), Err(Refusal::BadHeader));
    }
}
