// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who may do what: clients of all kinds ask everything, and are answered as by the kernel's module, which was asked the same
//! (`golden/envelope.sh`).
#![forbid(unsafe_code)]

use std::os::unix::fs::MetadataExt;

use portway_system::{Lab, background, said, within};

const PERMITTED: &str = include_str!("golden/permitted.txt");
const REFUSED: &str = include_str!("golden/refused.txt");
const SCRIPT: &str = include_str!("python/envelope.py");

/// What the clients are told that these words start.
fn told(lab: &Lab, words: &[&str]) -> String {
    let mut command = lab.wrapped(words.first().copied().unwrap_or("/usr/bin/python3"));
    command.args(words.iter().skip(1));
    if !words.is_empty() {
        command.arg("/usr/bin/python3");
    }
    let said = said(command.args(["-c", SCRIPT, "permissions"]));
    assert!(said.ok && said.err.is_empty(), "{words:?}: {said:?}\n{}", lab.daemon_log());
    said.out
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn whoever_administers_a_namespace_may_do_all_there() {
    let lab = Lab::new(0);
    lab.open_to_everybody();
    assert_eq!(told(&lab, &[]), PERMITTED, "root");
    for who in [
        // Root of a user namespace that owns the network namespace; also one level further down, and not root above.
        "unshare -Ur -n",
        "unshare -Ur -n unshare -Ur -n",
        "setpriv --reuid=65534 --clear-groups unshare -Ur -n",
        // Somebody else with the one capability.
        "setpriv --reuid=65534 --clear-groups --inh-caps=+net_admin --ambient-caps=+net_admin",
        // In a process namespace where portwayd could not be named, nor it there.
        "unshare -Ur -n --pid --fork --mount-proc",
    ] {
        assert_eq!(told(&lab, &words(who)), PERMITTED, "{who}");
    }
    // Root above has it in what others own, too.
    let mut owner = lab.switch.command("unshare");
    let owner = background(owner.args(["-Ur", "-n", "sleep", "1000"]));
    let space = format!("/proc/{}/ns/net", owner.id());
    let spaces = ["/proc/self/ns/net".to_owned(), format!("/run/netns/{}", lab.switch.name())];
    let inodes = spaces.map(|space| std::fs::metadata(space).unwrap().ino());
    within("it has its own namespace", || {
        std::fs::metadata(&space).is_ok_and(|space| !inodes.contains(&space.ino()))
    });
    assert_eq!(told(&lab, &["nsenter", &format!("--net={space}")]), PERMITTED);
    // Nothing of all that is left, and none of it was seen here.
    assert_eq!(lab.dpctl("dump-dps"), "");
}

#[test]
fn nobody_else_may() {
    let lab = Lab::new(0);
    lab.open_to_everybody();
    for who in [
        "setpriv --reuid=65534 --clear-groups",
        "setpriv --bounding-set=-net_admin",
        // Root of a user namespace, but not of the one that owns the network namespace.
        "unshare -Ur",
        "unshare -Ur -n unshare -Ur",
        "setpriv --reuid=65534 --clear-groups unshare -Ur",
    ] {
        assert_eq!(told(&lab, &words(who)), REFUSED, "{who}");
    }
    // Those who ask in vain see nothing of another namespace either.
    lab.dpctl("add-dp dp0");
    assert!(told(&lab, &words("setpriv --reuid=65534 --clear-groups")).contains("dp get ok"));
    assert!(told(&lab, &words("unshare -Ur -n setpriv --bounding-set=-net_admin")).contains("dp get ENODEV"));
}
