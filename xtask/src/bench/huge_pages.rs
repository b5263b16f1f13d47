// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Huge pages for the peer that cannot run without: set aside for the run, given back after it; should the run be cut
//! short, by the first process of the private world.

use anyhow::{Context, Result, bail};
use std::sync::atomic::{AtomicU64, Ordering};

const FILE: &str = "/proc/sys/vm/nr_hugepages";
const NEEDED: u64 = 512;

/// How many there were before us.
static BEFORE: AtomicU64 = AtomicU64::new(0);

/// While it lives, 512 huge pages are there.
pub(super) struct HugePages(());

impl HugePages {
    pub(super) fn reserve() -> Result<Self> {
        let before = read()?;
        BEFORE.store(before, Ordering::Relaxed);
        let pages = Self(());
        if before < NEEDED {
            std::fs::write(FILE, NEEDED.to_string()).context(FILE)?;
            let got = read()?;
            if got < NEEDED {
                bail!(
                    "OVS-DPDK needs {NEEDED} huge pages of 2 MiB and the kernel found {got}: free some memory"
                );
            }
        }
        Ok(pages)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    let _ = std::fs::write(FILE, BEFORE.load(Ordering::Relaxed).to_string());
}

fn read() -> Result<u64> {
    std::fs::read_to_string(FILE).context(FILE)?.trim().parse().context(FILE)
}
