// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Validation of an action list, and its translation into steps.
//!
//! A flow's actions must be safe on every packet that the flow can match: the walk keeps what the key guarantees about the
//! packet's headers and follows how each action changes that, as the kernel does (`net/openvswitch/flow_netlink.c` of Linux 6.1, seen
//! from outside: recordings act-*, matrix-*, extra-set-validate).

use std::sync::Arc;

use portway_buf::TunnelKey;
use portway_flow::mac_proto;
use portway_flow::{Action, CheckPacketLength, Masked, MplsPush, PushNsh, PushVlan, Sample, Set, Userspace};
use portway_flow::{FlowKey, FlowMask};
use portway_uapi::openvswitch::DP_MAX_PORTS;
use portway_wire::ethernet::ethertype;
use portway_wire::ip_proto;

use crate::error::Error;
use crate::headers::{is_mpls, is_vlan};
use crate::nsh;
use crate::program::{Edit, Limits, Move, Op};
use crate::set_ethernet::EthernetRewrite;
use crate::set_ipv4::Ipv4Rewrite;
use crate::set_ipv6::Ipv6Rewrite;
use crate::set_ports::{PortsRewrite, Transport};

/// The bit of a TCI that says that there is a tag.
const CFI: u16 = 0x1000;
/// Length of an Ethernet header: no packet may be cut shorter.
const ETH_HLEN: u32 = 14;
/// PSAMPLE's longest cookie (OVS_PSAMPLE_COOKIE_MAX_SIZE).
const COOKIE_MAX: usize = 16;

/// What is known about the packet's headers at one point of a list.
#[derive(Clone, Copy)]
struct Layers {
    /// Ethertype; 0: not known.
    eth_type: u16,
    /// Whether there is a VLAN tag.
    tagged: bool,
    /// Label stack entries known to be there. Wraps below zero as the kernel's does, when the mask does not cover them.
    labels: u32,
    /// Whether the packet starts with an Ethernet header.
    ethernet: bool,
}

struct Compiler<'a> {
    /// The flow's key, masked: a field that the mask leaves out is zero here.
    key: FlowKey,
    /// Whether the flow's packets start with an Ethernet header.
    ethernet: bool,
    limits: &'a Limits,
    ops: Vec<Op>,
}

/// Validates `actions` and translates them.
pub(crate) fn compile(
    actions: &[Action],
    key: &FlowKey,
    mask: &FlowMask,
    limits: &Limits,
) -> Result<Vec<Op>, Error> {
    let masked = mask.apply(key);
    let eth_type = masked.eth_type.get();
    let labels =
        if is_mpls(eth_type) { (key.mpls_count & mask.bits().mpls_count).count_ones() as u8 } else { 0 };
    let layers = Layers {
        eth_type,
        tagged: masked.vlan_tci.get() & CFI != 0,
        labels: u32::from(labels),
        ethernet: key.mac_proto == mac_proto::ETHERNET,
    };
    let mut compiler =
        Compiler { key: masked, ethernet: layers.ethernet, limits, ops: Vec::with_capacity(actions.len()) };
    compiler.list(actions, layers, 0)?;
    Ok(compiler.ops)
}

/// Whether it can be seen that the action was carried out at the end of a list: it does something that outlasts the packet, or it can
/// fail, which ends the lists around it too.
fn has_effect(action: &Action) -> bool {
    match action {
        Action::Set(Set::Priority(_) | Set::SkbMark(_) | Set::Tunnel(_))
        | Action::Truncate(_)
        | Action::Hash(_) => false,
        Action::Output(_)
        | Action::Userspace(_)
        | Action::Recirculate(_)
        | Action::Meter(_)
        | Action::Drop(_)
        | Action::Psample(_)
        | Action::DecTtl(_)
        | Action::Set(_)
        | Action::PushVlan(_)
        | Action::PopVlan
        | Action::PushMpls(_)
        | Action::PopMpls(_)
        | Action::PushEth(_)
        | Action::PopEth
        | Action::PushNsh(_)
        | Action::PopNsh => true,
        Action::Clone(list) => list.iter().any(has_effect),
        Action::Sample(sample) => sample.actions.iter().any(has_effect),
        Action::CheckPacketLength(check) => check.greater.iter().chain(&check.less_or_equal).any(has_effect),
    }
}

impl Compiler<'_> {
    /// Translates one list; returns the number of steps that it takes.
    fn list(&mut self, actions: &[Action], mut layers: Layers, depth: u32) -> Result<u32, Error> {
        if depth > self.limits.depth_max {
            return Err(Error::TooDeep(self.limits.depth_max));
        }
        // Each list starts with the Ethernet header that the flow's packets have, whatever the list around it did, as in the kernel.
        layers.ethernet = self.ethernet;
        let start = self.ops.len();
        let effects_end = actions.iter().rposition(has_effect).map_or(0, |index| index + 1);
        for (index, action) in actions.iter().enumerate() {
            if self.ops.len() >= self.limits.actions_max {
                return Err(Error::TooMany(self.limits.actions_max));
            }
            let last_in_list = index + 1 == actions.len();
            let last = index + 1 >= effects_end;
            self.action(action, &mut layers, depth, last, last_in_list)?;
        }
        Ok((self.ops.len() - start) as u32)
    }

    fn action(
        &mut self,
        action: &Action,
        layers: &mut Layers,
        depth: u32,
        last: bool,
        last_in_list: bool,
    ) -> Result<(), Error> {
        let op = match action {
            Action::Output(port) if *port >= DP_MAX_PORTS => return Err(Error::PortTooLarge(*port)),
            Action::Output(port) => Op::Output { port: *port, last },
            Action::Userspace(userspace) => upcall(userspace, last)?,
            Action::Truncate(len) if *len < ETH_HLEN => return Err(Error::TruncateTooShort(*len)),
            Action::Truncate(len) => Op::Truncate { len_max: *len },
            Action::Recirculate(id) => Op::Recirculate { id: *id, last },
            Action::Meter(id) => Op::Meter { id: *id },
            Action::Drop(_) if !last_in_list => return Err(Error::BehindDrop),
            Action::Drop(code) => Op::Drop { code: *code },
            Action::Psample(psample) => {
                let cookie = psample.cookie.as_deref();
                if let Some(long) = cookie.filter(|cookie| cookie.len() > COOKIE_MAX) {
                    return Err(Error::CookieTooLong(long.len()));
                }
                Op::Psample { group: psample.group, cookie: cookie.map(Arc::from), last }
            }
            Action::Clone(list) => {
                return self.nested(list, *layers, depth, |body| Op::Clone { body, last });
            }
            Action::Sample(Sample { probability, actions }) => {
                let probability = *probability;
                return self.nested(actions, *layers, depth, |body| Op::Sample { probability, body, last });
            }
            Action::DecTtl(list) => return self.nested(list, *layers, depth, |body| Op::DecTtl { body }),
            Action::CheckPacketLength(check) => return self.check_length(check, *layers, depth, last),
            Action::Set(set) => Op::Edit(self.set(set, *layers)?),
            Action::Hash(hash) => Op::Edit(Edit::Hash(*hash)),
            Action::PushVlan(push) => Op::Edit(Edit::Move(push_vlan(push, layers)?)),
            Action::PopVlan => Op::Edit(Edit::Move(pop_vlan(layers)?)),
            Action::PushMpls(push) => Op::Edit(Edit::Move(push_mpls(push, layers)?)),
            Action::PopMpls(ethertype) => Op::Edit(Edit::Move(pop_mpls(*ethertype, layers)?)),
            Action::PushEth(push) => {
                if layers.ethernet {
                    return Err(Error::HasEthernet);
                }
                layers.ethernet = true;
                Op::Edit(Edit::Move(Move::PushEthernet(*push)))
            }
            Action::PopEth => Op::Edit(Edit::Move(pop_ethernet(layers)?)),
            Action::PushNsh(header) => Op::Edit(Edit::Move(push_nsh(header, layers)?)),
            Action::PopNsh => Op::Edit(Edit::Move(self.pop_nsh(layers)?)),
        };
        self.ops.push(op);
        Ok(())
    }

    /// A step with a list of its own behind it.
    fn nested(
        &mut self,
        actions: &[Action],
        layers: Layers,
        depth: u32,
        op: impl FnOnce(u32) -> Op,
    ) -> Result<(), Error> {
        let at = self.ops.len();
        self.ops.push(Op::Drop { code: 0 });
        let body = self.list(actions, layers, depth + 1)?;
        self.ops[at] = op(body);
        Ok(())
    }

    fn check_length(
        &mut self,
        check: &CheckPacketLength,
        layers: Layers,
        depth: u32,
        last: bool,
    ) -> Result<(), Error> {
        if check.len == 0 {
            return Err(Error::ZeroLength);
        }
        let at = self.ops.len();
        self.ops.push(Op::Drop { code: 0 });
        let greater = self.list(&check.greater, layers, depth + 1)?;
        let less_or_equal = self.list(&check.less_or_equal, layers, depth + 1)?;
        self.ops[at] = Op::CheckLength { len: check.len, greater, less_or_equal, last };
        Ok(())
    }

    fn set(&self, set: &Set, layers: Layers) -> Result<Edit, Error> {
        let edit = match set {
            Set::Priority(masked) => {
                let (value, mask) = word(masked)?;
                Edit::SetPriority { value, mask }
            }
            Set::SkbMark(masked) => {
                let (value, mask) = word(masked)?;
                Edit::SetMark { value, mask }
            }
            Set::Ethernet { src, dst } => {
                let rewrite = EthernetRewrite::new(src, dst)?;
                if !layers.ethernet {
                    return Err(Error::NeedsEthernet("set(eth)"));
                }
                Edit::SetEthernet(rewrite)
            }
            Set::Ipv4(fields) => {
                let rewrite = Ipv4Rewrite::new(fields)?;
                self.check_ip((ethertype::IPV4, "ipv4"), fields, layers, |ip| (ip.proto, ip.frag))?;
                Edit::SetIpv4(rewrite)
            }
            Set::Ipv6(fields) => {
                let rewrite = Ipv6Rewrite::new(fields)?;
                self.check_ip((ethertype::IPV6, "ipv6"), fields, layers, |ip| (ip.proto, ip.frag))?;
                Edit::SetIpv6(Box::new(rewrite))
            }
            Set::Tcp(ports) => self.set_ports(Transport::Tcp, ports, layers)?,
            Set::Udp(ports) => self.set_ports(Transport::Udp, ports, layers)?,
            Set::Sctp(ports) => self.set_ports(Transport::Sctp, ports, layers)?,
            Set::Mpls(masked) => {
                let (value, mask) = word(masked)?;
                if !is_mpls(layers.eth_type) {
                    return Err(Error::HeaderNotMatched("mpls"));
                }
                Edit::SetMpls { value, mask }
            }
            Set::Tunnel(key) => Edit::SetTunnel(Arc::new(tunnel_key(key))),
            Set::CtMark(masked) => {
                word(masked)?;
                Edit::SetConntrack
            }
            Set::CtLabels(Masked { value, mask }) => {
                check_bits(value, mask.as_ref().map(<[u8; 16]>::as_slice))?;
                Edit::SetConntrack
            }
        };
        Ok(edit)
    }

    /// Whether the packet has the IP header whose fields are to be set. Its protocol and fragment state travel with the addresses but
    /// cannot be written: SET must repeat the key's, SET_MASKED must leave them out.
    fn check_ip<T>(
        &self,
        (eth_type, name): (u16, &'static str),
        fields: &Masked<T>,
        layers: Layers,
        unwritable: impl Fn(&T) -> (u8, u8),
    ) -> Result<(), Error> {
        if layers.eth_type != eth_type {
            return Err(Error::HeaderNotMatched(name));
        }
        let (proto_differs, frag_differs) = match &fields.mask {
            Some(mask) => {
                let (proto, frag) = unwritable(mask);
                (proto != 0, frag != 0)
            }
            None => {
                let (proto, frag) = unwritable(&fields.value);
                (proto != self.key.ip_proto, frag != self.key.ip_frag)
            }
        };
        if proto_differs {
            return Err(Error::NotWritable("the IP protocol"));
        }
        if frag_differs { Err(Error::NotWritable("the fragment state")) } else { Ok(()) }
    }

    fn set_ports(
        &self,
        transport: Transport,
        ports: &Masked<portway_flow::Ports>,
        layers: Layers,
    ) -> Result<Edit, Error> {
        let rewrite = PortsRewrite::new(transport, ports)?;
        let (proto, name) = match transport {
            Transport::Tcp => (ip_proto::TCP, "tcp"),
            Transport::Udp => (ip_proto::UDP, "udp"),
            Transport::Sctp => (ip_proto::SCTP, "sctp"),
        };
        if !matches!(layers.eth_type, ethertype::IPV4 | ethertype::IPV6) || self.key.ip_proto != proto {
            return Err(Error::HeaderNotMatched(name));
        }
        Ok(Edit::SetPorts(rewrite))
    }

    fn pop_nsh(&self, layers: &mut Layers) -> Result<Move, Error> {
        if layers.eth_type != ethertype::NSH {
            return Err(Error::HeaderNotMatched("nsh"));
        }
        let inner = nsh::ethertype_of(self.key.nsh_np).ok_or(Error::UnknownNshProtocol("pop_nsh"))?;
        layers.ethernet = inner == ethertype::TEB;
        Ok(Move::PopNsh)
    }
}

fn upcall(userspace: &Userspace, last: bool) -> Result<Op, Error> {
    if userspace.pid == 0 {
        return Err(Error::NoReceiver);
    }
    Ok(Op::Upcall { userspace: Arc::new(userspace.clone()), last })
}

fn push_vlan(push: &PushVlan, layers: &mut Layers) -> Result<Move, Error> {
    if !layers.ethernet {
        return Err(Error::NeedsEthernet("push_vlan"));
    }
    if !is_vlan(push.tpid) {
        return Err(Error::BadTpid(push.tpid));
    }
    if push.tci & CFI == 0 {
        return Err(Error::NoCfi);
    }
    layers.tagged = true;
    Ok(Move::PushVlan(*push))
}

fn pop_vlan(layers: &mut Layers) -> Result<Move, Error> {
    if !layers.ethernet {
        return Err(Error::NeedsEthernet("pop_vlan"));
    }
    layers.tagged = false;
    Ok(Move::PopVlan)
}

/// Labels may be pushed only on packets whose next header is known to start right behind the tag order that is known.
fn check_mpls_place(action: &'static str, layers: &Layers) -> Result<(), Error> {
    if layers.tagged {
        return Err(Error::UnderVlan(action));
    }
    let known =
        matches!(layers.eth_type, ethertype::IPV4 | ethertype::IPV6 | ethertype::ARP | ethertype::RARP);
    if !known && !is_mpls(layers.eth_type) {
        return Err(Error::BadMplsType { action, ethertype: layers.eth_type });
    }
    Ok(())
}

fn push_mpls(push: &MplsPush, layers: &mut Layers) -> Result<Move, Error> {
    let action = if push.add_l3_tunnel.is_some() { "add_mpls" } else { "push_mpls" };
    if !is_mpls(push.ethertype) {
        return Err(Error::BadMplsType { action, ethertype: push.ethertype });
    }
    let before_ethernet = push.add_l3_tunnel == Some(false);
    if !before_ethernet {
        check_mpls_place(action, layers)?;
        layers.labels = layers.labels.wrapping_add(1);
    } else if layers.ethernet {
        layers.labels = 1;
        layers.ethernet = false;
    } else {
        layers.labels = layers.labels.wrapping_add(1);
    }
    layers.eth_type = push.ethertype;
    Ok(Move::PushMpls { lse: push.lse, ethertype: push.ethertype, before_ethernet })
}

fn pop_mpls(ethertype: u16, layers: &mut Layers) -> Result<Move, Error> {
    if layers.tagged {
        return Err(Error::UnderVlan("pop_mpls"));
    }
    if !is_mpls(layers.eth_type) {
        return Err(Error::BadMplsType { action: "pop_mpls", ethertype: layers.eth_type });
    }
    if ethertype == ethertype::TEB && layers.ethernet {
        return Err(Error::BadMplsType { action: "pop_mpls", ethertype });
    }
    layers.labels = layers.labels.wrapping_sub(1);
    // What follows the last label is the controller's word only: nothing may be set in it before it is looked up again.
    layers.eth_type = if is_mpls(ethertype) && layers.labels != 0 { ethertype } else { 0 };
    Ok(Move::PopMpls(ethertype))
}

fn pop_ethernet(layers: &mut Layers) -> Result<Move, Error> {
    if !layers.ethernet {
        return Err(Error::NeedsEthernet("pop_eth"));
    }
    if layers.tagged {
        return Err(Error::UnderVlan("pop_eth"));
    }
    layers.ethernet = false;
    Ok(Move::PopEthernet)
}

fn push_nsh(header: &PushNsh, layers: &mut Layers) -> Result<Move, Error> {
    if !layers.ethernet && nsh::protocol_of(layers.eth_type).is_none() {
        return Err(Error::UnknownNshProtocol("push_nsh"));
    }
    layers.ethernet = false;
    nsh::header_bytes(header).map(Move::PushNsh).ok_or(Error::BadNsh)
}

/// A 32-bit value and its whole mask.
fn word(masked: &Masked<u32>) -> Result<(u32, u32), Error> {
    let mask = masked.mask.unwrap_or(u32::MAX);
    if masked.value & !mask != 0 { Err(Error::ValueOutsideMask) } else { Ok((masked.value, mask)) }
}

/// Refuses a value that has bits outside its mask.
pub(crate) fn check_bits(value: &[u8], mask: Option<&[u8]>) -> Result<(), Error> {
    match mask {
        Some(mask) if value.iter().zip(mask).any(|(value, mask)| value & !mask != 0) => {
            Err(Error::ValueOutsideMask)
        }
        Some(_) | None => Ok(()),
    }
}

fn tunnel_key(key: &FlowKey) -> TunnelKey {
    let options = usize::from(key.tun_opts_len);
    TunnelKey {
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
        options: key.tun_opts[key.tun_opts.len() - options.min(key.tun_opts.len())..].to_vec(),
    }
}
