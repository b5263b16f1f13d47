// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Samples of packets (psample actions) as messages of the `psample` family.

use portway_datapath::Upcall;
use portway_messages::family::{PSAMPLE, SAMPLES};
use portway_messages::psample::Sample;
use portway_netlink::{Datagram, Header};
use portway_uapi::psample::PSAMPLE_CMD_SAMPLE;

use crate::call::MESSAGE_MAX;
use crate::server::Server;

/// Where a frame has its outer tag, and the tag's length.
const VLAN_AT: usize = 12;
const VLAN_LEN: usize = 4;

/// The bit of a tag in a key that says that there is one.
const VLAN_PRESENT: u16 = 0x1000;

/// What the action says.
pub(crate) struct Action<'a> {
    pub(crate) group: u32,
    pub(crate) cookie: Option<&'a [u8]>,
    pub(crate) probability: u32,
}

impl Server {
    /// Gives a sample to whoever listens in the datapath's namespace.
    pub(crate) fn deliver_sample(&mut self, upcall: &Upcall, action: &Action<'_>, wall_ns: u64) {
        let netns = upcall.datapath.netns().id();
        if !self.has_members(&SAMPLES, netns) {
            return;
        }
        // As the kernel has it: the outer tag is beside the frame.
        let is_tagged = upcall.key.vlan_tci.get() & VLAN_PRESENT != 0;
        let frame = upcall.packet.frame();
        let mut data = frame.to_vec();
        if is_tagged && frame.len() >= VLAN_AT + VLAN_LEN {
            data.drain(VLAN_AT..VLAN_AT + VLAN_LEN);
        }
        let original_len = data.len() as u32;
        data.truncate(data.len().saturating_sub(upcall.cut_len as usize));
        let ifindex = upcall.datapath.port(upcall.key.in_port).map_or(0, |port| port.ifindex());
        let Action { group, cookie, probability } = *action;
        let (key, data) = (&upcall.key, data.as_slice());
        let sample = Sample { ifindex, probability, original_len, group, wall_ns, data, key, cookie };
        let header = Header { kind: PSAMPLE.id, flags: 0, seq: 0, pid: 0 };
        let mut datagram = Datagram::new(MESSAGE_MAX);
        let written = datagram
            .genl(header, PSAMPLE_CMD_SAMPLE, PSAMPLE.version, &(), |b| sample.encode(b))
            .map(|()| datagram.into_bytes());
        if let Ok(message) = written {
            self.multicast_to(&SAMPLES, netns, &message, None);
        }
    }
}
