// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The preloaded library under Python's `socket` module.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use portway_system::{Lab, said};

#[test]
fn sockets_do_what_the_kernels_do() {
    let lab = Lab::new(0);
    let mut command = lab.wrapped("python3");
    command.args(["-c", include_str!("python/sockets.py")]);
    let said = said(&mut command);
    assert!(said.ok && said.out == "all well\n" && said.err.is_empty(), "{said:?}");
}

/// Runs a script that waits for portwayd to be killed and to be started again; what it says after that.
fn over_a_restart(script: &str) -> Vec<String> {
    let mut lab = Lab::new(0);
    let mut command = lab.wrapped("python3");
    command.env_remove("PORTWAY_PATIENCE").args(["-c", script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut to, mut said) =
        (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
    let mut wait_for = |word: &str| assert_eq!(said.next().unwrap().unwrap(), word);
    wait_for("killed");
    lab.kill_daemon();
    to.write_all(b"\n").unwrap();
    wait_for("started");
    lab.start_daemon();
    to.write_all(b"\n").unwrap();
    let rest = said.map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success(), "{rest:?}");
    rest
}

#[test]
fn a_group_that_turns_out_not_to_exist_does_not_keep_a_socket_from_portwayd() {
    assert_eq!(over_a_restart(include_str!("python/away.py")), ["all well"]);
}

/// See `preload/src/loss.rs`.
#[test]
fn who_was_refused_hears_of_a_loss_when_it_has_asked_again() {
    assert_eq!(over_a_restart(include_str!("python/refused.py")), ["ENOBUFS", "ENOBUFS", "all well"]);
}

#[test]
fn a_setting_that_is_no_number_is_said_once() {
    let lab = Lab::new(0);
    let script = "import socket\nfor _ in range(2): socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)";
    let told = |patience: &str| {
        let said = said(lab.wrapped("python3").env("PORTWAY_PATIENCE", patience).args(["-c", script]));
        assert!(said.ok && said.out.is_empty(), "{patience}: {said:?}");
        said.err
    };
    for good in ["", "0", "7", "4294967295"] {
        assert_eq!(told(good), "", "{good:?}");
    }
    for bad in ["soon", "5s", "-1", "2.5", "4294967296", " 7"] {
        let expected = format!(
            "portway: PORTWAY_PATIENCE is {bad:?}, which is no number of whole seconds; requests wait for 5 seconds\n"
        );
        assert_eq!(told(bad), expected);
    }
}

/// What a part of the script prints.
fn printed(lab: &Lab, part: &str) -> String {
    let mut command = lab.wrapped("/usr/bin/python3");
    command.args(["-c", include_str!("python/envelope.py"), part]);
    let said = said(&mut command);
    assert!(said.ok && said.err.is_empty(), "{said:?}");
    said.out
}

#[test]
fn addresses_are_the_kernels() {
    let lab = Lab::new(0);
    assert_eq!(printed(&lab, "addresses"), include_str!("golden/addresses.txt"));
}

#[test]
fn losses_are_told_as_the_kernel_tells_them() {
    let lab = Lab::new(0);
    assert_eq!(printed(&lab, "losses"), include_str!("golden/losses.txt"));
}
