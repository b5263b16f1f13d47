// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Huge pages for the peer that cannot run without: set aside for the run, given back after it; should the run be cut
//! short, by the first process of the private world, which finds a note.

use crate::world::{HUGE_PAGES, HUGE_PAGES_NOTE, give_huge_pages_back};
use anyhow::{Context, Result, bail};

const NEEDED: u64 = 512;

/// While it lives, 512 huge pages are there.
pub(super) struct HugePages(());

impl HugePages {
    pub(super) fn reserve() -> Result<Self> {
        let pages = Self(());
        let before = read()?;
        if before < NEEDED {
            std::fs::write(HUGE_PAGES_NOTE, before.to_string()).context(HUGE_PAGES_NOTE)?;
            std::fs::write(HUGE_PAGES, NEEDED.to_string()).context(HUGE_PAGES)?;
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
        give_huge_pages_back();
    }
}

fn read() -> Result<u64> {
    std::fs::read_to_string(HUGE_PAGES).context(HUGE_PAGES)?.trim().parse().context(HUGE_PAGES)
}
