// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs that only listen, over restarts of portwayd.
#![forbid(unsafe_code)]

use std::io::BufRead;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use portway_system::{Lab, background, within};

#[test]
fn whoever_only_listens_goes_on_after_a_restart() {
    const WAYS: [&str; 3] = ["waits", "polls", "selects"];
    let mut lab = Lab::new(0);
    let mut command = lab.wrapped("python3");
    let mut listener =
        background(command.args(["-c", include_str!("python/listener.py")]).stdout(Stdio::piped()));
    let said = Arc::new(Mutex::new(Vec::new()));
    let reader = std::thread::spawn({
        let (output, said) = (listener.take_output(), Arc::clone(&said));
        move || output.lines().map_while(Result::ok).for_each(|line| said.lock().unwrap().push(line))
    });
    let times = |line: &str| said.lock().unwrap().iter().filter(|said| *said == line).count();
    let all = |what: &str, number: usize| {
        within(&format!("{number} times {what}"), || {
            WAYS.iter().all(|way| times(&format!("{way} {what}")) >= number)
        });
    };
    all("ready", 1);
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 int1,type=internal");
    // OVS_VPORT_CMD_NEW; a datapath's own port is told of by the datapath's group.
    all("told 1", 1);
    for restart in 1..=2 {
        lab.kill_daemon();
        lab.start_daemon();
        // They have missed something, perhaps.
        all("ENOBUFS", restart);
        lab.dpctl(&format!("add-if dp0 more{restart},type=internal"));
        all("told 1", 1 + restart);
    }
    // Once each, and nothing twice.
    for way in WAYS {
        assert_eq!((times(&format!("{way} ENOBUFS")), times(&format!("{way} told 1"))), (2, 3), "{way}");
    }
    // The thread that looked for portwayd has ended.
    let threads = || std::fs::read_dir(format!("/proc/{}/task", listener.id())).map_or(0, Iterator::count);
    within("its own threads are left", || threads() == 1 + WAYS.len());
    drop(listener);
    reader.join().unwrap();
}
