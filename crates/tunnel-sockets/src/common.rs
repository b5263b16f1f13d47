// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every tunnel port does alike: it is made in a namespace, has locks that are never waited for, and refuses packets.

use std::sync::{Mutex, MutexGuard, PoisonError};

use portway_buf::{Class, Packet, PoolRef};
use portway_netwatch::{Netns, NetnsId};
use portway_tunnel::Refusal;
use portway_vport::ops::{CreateParams, Errno};

use crate::registry::Claim;

/// Bytes of a refused packet that are kept.
const REFUSED_KEEP: usize = 1500;

/// Takes the port's claim on its namespace, and then makes what it consists of, all in that namespace.
pub(crate) fn make_in_namespace<Made: Send>(
    params: &CreateParams<'_>,
    claim: impl FnOnce(NetnsId) -> Result<Claim, Errno> + Send,
    make: impl FnOnce() -> Result<Made, Errno> + Send,
) -> Result<(Claim, Made), Errno> {
    let errno = |error: portway_netwatch::Error| Errno(error.errno());
    let make = || Ok((claim(Netns::current_id().map_err(errno)?)?, make()?));
    match params.netns {
        None => make(),
        Some(namespace) => Netns::from_borrowed(namespace).map_err(errno)?.run(make).map_err(errno)?,
    }
}

/// Locks `mutex`. What the locks guard is never left half-made by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A packet that is only to be counted as dropped. `None`: there is no buffer.
pub(crate) fn refused(bytes: &[u8], refusal: Refusal, pool: &mut PoolRef<'_>) -> Option<Packet> {
    let mut packet = pool.take(Class::Small)?;
    packet.set_frame(&bytes[..bytes.len().min(REFUSED_KEEP)]);
    packet.refuse(refusal.number());
    Some(packet)
}
