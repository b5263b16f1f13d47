// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which devices may become ports, and how one does.

use std::ffi::CStr;

use portway_netwatch::{Link, Links, Netns, flags, layer};
use portway_vport::ops::Errno;

use crate::claim::Claim;
use crate::socket::PacketSocket;

/// Alias of every internal port's TAP (`vport-internal` sets it): such a device is a port already.
const INTERNAL_ALIAS: &str = "portway internal port";

/// Alias of devices that stand for a tunnel (`tunnel-sockets` sets it): nothing that the host sends to them goes anywhere. Netlink clients
/// get a port of the tunnel's type for one.
const TUNNEL_ALIAS: &str = "portway tunnel device";

/// Kinds that let nothing take their frames (IFF_NO_RX_HANDLER in the kernel).
const KINDS_REFUSED: &[&str] = &["vrf"];

/// Kinds that take the frames of the device below them for themselves.
const KINDS_ABOVE: &[&str] = &["macvlan", "macvtap", "ipvlan", "ipvtap"];

/// A device that has become a port. The fields drop in this order: the socket first, then the claim, so that no
/// frame is seen by both the switch and the host.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) socket: PacketSocket,
    _claim: Claim,
    pub(crate) ifindex: u32,
    pub(crate) layer3: bool,
    /// The network namespace's number; `None`: the kernel does not tell.
    pub(crate) namespace: Option<u64>,
}

/// Makes the device called `name` a port, in the namespace (`None`: the process's).
pub(crate) fn attach(name: &CStr, namespace: Option<&Netns>) -> Result<Attached, Errno> {
    let name = name.to_str().map_err(|_| Errno(libc::ENODEV))?;
    match namespace {
        None => attach_here(name),
        Some(namespace) => namespace.run(|| attach_here(name)).map_err(|error| Errno(error.errno()))?,
    }
}

fn attach_here(name: &str) -> Result<Attached, Errno> {
    let mut links = Links::open().map_err(|error| Errno(error.errno()))?;
    let link = links.by_name(name).map_err(|error| Errno(error.errno()))?;
    refuse(&link)?;
    let socket = PacketSocket::open()?;
    // From here on the host gets none of its frames, and only then the port does: none is seen twice.
    let claim = Claim::new(link.index)?;
    let namespace = socket.namespace();
    socket.disable_lro(link.index);
    socket.bind(link.index)?;
    Ok(Attached { socket, _claim: claim, ifindex: link.index, layer3: link.layer == layer::NONE, namespace })
}

/// The refusals of the kernel module, in its order.
fn refuse(link: &Link) -> Result<(), Errno> {
    let bad_layer = !matches!(link.layer, layer::ETHERNET | layer::NONE);
    if link.flags & flags::LOOPBACK != 0
        || bad_layer
        || link.alias == INTERNAL_ALIAS
        || link.alias.starts_with(TUNNEL_ALIAS)
    {
        return Err(Errno(libc::EINVAL));
    }
    if link.master.is_some() {
        return Err(Errno(libc::EBUSY));
    }
    if KINDS_REFUSED.contains(&link.kind.as_str()) {
        return Err(Errno(libc::EINVAL));
    }
    for kind in KINDS_ABOVE {
        let taken = Links::open().and_then(|links| links.is_below_kind(link.index, kind));
        if taken.map_err(|error| Errno(error.errno()))? {
            return Err(Errno(libc::EBUSY));
        }
    }
    Ok(())
}
