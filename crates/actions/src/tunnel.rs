// SPDX-License-Identifier: Apache-2.0 OR MIT
//! set(tunnel): what the outer headers shall say when the packet next leaves through a tunnel port.

use std::sync::Arc;

use portway_buf::{Packet, TunnelKey};

/// Gives the packet its tunnel metadata. The first for a packet allocates the metadata's place; the value is the program's.
pub(crate) fn set(packet: &mut Packet, key: &Arc<TunnelKey>) {
    packet.extension_mut().egress = Some(Arc::clone(key));
}
