// SPDX-License-Identifier: Apache-2.0 OR MIT
//! VXLAN (RFC 7348) with group based policy (draft-smith-vxlan-group-policy).

use portway_vport::abi::{TunnelInfo, tunnel_flags};
use portway_wire::vxlan::{FLAG_GBP, FLAG_VNI, GBP_APPLIED, GBP_DONT_LEARN, LEN, Repr, View};

use crate::{Header, Refusal};

/// Bits of a policy that go out: two flags and the group.
const POLICY: u32 = GBP_DONT_LEARN | GBP_APPLIED | 0xffff;
/// Bits of the first word that a port with the extension does not mind.
const GBP_WORD: u32 = FLAG_GBP | 0x00ff_ffff;

/// The header that `info` asks for; `gbp`: the port has the policy extension. The id is cut to 24 bits.
pub fn encode(info: &TunnelInfo, gbp: bool) -> Header {
    let policy = match info.options().first_chunk() {
        Some(word) if gbp && info.flags & tunnel_flags::VXLAN_OPT != 0 => u32::from_ne_bytes(*word) & POLICY,
        _ => 0,
    };
    let flags = if policy == 0 { 0 } else { FLAG_GBP | policy };
    Header::new(&[&Repr { flags, vni: info.id as u32 }.to_bytes()])
}

/// Notes in `info` what the header says, and returns where the frame inside starts.
///
/// # Errors
/// [`Refusal::BadHeader`]: cut, without a network id, or with bits set that the port does not know.
pub fn decode(datagram: &[u8], gbp: bool, info: &mut TunnelInfo) -> Result<usize, Refusal> {
    let view = View::new(datagram).map_err(|_| Refusal::BadHeader)?;
    let flags = view.flags();
    let known = FLAG_VNI | if gbp { GBP_WORD } else { 0 };
    if flags & FLAG_VNI == 0 || flags & !known != 0 || view.reserved() != 0 {
        return Err(Refusal::BadHeader);
    }
    info.id = u64::from(view.vni());
    info.flags |= tunnel_flags::KEY;
    if flags & FLAG_GBP != 0 {
        info.flags |= tunnel_flags::VXLAN_OPT;
        info.set_options(&(flags & POLICY).to_ne_bytes());
    }
    Ok(LEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bits_that_are_not_known_are_refused() {
        let check = |word: u32, low: u8, gbp| {
            let mut bytes = word.to_be_bytes().to_vec();
            bytes.extend([0x12, 0x34, 0x56, low]);
            let mut info = TunnelInfo::default();
            decode(&bytes, gbp, &mut info).map(|_| info)
        };
        let info = check(FLAG_VNI, 0, false).unwrap();
        assert_eq!((info.id, info.flags, info.options_len), (0x12_3456, tunnel_flags::KEY, 0));
        for bad in [0, 0xff00_0000, FLAG_VNI | 1, FLAG_VNI | FLAG_GBP, FLAG_VNI | 0x0400_0000] {
            assert_eq!(check(bad, 0, false), Err(Refusal::BadHeader), "{bad:08x}");
        }
        assert_eq!(check(FLAG_VNI, 7, false), Err(Refusal::BadHeader));
        let info = check(FLAG_VNI | FLAG_GBP | GBP_APPLIED | 0x30_0123, 0, true).unwrap();
        assert_eq!(info.options(), (GBP_APPLIED | 0x0123).to_ne_bytes());
        assert_eq!(check(FLAG_VNI | 0x0400_0000, 0, true), Err(Refusal::BadHeader));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(id in 0..1u64 << 24, policy: u32, gbp: bool) {
            let mut info = TunnelInfo { id, flags: tunnel_flags::KEY | tunnel_flags::VXLAN_OPT, ..Default::default() };
            info.set_options(&policy.to_ne_bytes());
            let header = encode(&info, gbp);
            let mut read = TunnelInfo::default();
            prop_assert_eq!(decode(header.bytes(), gbp, &mut read), Ok(LEN));
            prop_assert_eq!(read.id, id);
            let kept = if gbp { policy & POLICY } else { 0 };
            prop_assert_eq!(read.options().first_chunk().map_or(0, |word| u32::from_ne_bytes(*word)), kept);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, gbp: bool) {
            if let Ok(at) = decode(&bytes, gbp, &mut TunnelInfo::default()) {
                prop_assert!(at <= bytes.len());
            }
        }
    }
}
