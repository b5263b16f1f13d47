// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Geneve (RFC 8926) with options.

use portway_vport::abi::{TunnelInfo, tunnel_flags};
use portway_wire::ethernet;
use portway_wire::geneve::{MAX_OPTIONS_LEN, MIN_LEN, Repr, View};

use crate::{Header, Refusal};

/// The header that `info` asks for. The id is cut to 24 bits; options go out as they are, filled up to whole words.
pub fn encode(info: &TunnelInfo) -> Header {
    let options = info.options();
    let options = &options[..options.len().min(MAX_OPTIONS_LEN)];
    // As from the kernel: metadata of another tunnel's kind leaves its room, in zeros.
    let is_ours = info.flags & tunnel_flags::GENEVE_OPT != 0;
    let options = if is_ours { options } else { &[0; MAX_OPTIONS_LEN][..options.len()] };
    let padded = options.len().next_multiple_of(4);
    let repr = Repr {
        options_len: padded as u8,
        oam: info.flags & tunnel_flags::OAM != 0,
        critical: info.flags & tunnel_flags::CRIT_OPT != 0,
        protocol: ethernet::ethertype::TEB,
        vni: info.id as u32,
    };
    Header::new(&[&repr.to_bytes(), options, &[0; 3][..padded - options.len()]])
}

/// Notes in `info` what the header says, and returns where the frame inside starts.
///
/// # Errors
/// [`Refusal::BadHeader`]: cut, another version, or something else than a frame inside. What the options' own headers say is the
/// receiver's business.
pub fn decode(datagram: &[u8], info: &mut TunnelInfo) -> Result<usize, Refusal> {
    let view = View::new(datagram).map_err(|_| Refusal::BadHeader)?;
    if view.protocol() != ethernet::ethertype::TEB {
        return Err(Refusal::BadHeader);
    }
    info.id = u64::from(view.vni());
    info.flags |= tunnel_flags::KEY;
    for (is_set, flag) in [
        (view.oam(), tunnel_flags::OAM),
        (view.critical(), tunnel_flags::CRIT_OPT),
        (!view.options().is_empty(), tunnel_flags::GENEVE_OPT),
    ] {
        info.flags |= if is_set { flag } else { 0 };
    }
    info.set_options(view.options());
    Ok(MIN_LEN + view.options().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(id in 0..1u64 << 24, words in proptest::collection::vec(any::<[u8; 4]>(), 0..=63),
                                      oam: bool, critical: bool) {
            let mut info = TunnelInfo { id, flags: tunnel_flags::KEY, ..Default::default() };
            info.set_options(words.as_flattened());
            for (on, flag) in [(oam, tunnel_flags::OAM), (critical, tunnel_flags::CRIT_OPT),
                               (!words.is_empty(), tunnel_flags::GENEVE_OPT)] {
                info.flags |= if on { flag } else { 0 };
            }
            let header = encode(&info);
            let mut read = TunnelInfo::default();
            prop_assert_eq!(decode(header.bytes(), &mut read), Ok(header.bytes().len()));
            prop_assert_eq!(read, info);
            for cut in 0..header.bytes().len() {
                prop_assert!(decode(&header.bytes()[..cut], &mut TunnelInfo::default()).is_err());
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            if let Ok(at) = decode(&bytes, &mut TunnelInfo::default()) {
                prop_assert!(at <= bytes.len());
            }
        }
    }

    /// Lists of every size, and headers that say that there is more or less of them than there is.
    #[test]
    fn option_lists_may_lie_about_their_length() {
        let frame = [7; 20];
        for words in 0..=MAX_OPTIONS_LEN / 4 {
            let mut info = TunnelInfo { id: 5, flags: tunnel_flags::GENEVE_OPT, ..Default::default() };
            info.set_options(&vec![0xab; words * 4]);
            let datagram = [encode(&info).bytes(), &frame[..]].concat();
            for said in 0..64 {
                let mut lying = datagram.clone();
                lying[0] = said;
                let mut read = TunnelInfo::default();
                let start = decode(&lying, &mut read);
                let end = MIN_LEN + usize::from(said) * 4;
                if end <= lying.len() {
                    assert_eq!((start, read.options()), (Ok(end), &lying[MIN_LEN..end]), "{words} {said}");
                } else {
                    assert_eq!((start, read.options()), (Err(Refusal::BadHeader), &[][..]), "{words} {said}");
                }
            }
        }
    }

    #[test]
    fn other_payloads_and_versions_are_refused() {
        let good = encode(&TunnelInfo::default());
        for (at, value) in [(0, 0x40), (2, 0x08)] {
            let mut bytes = good.bytes().to_vec();
            bytes[at] = value;
            assert_eq!(decode(&bytes, &mut TunnelInfo::default()), Err(Refusal::BadHeader));
        }
        let mut odd = TunnelInfo { flags: tunnel_flags::GENEVE_OPT, ..Default::default() };
        odd.set_options(&[1, 2, 3, 4, 5]);
        assert_eq!(encode(&odd).bytes()[8..], [1, 2, 3, 4, 5, 0, 0, 0]);
        odd.flags = tunnel_flags::VXLAN_OPT;
        assert_eq!(encode(&odd).bytes()[8..], [0; 8]);
    }
}
