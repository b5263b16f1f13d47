// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Datagrams to the netlink server: `cargo +nightly fuzz run netlink fuzz/corpus/netlink tests/regress/cases/netlink`.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use portway_regress::netlink::{World, fuzz_one};

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

fuzz_target!(|data: &[u8]| WORLD.with_borrow_mut(|world| fuzz_one(data, world)));
