// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Real devices come, change and go in real namespaces, and the watcher tells. Root.

#[path = "../../../modules/vport-netdev/tests/lab/mod.rs"]
mod lab;

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Receiver;
use lab::{Space, ip};
use portway_netwatch::{Change, Error, Event, Links, Netns, NetnsId, WatchHandle, Watcher, flags, layer};

/// A watcher on a thread of its own, as the daemon has one.
struct Watch {
    handle: WatchHandle,
    events: Receiver<Event>,
    /// Told already, not asked for yet.
    waiting: RefCell<Vec<Event>>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Watch {
    fn new() -> Self {
        let (watcher, handle, events) = Watcher::new().unwrap();
        Self {
            handle,
            events,
            waiting: RefCell::default(),
            thread: Some(std::thread::spawn(|| watcher.run())),
        }
    }

    /// The next event of a namespace that `wanted` makes something of; those before it (a carrier that comes a moment later)
    /// are passed over.
    fn next<T>(&self, id: NetnsId, what: &str, wanted: impl Fn(&Change) -> Option<T>) -> T {
        let mut waiting = self.waiting.borrow_mut();
        loop {
            while let Some(at) = waiting.iter().position(|event| event.netns == id) {
                if let Some(found) = wanted(&waiting.remove(at).what) {
                    return found;
                }
            }
            let event = self.events.recv_timeout(Duration::from_secs(120));
            waiting.push(event.unwrap_or_else(|_| panic!("not told within thirty seconds: {what}")));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.handle.stop();
        let result = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(result, Some(Ok(Ok(())))), "{result:?}");
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of event")]
fn name_of(index: u32) -> impl Fn(&Change) -> Option<String> {
    move |change| match change {
        Change::Gone { ifindex, name } if *ifindex == index => Some(name.clone()),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of event")]
fn appeared(wanted: &'static str) -> impl Fn(&Change) -> Option<u32> {
    move |change| match change {
        Change::Appeared(link) if link.name == wanted => Some(link.index),
        _ => None,
    }
}

#[test]
fn everything_that_happens_to_a_device_is_told() {
    let (space, other) = (Space::new("watch"), Space::new("other"));
    let watch = Watch::new();
    let (id, other_id) = (space.netns.id(), other.netns.id());
    assert_eq!(watch.handle.watch(&space.netns).unwrap().len(), 1, "the loopback is there already");
    watch.handle.watch(&other.netns).unwrap();
    space.ip(&format!("link add v0 type veth peer name w0 netns {}", other.name));
    let index = watch.next(id, "v0 appears", appeared("v0"));
    let peer = watch.next(other_id, "w0 appears", appeared("w0"));
    space.ip("link set v0 mtu 1400");
    watch.next(id, "MTU", |change| (*change == Change::Mtu { ifindex: index, mtu: 1400 }).then_some(()));
    space.ip("link set v0 address 02:00:00:00:00:05");
    let address = Change::Address { ifindex: index, mac: [2, 0, 0, 0, 0, 5] };
    watch.next(id, "address", |change| (*change == address).then_some(()));
    let link =
        |is_up| move |change: &Change| (*change == Change::Link { ifindex: index, is_up }).then_some(());
    space.ip("link set v0 up");
    other.ip("link set w0 up");
    watch.next(id, "up", link(true));
    other.ip("link set w0 down");
    watch.next(id, "without carrier", link(false));
    space.ip("link set v0 down");
    space.ip("link set v0 name v1");
    let renamed = Change::Renamed { ifindex: index, name: "v0".into(), new_name: "v1".into() };
    watch.next(id, "renamed", |change| (*change == renamed).then_some(()));
    space.ip(&format!("link set v1 netns {}", other.name));
    let moved = Change::MovedAway { ifindex: index, name: "v1".into() };
    watch.next(id, "moved away", |change| (*change == moved).then_some(()));
    let there = watch.next(other_id, "moved in", appeared("v1"));
    other.ip("link del v1");
    assert_eq!(watch.next(other_id, "gone", name_of(there)), "v1");
    assert_eq!(watch.next(other_id, "its peer gone", name_of(peer)), "w0");
}

#[test]
fn a_port_of_a_bridge_does_not_seem_to_go_when_it_leaves() {
    let (space, other) = (Space::new("bridge"), Space::new("other"));
    space.veth("v0", &other, "w0");
    space.ip("link add bridge0 type bridge");
    space.ip("link set v0 master bridge0");
    let watch = Watch::new();
    watch.handle.watch(&space.netns).unwrap();
    space.ip("link set v0 nomaster");
    space.ip("link set v0 mtu 1300");
    watch.next(space.netns.id(), "the MTU after leaving", |change| {
        let lost = matches!(change, Change::Gone { .. } | Change::MovedAway { .. });
        assert!(!lost, "{change:?}");
        matches!(change, Change::Mtu { mtu: 1300, .. }).then_some(())
    });
}

#[test]
fn a_namespace_whose_name_is_deleted_is_gone() {
    let space = Space::new("gone");
    let watch = Watch::new();
    watch.handle.watch(&space.netns).unwrap();
    // A second name holds it.
    let second = format!("{}-too", space.name);
    let process = hold(&space);
    ip(&format!("netns attach {second} {}", process.id()));
    drop(process);
    ip(&format!("netns del {}", space.name));
    let quiet = watch.events.recv_timeout(Duration::from_millis(300));
    assert!(quiet.is_err(), "{quiet:?}: it still has a name");
    ip(&format!("netns del {second}"));
    watch.next(space.netns.id(), "gone", |change| (*change == Change::NamespaceGone).then_some(()));
}

/// A process in the namespace, ended on drop.
struct Resident(std::process::Child);

impl Resident {
    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hold(space: &Space) -> Resident {
    let mut command = Command::new("sleep");
    command.arg("60").stdout(Stdio::null());
    // A child is in the namespace of the thread that starts it.
    Resident(space.inside(|| command.spawn().unwrap()))
}

#[test]
fn a_namespace_without_a_name_lives_as_long_as_its_processes() {
    let space = Space::new("nameless");
    let watch = Watch::new();
    watch.handle.watch(&space.netns).unwrap();
    let (first, second) = (hold(&space), hold(&space));
    ip(&format!("netns del {}", space.name));
    assert_eq!(Netns::by_pid(first.id()).unwrap().id(), space.netns.id());
    drop(first);
    let quiet = watch.events.recv_timeout(Duration::from_millis(300));
    assert!(quiet.is_err(), "{quiet:?}: there is a process in it");
    space.inside(|| Links::open().unwrap().by_name("lo").unwrap());
    drop(second);
    watch.next(space.netns.id(), "gone", |change| (*change == Change::NamespaceGone).then_some(()));
}

#[test]
fn lost_notifications_lose_no_change() {
    let (space, other) = (Space::new("flood"), Space::new("other"));
    space.veth("v0", &other, "w0");
    space.veth("v1", &other, "w1");
    let (mut watcher, handle, events) = Watcher::new().unwrap();
    handle.watch(&space.netns).unwrap();
    assert!(watcher.handle_ready().unwrap());
    // Many more notifications than the queue holds, while nobody reads.
    let batch: String = (0..6000).map(|round| format!("link set v0 mtu {}\n", 1000 + round % 2)).collect();
    let file = std::env::temp_dir().join(format!("{}-batch", space.name));
    std::fs::write(&file, batch + "link del v1\nlink add n0 type bridge\nlink set v0 mtu 1234\n").unwrap();
    lab::run("ip", &["-n", &space.name, "-batch", file.to_str().unwrap()]);
    std::fs::remove_file(file).unwrap();
    assert!(watcher.handle_ready().unwrap());
    let told: Vec<_> = events.try_iter().map(|event| event.what).collect();
    let changes = told.iter().filter(|change| matches!(change, Change::Mtu { .. })).count();
    assert!(changes < 6000, "no notification was lost: the queue is longer than this test");
    assert!(told.iter().any(|change| matches!(change, Change::Gone { name, .. } if name == "v1")));
    assert!(told.iter().any(|change| matches!(change, Change::Appeared(link) if link.name == "n0")));
    assert!(told.iter().any(|change| matches!(change, Change::Mtu { mtu: 1234, .. })));
    space.ip("link set v0 mtu 1235");
    assert!(watcher.handle_ready().unwrap());
    let told: Vec<_> = events.try_iter().map(|event| event.what).collect();
    assert!(matches!(told[..], [Change::Mtu { mtu: 1235, .. }]), "{told:?}");
}

#[test]
fn unwatched_namespaces_are_silent_and_watching_twice_needs_two_ends() {
    let space = Space::new("twice");
    let (mut watcher, handle, events) = Watcher::new().unwrap();
    handle.watch(&space.netns).unwrap();
    handle.watch(&space.netns).unwrap();
    handle.unwatch(space.netns.id());
    space.ip("link add n0 type bridge");
    // One wake-up for the commands, then one for the namespace that they have added.
    assert!(watcher.handle_ready().unwrap() && watcher.handle_ready().unwrap());
    assert!(events.try_iter().any(|event| matches!(event.what, Change::Appeared(link) if link.name == "n0")));
    handle.unwatch(space.netns.id());
    assert!(watcher.handle_ready().unwrap());
    space.ip("link del n0");
    assert!(watcher.handle_ready().unwrap());
    assert_eq!(events.try_iter().count(), 0);
    handle.stop();
    assert!(!watcher.handle_ready().unwrap());
}

#[test]
fn news_of_a_device_come_from_where_it_was_moved_to() {
    let (space, other) = (Space::new("here"), Space::new("there"));
    let watch = Watch::new();
    let id = space.netns.id();
    watch.handle.watch(&space.netns).unwrap();
    space.ip("link add v0 type veth peer name w0");
    // The peer is made first.
    let peer = watch.next(id, "w0 appears", appeared("w0"));
    let index = watch.next(id, "v0 appears", appeared("v0"));
    space.ip(&format!("link set v0 netns {}", other.name));
    let moved = Change::MovedAway { ifindex: index, name: "v0".into() };
    watch.next(id, "moved away", |change| (*change == moved).then_some(()));
    for _ in 0..2 {
        watch.handle.watch_elsewhere(&space.netns).unwrap();
    }
    other.ip("link set v0 mtu 1400");
    watch.next(id, "something elsewhere", |change| (*change == Change::Elsewhere).then_some(()));
    // The namespace over there can go, and its device with it.
    drop(other);
    assert_eq!(watch.next(id, "w0 gone", name_of(peer)), "w0");
}

#[test]
fn devices_are_found_by_name_and_index() {
    let (space, other) = (Space::new("links"), Space::new("other"));
    space.veth("v0", &other, "w0");
    space.ip("link set v0 alias something");
    let mut links = Links::open_in(&space.netns).unwrap();
    let lo = links.by_name("lo").unwrap();
    assert_ne!(lo.flags & flags::LOOPBACK, 0);
    let v0 = links.by_name("v0").unwrap();
    assert_eq!((v0.kind.as_str(), v0.layer, v0.alias.as_str()), ("veth", layer::ETHERNET, "something"));
    assert_eq!(v0.lower, None, "its peer is in another namespace");
    assert_eq!(links.by_index(v0.index).unwrap().name, "v0");
    let mut names: Vec<_> = links.list().unwrap().into_iter().map(|link| link.name).collect();
    names.sort();
    assert_eq!(names, ["lo", "v0"]);
    assert_eq!(links.by_name("w0").unwrap_err().errno(), 19);
    assert_eq!(links.by_index(99).unwrap_err().to_string(), "no device with index 99");
    links.set_alias(v0.index, "else").unwrap();
    assert_eq!(links.by_name("v0").unwrap().alias, "else");
}

#[test]
fn namespaces_are_found_by_name_path_and_process() {
    let space = Space::new("resolve");
    let id = space.netns.id();
    assert_eq!(Netns::resolve(&space.name).unwrap().id(), id);
    assert_eq!(Netns::resolve(&format!("/run/netns/{}", space.name)).unwrap().id(), id);
    let process = hold(&space);
    assert_eq!(Netns::resolve(&process.id().to_string()).unwrap().id(), id);
    assert_eq!(Netns::from_borrowed(space.netns.as_fd()).unwrap().id(), id);
    assert_ne!(Netns::current().unwrap().id(), id);
    assert_eq!(space.inside(|| Netns::current_id().unwrap()), id);
    assert_ne!(Netns::current_id().unwrap(), id, "the caller stays where it was");
    for (text, errno) in
        [("nosuch", 2), ("../../etc", 2), ("/etc/passwd", 22), ("/proc/self/ns/mnt", 22), ("", 2)]
    {
        assert_eq!(Netns::resolve(text).unwrap_err().errno(), errno, "{text:?}");
    }
}
