// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames, and texts that people and programs write.

use portway_buf::{Packet, PacketKind};
use portway_flow::extract;

/// A frame's key is extracted, without a look beyond its end, and always the same.
pub fn fuzz_one(data: &[u8]) {
    let Some((&first, frame)) = data.split_first() else { return };
    let Some(mut packet) = Packet::copied_from(frame) else { return };
    if first & 1 != 0 {
        packet.set_kind(PacketKind::Layer3([0x0800, 0x86dd][usize::from(first >> 1 & 1)]));
    }
    let key = extract(&mut packet);
    assert_eq!(extract(&mut packet), key);
}

/// Texts of keys, actions and requests are read or refused.
pub fn fuzz_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let port = |name: &str| name.parse().ok();
    let _ = portway_flow::text::parse_key(text, &port);
    let _ = portway_flow::text::parse_actions(text, &port);
    let _ = serde_json::from_str::<portway_api::Request>(text);
}
