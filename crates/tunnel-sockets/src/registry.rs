// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who has which UDP port in which namespace: sockets that share a port would not tell.

use std::sync::Mutex;

use portway_netwatch::NetnsId;
use portway_vport::ops::Errno;

use crate::common::lock;

/// All ports of one type in this process.
#[derive(Debug)]
pub struct Claims(Mutex<Vec<Entry>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    netns: NetnsId,
    number: u16,
    variant: u32,
}

/// A number that is taken; given back when dropped.
#[derive(Debug)]
pub struct Claim {
    claims: &'static Claims,
    entry: Entry,
}

impl Claims {
    /// None taken.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Takes `number` in a namespace. `same`: the error if a port of the same variant has it, `other`: of another.
    pub fn take(
        &'static self,
        netns: NetnsId,
        number: u16,
        variant: u32,
        same: Errno,
        other: Errno,
    ) -> Result<Claim, Errno> {
        let mut entries = lock(&self.0);
        let taken = entries.iter().find(|entry| (entry.netns, entry.number) == (netns, number));
        match taken {
            Some(entry) if entry.variant == variant => Err(same),
            Some(_) => Err(other),
            None => {
                let entry = Entry { netns, number, variant };
                entries.push(entry);
                Ok(Claim { claims: self, entry })
            }
        }
    }
}

impl Default for Claims {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut entries = lock(&self.claims.0);
        entries.retain(|entry| *entry != self.entry);
    }
}
