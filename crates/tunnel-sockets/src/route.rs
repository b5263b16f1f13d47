// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which of the host's addresses a packet to a peer gets: the routing table's answer, as a connected socket tells it.

use std::sync::Mutex;

use portway_vport::ops::Errno;

use crate::common::lock;
use crate::socket::{Address, Family, Socket};

/// Asks for routes in one namespace.
#[derive(Debug)]
pub(crate) struct Routes {
    v4: Mutex<Socket>,
    v6: Option<Mutex<Socket>>,
}

impl Routes {
    /// In the calling thread's namespace.
    pub(crate) fn open() -> Result<Self, Errno> {
        let v6 = Socket::udp(Family::V6).ok().map(Mutex::new);
        Ok(Self { v4: Mutex::new(Socket::udp(Family::V4)?), v6 })
    }

    /// The source address for a packet to `to`. ENETUNREACH: there is no route.
    pub(crate) fn source(&self, family: Family, to: &[u8; 16], port: u16) -> Result<[u8; 16], Errno> {
        let socket = match family {
            Family::V4 => &self.v4,
            Family::V6 => self.v6.as_ref().ok_or(Errno::ENETUNREACH)?,
        };
        let socket = lock(socket);
        // Else the address of the last peer's route would stay.
        socket.connect(None)?;
        socket.connect(Some(&Address::new(family, to, port, 0))).map_err(|_| Errno::ENETUNREACH)?;
        Ok(socket.local()?.0)
    }
}
