// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What comes out of the sockets of tunnel ports: headers that are read, frames inside that are looked at, trains that are joined.

use portway_buf::{Gso, Offload, virtio};
use portway_tunnel::cut::Cut;
use portway_tunnel::merge::Train;
use portway_tunnel::{ecn, geneve, gre, inner, vxlan};
use portway_vport::abi::{TunnelInfo, tunnel_flags};

/// A datagram is decapsulated and what is in it looked at as a port does; what was read is written again as it was.
pub fn fuzz_one(data: &[u8]) {
    let Some((&first, datagram)) = data.split_first() else { return };
    let (kind, tos) = (first & 3, first >> 6);
    let mut datagram = datagram.to_vec();
    let mut info = TunnelInfo::default();
    let start = match kind {
        0 => vxlan::decode(&datagram, false, &mut info),
        1 => vxlan::decode(&datagram, true, &mut info),
        2 => geneve::decode(&datagram, &mut info),
        _ => gre::decode(&datagram, &mut info),
    };
    let Ok(start) = start else { return };
    check_header(kind, &info, &datagram[..start]);
    let frame = &mut datagram[start..];
    let before = frame.to_vec();
    let _ = ecn::encapsulate(tos, frame);
    if ecn::decapsulate(tos, frame).is_err() {
        assert_eq!(*frame, before, "what is refused stays as it is");
    }
    assert!(inner::depth(frame, 4789) <= inner::DEPTH_MAX && inner::flow_hash(frame) != 0);
    if let Some((at, offset)) = inner::partial_checksum(frame) {
        assert!(usize::from(at) + usize::from(offset) + 2 <= frame.len());
    }
    let gso_type = if first & 4 == 0 { virtio::gso::TCPV4 } else { virtio::gso::TCPV6 };
    let gso = Some(Gso { gso_type, size: u16::from(first >> 3) * 7 });
    if let Some(segments) = cut(frame, Offload { partial_csum: inner::partial_checksum(frame), gso }) {
        assert!(segments.iter().map(Vec::len).sum::<usize>() >= segments[0].len());
    }
    let piece = usize::from(first >> 2 & 0xf) * 16 + 54;
    join(&frame.chunks(piece).collect::<Vec<_>>());
}

/// A header made from what was read says the same.
fn check_header(kind: u8, info: &TunnelInfo, header: &[u8]) {
    let mut again = TunnelInfo::default();
    let made = match kind {
        0 | 1 => vxlan::encode(info, kind == 1),
        2 => geneve::encode(info),
        _ => gre::encode(info, &[]),
    };
    let read = match kind {
        0 | 1 => vxlan::decode(made.bytes(), kind == 1, &mut again),
        2 => geneve::decode(made.bytes(), &mut again),
        _ => gre::decode(made.bytes(), &mut again),
    };
    assert!(read.is_ok(), "{header:02x?}");
    let policy = |info: &TunnelInfo| info.options().iter().any(|byte| *byte != 0);
    if kind == 2 || policy(info) {
        assert_eq!(again.options(), info.options());
    }
    assert_eq!(again.id, info.id);
    assert_eq!(again.flags | tunnel_flags::VXLAN_OPT, info.flags | tunnel_flags::VXLAN_OPT);
}

/// Joins what can be joined, looks whether the result is as long as its parts, and cuts it again.
fn join(frames: &[&[u8]]) {
    let Some((first, rest)) = frames.split_first() else { return };
    let Some(mut train) = Train::start(first) else { return };
    let mut whole = first.to_vec();
    let mut count = 1;
    for next in rest {
        let Some((headers, payload)) = next.split_at_checked(train.headers()) else { break };
        if !train.add(first, headers, payload) {
            break;
        }
        whole.extend(payload);
        count += 1;
    }
    assert_eq!(whole.len(), train.frame_len());
    let offload = train.finish(&mut whole);
    let gso = offload.gso.expect("a train has segments");
    assert!(usize::from(gso.size) <= whole.len() && inner::layers(&whole).is_some());
    if let Some(segments) = cut(&whole, offload) {
        let lens: Vec<usize> = frames[..count].iter().map(|frame| frame.len()).collect();
        assert_eq!(segments.iter().map(Vec::len).collect::<Vec<_>>(), lens, "each as long as it was");
    }
}

/// The segments of a super-packet, if it can be cut.
fn cut(frame: &[u8], offload: Offload) -> Option<Vec<Vec<u8>>> {
    let cut = Cut::plan(frame, offload)?;
    let segment = |index| {
        let mut bytes = vec![0; cut.headers()];
        cut.write_headers(frame, index, &mut bytes);
        bytes.extend(&frame[cut.payload(index)]);
        bytes
    };
    Some((0..cut.segments()).map(segment).collect())
}
