// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The preloaded library under Python's `socket` module.
#![forbid(unsafe_code)]

use portway_system::{Lab, said};

#[test]
fn sockets_do_what_the_kernels_do() {
    let lab = Lab::new(0);
    let mut command = lab.wrapped("python3");
    command.args(["-c", include_str!("python/sockets.py")]);
    let said = said(&mut command);
    assert!(said.ok && said.out == "all well\n" && said.err.is_empty(), "{said:?}");
}
