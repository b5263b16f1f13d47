// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tunnel devices that clients ask for by rtnetlink: made here, remembered by their alias, taken up by a port of the tunnel's type when
//! they are added to a datapath.

use std::sync::Arc;
use std::time::Duration;

use portway_control::{Peer, TunnelPort};
use portway_datapath::Switch;
use portway_netlink_socket::{TunnelDevice, TunnelKind};
use portway_netwatch::{Links, Netns};
use portway_tunnel_sockets::{OPTION_DEVICE, OPTION_ZERO_CHECKSUM6, make_lasting, udp};
use portway_uapi::Errno;
use portway_uapi::openvswitch::{OVS_VPORT_TYPE_GENEVE, OVS_VPORT_TYPE_GRE, OVS_VPORT_TYPE_VXLAN};
use portway_vport::options::{self, as_u16};
use portway_vport::{NetnsId, PortName, Vport};

use crate::new_link::NewLink;

/// OVS_TUNNEL_ATTR_DST_PORT and OVS_TUNNEL_ATTR_EXTENSION, with OVS_VXLAN_EXT_GBP in it.
const DST_PORT: u16 = 1;
const EXTENSION: u16 = 2;
const EXTENSION_GBP: u16 = 1;

/// How long a port whose device has gone may take to go, too.
const GOING: Duration = Duration::from_secs(2);

fn port_type(kind: TunnelKind) -> u32 {
    match kind {
        TunnelKind::Vxlan => OVS_VPORT_TYPE_VXLAN,
        TunnelKind::Geneve => OVS_VPORT_TYPE_GENEVE,
        TunnelKind::Gretap => OVS_VPORT_TYPE_GRE,
    }
}

fn of_netwatch(error: portway_netwatch::Error) -> Errno {
    Errno(error.errno())
}

/// The port behind a tunnel device, which its alias tells; `None`: it is no tunnel device.
pub fn tunnel_behind(alias: &str) -> Option<TunnelPort> {
    let device = TunnelDevice::from_alias(alias.as_bytes())?;
    let mut out = Vec::new();
    let mut put = |attr, value: &[u8]| options::push(&mut out, attr, value).ok();
    if device.kind != TunnelKind::Gretap {
        put(DST_PORT, &device.port.to_ne_bytes())?;
    }
    if device.gbp {
        let mut nest = Vec::new();
        options::push(&mut nest, EXTENSION_GBP, &[]).ok()?;
        put(EXTENSION, &nest)?;
    }
    put(OPTION_ZERO_CHECKSUM6, &[u8::from(device.zero_checksum6)])?;
    put(OPTION_DEVICE, &[])?;
    Some(TunnelPort { port_type: port_type(device.kind), options: out })
}

/// Makes the tunnel device that a client asks for. Returns its index.
///
/// # Errors
/// The kernel's errno; then nothing is left.
pub(crate) fn new_link(switch: &Switch, peer: &Peer, datagram: &[u8]) -> Result<u32, Errno> {
    if !peer.admin {
        return Err(Errno::EPERM);
    }
    let wanted = NewLink::decode(datagram)?;
    let name = PortName::new(wanted.name).filter(PortName::is_device_name).ok_or(Errno::EINVAL)?;
    let netns = match peer.netns.as_fd() {
        Some(fd) => Netns::from_borrowed(fd),
        None => Netns::current(),
    };
    let netns = netns.map_err(of_netwatch)?;
    let kind = port_type(wanted.device.kind);
    if switch.registry().try_get(kind).is_err() {
        // As a kernel that has no such module.
        switch.registry().request(kind, netns.id()).map_err(|_| Errno::EOPNOTSUPP)?;
    }
    let made = netns.run(|| make(switch, netns.id(), &wanted, &name)).map_err(of_netwatch)?;
    match made {
        Ok(index) => tracing::info!(%name, index, "made: {}", wanted.device.alias()),
        Err(errno) => tracing::debug!(%name, "not made: {}: {errno}", wanted.device.alias()),
    }
    made
}

/// In the namespace.
fn make(switch: &Switch, netns: NetnsId, wanted: &NewLink<'_>, name: &PortName) -> Result<u32, Errno> {
    let mut links = Links::open().map_err(of_netwatch)?;
    if links.by_name(&name.to_string()).is_ok() {
        // Without the flag a change is asked for, and none is possible.
        return Err(if wanted.exclusive { Errno::EEXIST } else { Errno::EOPNOTSUPP });
    }
    let present = links.list().map_err(of_netwatch)?;
    let indexes: Vec<u32> = present.iter().map(|link| link.index).collect();
    forget_lost(switch, netns, &indexes);
    let lasting = present.iter().filter_map(|link| TunnelDevice::from_alias(link.alias.as_bytes()));
    let live = switch.devices().list(Some(netns));
    let live = live.iter().filter_map(device_of);
    if let Some(errno) = lasting.chain(live).find_map(|other| conflict(&wanted.device, &other)) {
        return Err(errno);
    }
    if wanted.device.kind != TunnelKind::Gretap {
        udp::probe(wanted.device.port)?;
    }
    make_lasting(name.as_c_str(), &wanted.device.alias(), |index| {
        links.change(index, wanted.flags, wanted.change, &wanted.others).map_err(of_netwatch)
    })
}

/// Lets those tunnel ports go whose device has been deleted, and with them what they have of the host. It would be done without this,
/// too, but later.
fn forget_lost(switch: &Switch, netns: NetnsId, indexes: &[u32]) {
    for port in switch.devices().list(Some(netns)) {
        if port.kind().is_tunnel() && !indexes.contains(&port.ifindex()) {
            let gone = port.gone();
            if switch.port_detach(&port) {
                drop(port);
                gone.wait(GOING);
            }
        }
    }
}

/// The device that a tunnel port is, as far as it may be in another's way; `None`: it is no tunnel, or has said nothing.
fn device_of(port: &Arc<Vport>) -> Option<TunnelDevice> {
    let number = port.kind().number();
    let kind = TunnelKind::ALL.into_iter().find(|kind| port_type(*kind) == number)?;
    let mut told = Vec::new();
    port.handle().get_options(&mut told).ok()?;
    let find = |wanted| options::iter(&told).filter_map(Result::ok).find(|(attr, _)| *attr == wanted);
    let udp_port = find(DST_PORT).map_or(0, |(_, value)| as_u16(value).unwrap_or(0));
    let gbp = find(EXTENSION).is_some();
    Some(TunnelDevice { gbp, ..TunnelDevice::new(kind, udp_port) })
}

/// Why a device cannot be beside another in one namespace, in the kernel's words.
fn conflict(wanted: &TunnelDevice, other: &TunnelDevice) -> Option<Errno> {
    if wanted.port != other.port {
        return None;
    }
    Some(match (wanted.kind, other.kind) {
        (TunnelKind::Gretap, TunnelKind::Gretap) => Errno::EEXIST,
        (TunnelKind::Geneve, TunnelKind::Geneve) => Errno::EBUSY,
        (TunnelKind::Vxlan, TunnelKind::Vxlan) if wanted.gbp == other.gbp => Errno::EEXIST,
        (TunnelKind::Vxlan | TunnelKind::Geneve, TunnelKind::Vxlan | TunnelKind::Geneve) => Errno::EADDRINUSE,
        (TunnelKind::Gretap, TunnelKind::Vxlan | TunnelKind::Geneve)
        | (TunnelKind::Vxlan | TunnelKind::Geneve, TunnelKind::Gretap) => return None,
    })
}
