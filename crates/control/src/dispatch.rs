// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The rules that hold for every request, before its family sees it, and for every acknowledgement.

use portway_messages::Refusal;
use portway_messages::family::{self, Family, Op};
use portway_netlink::{Datagram, ExtAck, GenlMessage, Message, Messages};
use portway_uapi::Errno;
use portway_uapi::genetlink::{CTRL_CMD_GETFAMILY, CTRL_CMD_GETPOLICY, genlmsghdr};
use portway_uapi::netlink::{NLM_F_ACK, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REQUEST, NLMSG_MIN_TYPE};
use portway_uapi::openvswitch::*;
use zerocopy::FromBytes;

use crate::call::{Call, Handled, MESSAGE_MAX};
use crate::client::Queued;
use crate::server::{ClientId, Server};
use crate::{ct_limit, ctrl, datapath, flow, meter, packet, vport};

/// What became of a message.
enum Outcome {
    /// To be acknowledged.
    Done(Handled),
    /// A dump has started: it ends with a message of its own.
    Dump,
}

impl Server {
    /// Handles a datagram from a client: one or more messages. When this returns, every request in it has been carried out,
    /// and what is to be said about it waits in the queues.
    pub fn handle_datagram(&mut self, id: ClientId, datagram: &[u8], now_ns: u64) {
        // What happened before is told before.
        self.handle_events();
        self.handle_messages(id, datagram, now_ns);
        self.send_executed(now_ns);
    }

    /// Sends the packets that requests have brought. They come many in one datagram and leave together.
    fn send_executed(&mut self, now_ns: u64) {
        if std::mem::take(&mut self.executed) {
            self.switch.send_executed(now_ns);
        }
    }

    fn handle_messages(&mut self, id: ClientId, datagram: &[u8], now_ns: u64) {
        for message in Messages::new(datagram) {
            if !self.clients.contains_key(&id) {
                return;
            }
            let mut warning = None;
            let outcome = self.handle_message(id, &message, now_ns, &mut warning);
            if let Outcome::Done(result) = outcome {
                self.acknowledge(id, &message, result, warning);
            }
        }
    }

    fn acknowledge(&mut self, id: ClientId, message: &Message<'_>, result: Handled, warning: Option<ExtAck>) {
        if result.is_ok() && !message.wants_ack() {
            return;
        }
        let Some(sender) = self.clients.get(&id) else { return };
        let (result, ext) = match result {
            Ok(()) => (Ok(()), warning),
            Err(refusal) => (Err(refusal.errno), refusal.ext.map(|ext| *ext).or(warning)),
        };
        let mut out = Datagram::new(MESSAGE_MAX);
        if sender.ack.write(&mut out, message, sender.port_id, result, ext.as_ref()).is_ok() {
            self.push(id, Queued::answer(out.into_bytes()));
        }
    }

    fn handle_message(
        &mut self,
        id: ClientId,
        message: &Message<'_>,
        now_ns: u64,
        warning: &mut Option<ExtAck>,
    ) -> Outcome {
        // Only requests are acted upon; anything else is at most acknowledged.
        if !message.is_request() || message.header().nlmsg_type < NLMSG_MIN_TYPE {
            return Outcome::Done(Ok(()));
        }
        let Some(family) = family::family_by_id(message.header().nlmsg_type) else {
            return Outcome::Done(Err(Errno::ENOENT.into()));
        };
        let admin = self.clients.get(&id).is_some_and(|client| client.peer.admin);
        let genl = match admit(family, message, admin) {
            Ok(genl) => genl,
            Err(refusal) => return Outcome::Done(Err(refusal)),
        };
        if family.id != family::PACKET.id && family.id != family::FLOW.id {
            // Ports and datapaths may change now: what was sent before is sent before.
            self.send_executed(now_ns);
        }
        let Some(client) = self.clients.get(&id) else { return Outcome::Done(Ok(())) };
        let changes = changes_ports(family, genl.cmd());
        let mut call = Call {
            client: id,
            port_id: client.port_id,
            netns: client.peer.netns.clone(),
            server: self,
            family,
            message: *message,
            genl,
            now_ns,
            warning: None,
        };
        if message.wants_dump() {
            return match call.start_dump() {
                Ok(()) => Outcome::Dump,
                Err(refusal) => Outcome::Done(Err(refusal)),
            };
        }
        let result = handle(&mut call);
        *warning = call.warning.take();
        self.changed |= result.is_ok() && changes;
        Outcome::Done(result)
    }
}

/// Whether a request of that kind changes a datapath or a port.
fn changes_ports(family: &Family, cmd: u8) -> bool {
    match family.id {
        id if id == family::DATAPATH.id => cmd != OVS_DP_CMD_GET,
        id if id == family::VPORT.id => cmd != OVS_VPORT_CMD_GET,
        _ => false,
    }
}

/// Whether the family takes the message from this client.
fn admit<'a>(family: &Family, message: &Message<'a>, admin: bool) -> Result<GenlMessage<'a>, Refusal> {
    let genl = message.genl(family.header).map_err(|_| Errno::EINVAL)?;
    if genl.cmd() >= family.strict_from {
        check_strictly(message)?;
    }
    let dump = message.wants_dump();
    let offered = |op: &&Op| if dump { op.can_dump() } else { op.can_do() };
    let op = family.op(genl.cmd()).filter(offered).ok_or(Errno::EOPNOTSUPP)?;
    if op.needs_admin() && !admin {
        return Err(Errno::EPERM.into());
    }
    Ok(genl)
}

/// What newer commands than the families have are asked.
fn check_strictly(message: &Message<'_>) -> Handled {
    let mut flags = message.header().nlmsg_flags;
    if message.wants_dump() {
        flags &= !NLM_F_DUMP;
    }
    if flags & !(NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO) != 0 {
        let text = "ambiguous or reserved bits set in nlmsg_flags";
        return Err(Refusal::with_text(Errno::EINVAL, text));
    }
    match genlmsghdr::read_from_prefix(message.payload()) {
        Ok((header, _)) if header.reserved != 0 => {
            Err(Refusal::with_text(Errno::EINVAL, "genlmsghdr.reserved field is not 0"))
        }
        _ => Ok(()),
    }
}

/// The handler of a request that is no dump.
fn handle(call: &mut Call<'_>) -> Handled {
    let cmd = call.genl.cmd();
    match call.family.id {
        id if id == family::NLCTRL.id => match cmd {
            CTRL_CMD_GETFAMILY => ctrl::get_family(call),
            _ => unknown(),
        },
        id if id == family::DATAPATH.id => match cmd {
            OVS_DP_CMD_NEW => datapath::new(call),
            OVS_DP_CMD_DEL => datapath::del(call),
            OVS_DP_CMD_GET => datapath::get(call),
            OVS_DP_CMD_SET => datapath::set(call),
            _ => unknown(),
        },
        id if id == family::VPORT.id => match cmd {
            OVS_VPORT_CMD_NEW => vport::new(call),
            OVS_VPORT_CMD_DEL => vport::del(call),
            OVS_VPORT_CMD_GET => vport::get(call),
            OVS_VPORT_CMD_SET => vport::set(call),
            _ => unknown(),
        },
        id if id == family::FLOW.id => match cmd {
            OVS_FLOW_CMD_NEW => flow::new(call),
            OVS_FLOW_CMD_DEL => flow::del(call),
            OVS_FLOW_CMD_GET => flow::get(call),
            OVS_FLOW_CMD_SET => flow::set(call),
            _ => unknown(),
        },
        id if id == family::PACKET.id => match cmd {
            OVS_PACKET_CMD_EXECUTE => packet::execute(call),
            _ => unknown(),
        },
        id if id == family::METER.id => match cmd {
            OVS_METER_CMD_FEATURES => meter::features(call),
            OVS_METER_CMD_SET => meter::set(call),
            OVS_METER_CMD_DEL => meter::del(call),
            OVS_METER_CMD_GET => meter::get(call),
            _ => unknown(),
        },
        id if id == family::CT_LIMIT.id => match cmd {
            OVS_CT_LIMIT_CMD_SET => ct_limit::set(call),
            OVS_CT_LIMIT_CMD_DEL => ct_limit::del(call),
            OVS_CT_LIMIT_CMD_GET => ct_limit::get(call),
            _ => unknown(),
        },
        _ => unknown(),
    }
}

/// A command that the family's list does not have never comes here; one that it has and nobody handles is not supported.
fn unknown() -> Handled {
    debug_assert!(false, "a command is listed that nothing handles: {CTRL_CMD_GETPOLICY} is only dumped");
    Err(Errno::EOPNOTSUPP.into())
}
