// SPDX-License-Identifier: Apache-2.0 OR MIT
//! At the start: what was kept is made again, as far as its devices are still there.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use portway_control::TunnelPort;
use portway_datapath::{Datapath, DatapathOptions, DatapathRequest, Netns, PortRequest, Switch};
use portway_netlink_server::tunnel_behind;
use portway_netwatch::{Links, NetnsId};
use portway_uapi::openvswitch::{OVS_VPORT_TYPE_INTERNAL, OVS_VPORT_TYPE_NETDEV};
use portway_vport::PortName;

use super::what::{File, Kept, Port};

/// Where `ip netns` keeps names.
const NAMES: &str = "/run/netns";

/// Makes the kept datapaths again. What cannot be had is logged: its client will find it missing, as it finds a port whose device
/// was deleted.
pub(crate) fn restore(file: &File, switch: &Switch) -> Vec<Arc<Datapath>> {
    let kept = file.load().unwrap_or_else(|error| {
        tracing::error!("datapaths of netlink clients are not restored: cannot read what was kept: {error}");
        Vec::new()
    });
    let one = |kept: &Kept| {
        let name = kept.ports.first().map_or("", |port| port.name.as_str());
        match datapath(switch, kept) {
            Ok(datapath) => {
                tracing::info!(datapath = name, ports = datapath.port_count(), "restored");
                Some(datapath)
            }
            Err(error) => {
                tracing::warn!(datapath = name, "not restored: {error}");
                None
            }
        }
    };
    kept.iter().filter_map(one).collect()
}

/// The namespace of that inode, if the daemon can find it: its own, one that `ip netns` has a name for, or a process's.
fn namespace(inode: u64) -> Option<portway_netwatch::Netns> {
    let find = |path: &Path| {
        let found = portway_netwatch::Netns::by_path(path).ok()?;
        (found.id() == NetnsId(inode)).then_some(found)
    };
    let own = find(Path::new("/proc/self/ns/net"));
    own.or_else(|| entries(NAMES).find_map(|path| find(&path)))
        .or_else(|| entries("/proc").find_map(|path| find(&path.join("ns/net"))))
}

/// Deletes the tunnel devices that clients have made in the namespaces of these datapaths, and in the daemon's own.
pub(crate) fn delete_tunnel_devices(datapaths: &[Arc<Datapath>]) -> anyhow::Result<()> {
    let mut spaces = vec![portway_netwatch::Netns::current()?];
    for datapath in datapaths {
        if let Some(fd) = datapath.netns().as_fd()
            && spaces.iter().all(|space| space.id() != datapath.netns().id())
        {
            spaces.push(portway_netwatch::Netns::from_borrowed(fd)?);
        }
    }
    for space in spaces {
        let mut links = Links::open_in(&space)?;
        for link in links.list()?.iter().filter(|link| tunnel_behind(&link.alias).is_some()) {
            links.delete(link.index)?;
        }
    }
    Ok(())
}

fn entries(folder: &str) -> impl Iterator<Item = std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).ok().into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path())
}

fn datapath(switch: &Switch, kept: &Kept) -> anyhow::Result<Arc<Datapath>> {
    let (local, others) = kept.ports.split_first().ok_or_else(|| anyhow::anyhow!("it has no ports"))?;
    let netns = namespace(kept.netns).ok_or_else(|| anyhow::anyhow!("its network namespace has gone"))?;
    let mut links = Links::open_in(&netns)?;
    let handle = netns.as_fd().try_clone_to_owned()?;
    let options = DatapathOptions {
        user_features: kept.user_features,
        masks_cache_size: kept.masks_cache_size,
        per_cpu_pids: kept.per_cpu_pids.clone(),
    };
    let request = DatapathRequest {
        upcall_pids: local.upcall_pids.clone(),
        options,
        ..DatapathRequest::new(name(&mut links, local)?, Netns::new(netns.id(), Some(Arc::new(handle))))
    };
    let datapath = switch.datapath_add(request)?;
    if datapath.port(0).is_none_or(|port| port.ifindex() != local.ifindex) {
        switch.datapath_del(&datapath)?;
        anyhow::bail!("its device is another one now");
    }
    for kept in others {
        if let Err(error) = port(switch, &datapath, &mut links, kept) {
            tracing::warn!(datapath = %datapath.name(), port = kept.name, "port not restored: {error}");
        }
    }
    Ok(datapath)
}

/// What a port is called now: its device may have been renamed.
fn name(links: &mut Links, kept: &Port) -> anyhow::Result<PortName> {
    let has_device = matches!(kept.port_type, OVS_VPORT_TYPE_NETDEV | OVS_VPORT_TYPE_INTERNAL);
    let name = match has_device {
        true => links.by_index(kept.ifindex)?.name,
        false => kept.name.clone(),
    };
    PortName::new(name.as_bytes()).ok_or_else(|| anyhow::anyhow!("{name:?} is no name of a port"))
}

fn port(switch: &Switch, datapath: &Arc<Datapath>, links: &mut Links, kept: &Port) -> anyhow::Result<()> {
    let request = PortRequest {
        port_no: Some(kept.port_no),
        options: kept.options.clone(),
        upcall_pids: kept.upcall_pids.clone(),
        ..PortRequest::new(name(links, kept)?, kept.port_type)
    };
    let tunnel = match kept.port_type {
        OVS_VPORT_TYPE_NETDEV => tunnel_behind(&links.by_index(kept.ifindex)?.alias),
        _ => None,
    };
    let request = match tunnel {
        Some(TunnelPort { port_type, options }) => {
            PortRequest { port_type, options, shown_type: Some(kept.port_type), ..request }
        }
        None => request,
    };
    switch.port_add(datapath, &request)?;
    Ok(())
}
