// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The netlink server's thread: what stock OVS programs talk to.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::thread;

use anyhow::{Context, Result};
use crossbeam_channel::Receiver;
use portway_control::Limits;
use portway_datapath::Switch;
use portway_netlink_server::{Handle, NetlinkServer};
use portway_vport::Vport;

use crate::args::Args;
use crate::kept::{File, Keeper, restore};
use crate::netlink_devices;
use crate::switching::{Switching, Waker};

/// The socket's name in the folder of sockets.
const SOCKET_NAME: &str = "netlink.sock";

/// The running server.
pub(crate) struct Netlink {
    handle: Handle,
    keeper: Keeper,
}

impl Netlink {
    /// Ends it. What its clients have made stays for the next daemon.
    pub(crate) fn stop(self) {
        self.handle.stop();
        self.keeper.finish();
    }
}

/// Makes again what netlink clients had, starts the thread, and has packets of datapaths that are no bridge's sent to it.
/// `lost`: ports whose device has gone.
pub(crate) fn start(
    args: &Args,
    switch: &Arc<Switch>,
    switching: &Arc<Switching>,
    waker: &Waker,
    lost: Receiver<Weak<Vport>>,
) -> Result<Netlink> {
    let path = args.socket.clone().unwrap_or_else(|| args.socket_dir.join(SOCKET_NAME));
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    // Clients of the daemon before this one still have theirs: new ones begin somewhere else.
    let first_port_id = Limits::default().first_port_id | RandomState::new().hash_one(0) as u32 >> 1;
    let limits = Limits { cpus, first_port_id, ..Limits::default() };
    let mut server = NetlinkServer::bind(&path, Arc::clone(switch), limits).context("no netlink socket")?;
    let handle = server.handle();
    netlink_devices::start(switch, switching, handle.clone(), lost)?;
    let file = File::new(&args.state_dir);
    restore(&file, switch);
    let keeper = Keeper::start(file, Arc::clone(switch))?;
    server.on_change(Box::new(keeper.on_change()));
    waker.set_netlink(handle.clone());
    let misses = Arc::clone(switching);
    server.take_upcalls_from(Box::new(move |upcalls| misses.take_misses(upcalls)));
    let run = move || {
        // It is woken by workers and by clients, for each of whom there is more to come; no packet of a flow that is set up waits for it.
        if let Err(error) = portway_sched::work_in_batches() {
            tracing::debug!("the netlink thread's scheduling stays as it was: {error}");
        }
        if let Err(error) = server.run() {
            tracing::error!("the netlink server has ended: {error}");
        }
    };
    thread::Builder::new().name("netlink".to_owned()).spawn(run)?;
    Ok(Netlink { handle, keeper })
}
