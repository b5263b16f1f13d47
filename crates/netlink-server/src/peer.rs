// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is at the other end: which namespace its requests act in, and whether it may change things there.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use portway_control::Peer;
use portway_datapath::Netns;
use portway_netlink_socket::proves_net_admin;

/// The peer, from what it passed. `None`: the file descriptor is no network namespace, or the proof was not made there.
pub(crate) fn identify(netns: OwnedFd, proof: &OwnedFd) -> Option<Peer> {
    let kept = netns.try_clone().ok()?;
    // Looks at the file system, and enters the namespace to see that it is one of the network.
    let claimed = portway_netwatch::Netns::from_owned(netns).ok()?.id();
    // Whoever could pass any namespace that it can open would see what is none of its business.
    let made_in = portway_netwatch::Netns::of_socket(proof).ok()?.id();
    let netns = Netns::new(claimed, Some(Arc::new(kept)));
    (made_in == claimed).then(|| Peer { netns, admin: proves_net_admin(proof) })
}
