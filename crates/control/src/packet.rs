// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_packet`: EXECUTE.

use portway_buf::{Packet, TunnelKey};
use portway_flow::FlowKey;
use portway_messages::Refusal;
use portway_messages::actions::decode_actions;
use portway_messages::key::decode_metadata;
use portway_messages::packet::ExecuteRequest;
use portway_uapi::Errno;
use portway_vport::Outlet;

use crate::call::{Call, Handled};
use crate::errno::errno_of;
use crate::server::{ClientId, Server};

fn decode<'a>(call: &mut Call<'a>) -> Result<ExecuteRequest<'a>, Refusal> {
    let mut request = ExecuteRequest::decode(&call.genl)?;
    call.warning = request.warning.take();
    Ok(request)
}

/// A packet with the metadata that came with it.
fn packet(frame: &[u8], metadata: &FlowKey, request: &ExecuteRequest<'_>) -> Result<Packet, Errno> {
    let mut packet = Packet::copied_from(frame).ok_or(Errno::ENOMEM)?;
    packet.set_in_port(metadata.in_port);
    packet.set_mark(metadata.skb_mark);
    packet.set_priority(metadata.priority);
    packet.set_dp_hash(metadata.dp_hash);
    packet.set_recirc_id(metadata.recirc_id);
    packet.set_mru(request.mru.unwrap_or(0));
    packet.set_rx_hash(request.hash.map_or(0, |hash| hash as u32));
    store_extension(&mut packet, metadata);
    if request.upcall_pid != 0 {
        packet.extension_mut().upcall_pid = request.upcall_pid;
    }
    Ok(packet)
}

/// Tunnel and connection metadata, if there is any.
fn store_extension(packet: &mut Packet, metadata: &FlowKey) {
    let connection = metadata.ct_state != 0
        || metadata.ct_zone != 0
        || metadata.ct_mark != 0
        || metadata.ct_orig_proto != 0
        || metadata.ct_labels != [0; 16];
    if !connection && metadata.tun_proto == 0 {
        return;
    }
    let extension = packet.extension_mut();
    extension.ct_state = metadata.ct_state;
    extension.ct_zone = metadata.ct_zone;
    extension.ct_mark = metadata.ct_mark;
    extension.ct_labels = metadata.ct_labels;
    extension.ct_orig_proto = metadata.ct_orig_proto;
    extension.ct_orig_src = metadata.ct_orig_src;
    extension.ct_orig_dst = metadata.ct_orig_dst;
    extension.ct_orig_tp_src = metadata.ct_orig_tp_src.get();
    extension.ct_orig_tp_dst = metadata.ct_orig_tp_dst.get();
    if metadata.tun_proto == 0 {
        return;
    }
    let start = metadata.tun_opts.len() - usize::from(metadata.tun_opts_len);
    extension.tunnel = Some(Box::new(TunnelKey {
        ipv6: metadata.tun_proto == 6,
        id: metadata.tun_id.get(),
        src: metadata.tun_src,
        dst: metadata.tun_dst,
        label: metadata.tun_label.get(),
        flags: metadata.tun_flags,
        tos: metadata.tun_tos,
        ttl: metadata.tun_ttl,
        tp_src: metadata.tun_tp_src.get(),
        tp_dst: metadata.tun_tp_dst.get(),
        options: metadata.tun_opts[start..].to_vec(),
    }));
}

impl Server {
    /// The outlet of a port: through it the client may send by itself what it would ask to be executed with that one output.
    ///
    /// # Errors
    /// EPERM: the client may execute nothing. ENODEV: there is no such datapath or port. What [`Vport::outlet`] says.
    ///
    /// [`Vport::outlet`]: portway_vport::Vport::outlet
    pub fn outlet(&self, id: ClientId, dp_ifindex: u32, port_no: u32) -> Result<Outlet, Errno> {
        let client = self.clients.get(&id).ok_or(Errno::ENODEV)?;
        if !client.peer.admin {
            return Err(Errno::EPERM);
        }
        let datapath = self.switch.datapath_of_device(client.peer.netns.id(), dp_ifindex);
        let port = datapath.and_then(|datapath| datapath.port(port_no)).ok_or(Errno::ENODEV)?;
        port.outlet()
    }
}

pub(crate) fn execute(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let (Some(frame), Some(key), Some(actions)) = (request.packet, request.key, request.actions) else {
        return Err(Errno::EINVAL.into());
    };
    let metadata = decode_metadata(key.payload())?;
    let packet = packet(frame, &metadata, &request)?;
    let actions = decode_actions(actions.payload()).map_err(|error| error.errno())?;
    let datapath = call.datapath(request.dp_ifindex);
    let now_ns = call.now_ns;
    match datapath {
        Ok(datapath) => {
            call.server.executed = true;
            let run = call.server.switch.execute(&datapath, packet, &actions, now_ns);
            run.map_err(|error| errno_of(&error).into())
        }
        Err(errno) => Err(errno.into()),
    }
}
