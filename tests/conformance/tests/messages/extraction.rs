// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every upcall of a miss names the key that the kernel extracted, and has the packet: the same packet must have the same key here.

use portway_buf::{Gso, Offload, Packet, PacketKind, TunnelKey};
use portway_conformance::attrs::number;
use portway_conformance::{Recording, Step, bytes_of_hex, hex_of_bytes};
use portway_flow::{FlowKey, extract, mac_proto};
use portway_messages::key::{decode_metadata, encode_key};
use portway_uapi::openvswitch as ovs;

use crate::{Tally, attribute, hex, raw};

/// The metadata of a recorded key, given to a packet as the ports, the tunnels and the actions before would have done.
fn give_metadata(packet: &mut Packet, key: &FlowKey) {
    if key.mac_proto == mac_proto::NONE {
        packet.set_kind(PacketKind::Layer3(key.eth_type.get()));
    }
    packet.set_in_port(key.in_port);
    packet.set_recirc_id(key.recirc_id);
    packet.set_mark(key.skb_mark);
    packet.set_priority(key.priority);
    packet.set_dp_hash(key.dp_hash);
    let options = key.tun_opts[256 - usize::from(key.tun_opts_len)..].to_vec();
    let tunnel = TunnelKey {
        id: key.tun_id.get(),
        src: key.tun_src,
        dst: key.tun_dst,
        ipv6: key.tun_proto == 6,
        tos: key.tun_tos,
        ttl: key.tun_ttl,
        flags: key.tun_flags,
        label: key.tun_label.get(),
        tp_src: key.tun_tp_src.get(),
        tp_dst: key.tun_tp_dst.get(),
        options,
    };
    let extension = packet.extension_mut();
    extension.tunnel = (key.tun_proto != 0).then(|| Box::new(tunnel));
    extension.ct_state = key.ct_state;
    extension.ct_zone = key.ct_zone;
    extension.ct_mark = key.ct_mark;
    extension.ct_labels = key.ct_labels;
    extension.ct_orig_proto = key.ct_orig_proto;
    extension.ct_orig_src = key.ct_orig_src;
    extension.ct_orig_dst = key.ct_orig_dst;
    extension.ct_orig_tp_src = key.ct_orig_tp_src.get();
    extension.ct_orig_tp_dst = key.ct_orig_tp_dst.get();
}

/// The super-packet that was injected, if it was one: its segments go up with the key of the whole.
fn super_packet(step: &Step) -> Option<Packet> {
    let gso_type = number(&step.what["vnet"]["gso_type"]).filter(|gso_type| *gso_type != 0)?;
    let mut packet = Packet::copied_from(&bytes_of_hex(step.what["frame"].as_str()?)?)?;
    let size = number(&step.what["vnet"]["gso_size"])?;
    packet.set_offload(Offload {
        partial_csum: None,
        gso: Some(Gso { gso_type: gso_type as u8, size: size as u16 }),
    });
    Some(packet)
}

/// Compares one upcall.
fn upcall(message: &serde_json::Value, step: &Step, place: &str, tally: &mut Tally) {
    let bytes = raw(message);
    let recorded = attribute(&bytes, ovs::OVS_PACKET_ATTR_KEY).expect("an upcall has a key");
    let frame = attribute(&bytes, ovs::OVS_PACKET_ATTR_PACKET).expect("an upcall has a packet");
    let of_segment = || Packet::copied_from(&frame).expect("a frame of ordinary length");
    let mut packet = super_packet(step).unwrap_or_else(of_segment);
    let metadata = decode_metadata(&recorded).expect("the kernel's own key");
    give_metadata(&mut packet, &metadata);
    let ours = extract(&mut packet).map_or_else(|reason| reason.name().into(), |key| encode_key(&key));
    let place = format!("{place}: frame {}", hex_of_bytes(&frame));
    tally.compare(&place, &ours, &recorded, hex);
}

fn upcalls(step: &Step) -> impl Iterator<Item = &serde_json::Value> {
    let sockets = step.got["upcalls"].as_object().into_iter().flatten();
    sockets.flat_map(|(_, messages)| messages.as_array().into_iter().flatten())
}

#[test]
fn the_kernel_and_we_see_the_same_in_every_packet() {
    let mut tally = Tally::default();
    for recording in Recording::all(&[""]) {
        for (index, step) in recording.steps.iter().enumerate() {
            let place = format!("{} step {index}", recording.name);
            // Of a super-packet, the first segment: the later fragments of a datagram are marked as such.
            let count = if super_packet(step).is_some() { 1 } else { usize::MAX };
            for message in upcalls(step).filter(|message| message["cmd"] == "MISS").take(count) {
                upcall(message, step, &place, &mut tally);
            }
        }
    }
    tally.finish("keys extracted", 1100);
}

/// Where the scenario has no flows at all, a frame without an upcall was refused by the kernel's extraction (or never reached it).
#[test]
fn what_the_kernel_refuses_is_refused() {
    let mut tally = Tally::default();
    for recording in Recording::all(&["keys-nsh", "keys-ether", "keys-fuzz"]) {
        for (index, step) in
            recording.steps.iter().enumerate().filter(|(_, step)| step.what["op"] == "inject")
        {
            let frame = step.what["frame"].as_str().and_then(bytes_of_hex).expect("a frame");
            // The kernel's receive path drops a VLAN tag that is cut, before OVS.
            let cut_tag = matches!(frame.get(12..14), Some([0x81, 0] | [0x88, 0xa8])) && frame.len() < 18;
            if !step.got["send_error"].is_null() || cut_tag {
                continue;
            }
            let mut packet = Packet::copied_from(&frame).expect("a frame of ordinary length");
            let ours = extract(&mut packet).is_ok();
            let place = format!("{} step {index}: frame {}", recording.name, hex_of_bytes(&frame));
            tally.compare(&place, &ours, &(upcalls(step).count() > 0), bool::to_string);
        }
    }
    tally.finish("frames taken or refused", 400);
}
