// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waits until the daemon has nothing to do: what a step has set off is then done, however slow the machine is.
//!
//! The kernel tells of devices by notifications that wait in the daemon's sockets, and wakes its threads when something has come. So
//! while nothing waits, no thread runs and none has run between two looks, everything has been taken note of.

use std::time::{Duration, Instant};

/// After this time the daemon is taken as it is.
const LIMIT: Duration = Duration::from_secs(3);
/// Between two looks.
const PAUSE: Duration = Duration::from_micros(500);

/// What the threads of a process were seen doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    is_idle: bool,
    /// How often they have gone to sleep or been put aside.
    switches: u64,
}

/// Whether a notification of rtnetlink waits for somebody: the fifth column of a line is the queue's length, the second the protocol.
fn has_mail(table: &str) -> bool {
    let waits = |line: &str| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        columns.next() == Some("0") && columns.nth(2).is_some_and(|queued| queued != "0")
    };
    table.lines().skip(1).any(waits)
}

fn look(pid: u32) -> Look {
    let mut look = Look { is_idle: true, switches: 0 };
    let mail = std::fs::read_to_string(format!("/proc/{pid}/net/netlink")).unwrap_or_default();
    look.is_idle &= !has_mail(&mail);
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        for line in status.lines() {
            if let Some(state) = line.strip_prefix("State:") {
                look.is_idle &= state.trim_start().starts_with('S');
            } else if let Some((_, count)) = line.split_once("ctxt_switches:") {
                look.switches += count.trim().parse::<u64>().unwrap_or(0);
            }
        }
    }
    look
}

/// Waits until the process `pid` has nothing to do.
pub(crate) fn wait(pid: u32) {
    let deadline = Instant::now() + LIMIT;
    let mut before = look(pid);
    while Instant::now() < deadline {
        std::thread::sleep(PAUSE);
        let now = look(pid);
        if now.is_idle && now == before {
            return;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_is_a_queue_of_the_route_protocol_that_is_not_empty() {
        let head = "sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n";
        assert!(!has_mail(head));
        assert!(!has_mail(&format!("{head}00 0   12 00000001 0        0 0 2 0 7\n")));
        assert!(has_mail(&format!("{head}00 0   12 00000001 768      0 0 2 0 7\n")));
        assert!(!has_mail(&format!("{head}00 16  12 00000001 768      0 0 2 0 7\n")));
    }

    #[test]
    fn a_process_that_runs_is_not_idle_and_one_that_sleeps_is() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let begin = Instant::now();
        wait(child.id());
        assert!(begin.elapsed() < LIMIT, "a sleeping process is idle");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!look(std::process::id()).is_idle, "this process runs");
    }
}
