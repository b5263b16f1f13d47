// SPDX-License-Identifier: Apache-2.0 OR MIT
//! set(tunnel): what the outer headers shall say when the packet next leaves through a tunnel port.

use portway_buf::{Packet, TunnelKey};

/// Gives the packet its tunnel metadata (allocates: tunnels are not on the path that must not).
pub(crate) fn set(packet: &mut Packet, key: &TunnelKey) {
    packet.extension_mut().tunnel = Some(Box::new(key.clone()));
}
