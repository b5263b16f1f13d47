// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The netlink server's thread: what stock OVS programs talk to.

use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use portway_control::Limits;
use portway_datapath::Switch;
use portway_netlink_server::{Handle, NetlinkServer};

use crate::args::Args;
use crate::netlink_devices;
use crate::switching::Switching;

/// The socket's name in the folder of sockets.
const SOCKET_NAME: &str = "netlink.sock";

/// Starts the thread, and has packets of datapaths that are no bridge's sent to it.
pub(crate) fn start(args: &Args, switch: &Arc<Switch>, switching: &Arc<Switching>) -> Result<Handle> {
    let path = args.socket.clone().unwrap_or_else(|| args.socket_dir.join(SOCKET_NAME));
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let limits = Limits { cpus, ..Limits::default() };
    let mut server = NetlinkServer::bind(&path, Arc::clone(switch), limits).context("no netlink socket")?;
    let handle = server.handle();
    netlink_devices::start(switch, switching, handle.clone())?;
    // Said once, before there are packets.
    let _ = switching.netlink.set(handle.clone());
    let run = move || {
        if let Err(error) = server.run() {
            tracing::error!("the netlink server has ended: {error}");
        }
    };
    thread::Builder::new().name("netlink".to_owned()).spawn(run)?;
    Ok(handle)
}
