// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The filter, run by the kernel on frames that we make (BPF_PROG_TEST_RUN), against the lens: a frame takes the shortcut of another
//! one exactly if the lens does not tell the two apart. Needs root, as the switch itself.

use portway_buf::{Batch, Packet, Pool};
use portway_flow::{FlowKey, FlowMask, Lens, MacAddr, Shape, WINDOW};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use zerocopy::network_endian::U16;
use zerocopy::transmute;

use super::*;
use crate::rx::RxQueue;
use portway_bpf::{Assembler, Helper, Op, Reg};

const BPF_PROG_TEST_RUN: std::ffi::c_long = 10;
const OUTPUT: Output = Output { ifindex: 77, limit: 1514 };

/// Attributes of BPF_PROG_TEST_RUN as far as they are used here.
#[repr(C)]
#[derive(Default)]
struct RunAttributes {
    program: u32,
    result: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
}

/// A filter of these masks that runs by hand, with one shortcut in it.
struct Rig {
    shortcuts: Shortcuts,
    /// On a socket.
    plain: OwnedFd,
    id: u64,
}

fn masks_of(lens: &Lens) -> ShortcutMasks {
    let masks = Shape::ALL.map(|shape| transmute!(*lens.mask(shape)));
    ShortcutMasks { depth: lens.depth() as u32, pad: 0, masks }
}

/// What the lens makes of a frame, and its TCP flags.
fn look(lens: &Lens, frame: &[u8]) -> Option<(ShortcutKey, u16)> {
    let packet = Packet::copied_from(frame).unwrap();
    let header = packet.window::<WINDOW>().unwrap();
    let head = lens.head(header, packet.len())?;
    let window = transmute!(lens.window(header, head.shape()));
    Some((ShortcutKey { layout: head.shape() as u32, pad: 0, window }, head.tcp_flags(header)))
}

impl Rig {
    fn new(masks: &ShortcutMasks, key: &ShortcutKey) -> Self {
        let (table, plain) = Table::new(masks).unwrap();
        table.shared.set_done(0);
        let mut shortcuts = Shortcuts { current: Some(Arc::new(table)), ..Shortcuts::default() };
        let id = shortcuts.add(OUTPUT, key, 0).unwrap();
        Self { shortcuts, plain, id }
    }

    fn table(&self) -> &Table {
        self.shortcuts.current.as_ref().unwrap()
    }

    /// Whether the frame, with its tag in it, takes the shortcut.
    fn takes(&self, masks: &ShortcutMasks, frame: &[u8]) -> bool {
        self.try_takes(masks, frame).unwrap()
    }

    /// EINVAL: the kernel does not run programs on such a frame by hand (cut off in the middle of its IP header).
    fn try_takes(&self, masks: &ShortcutMasks, frame: &[u8]) -> Result<bool, Errno> {
        let is_tagged = matches!(frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8])) && frame.len() >= 18;
        let (program, data) = if is_tagged {
            let tag: [u8; 4] = std::array::from_fn(|at| frame[12 + at]);
            (self.tagging(masks, tag), [&frame[..12], &frame[16..]].concat())
        } else {
            // For a socket's program the kernel takes an Ethernet header off first.
            (self.plain.try_clone().unwrap(), [&[0; 14], frame].concat())
        };
        run(&program, &data).map(|result| result == 0)
    }

    /// The same filter behind an instruction to the kernel to keep a tag beside the frame.
    fn tagging(&self, masks: &ShortcutMasks, tag: [u8; 4]) -> OwnedFd {
        let mut asm = Assembler::new();
        asm.op_reg(Op::Move, Reg::R6, Reg::R1);
        asm.op(Op::Move, Reg::R2, i32::from(u16::from_ne_bytes([tag[0], tag[1]])));
        asm.op(Op::Move, Reg::R3, i32::from(u16::from_be_bytes([tag[2], tag[3]])));
        asm.call(Helper::SkbVlanPush);
        filter::emit(&mut asm, masks, self.table().maps(verdict().unwrap()));
        portway_bpf::load(ProgramKind::SchedCls, b"portway_test\0\0\0\0", &asm.finish()).unwrap()
    }
}

fn run(program: &OwnedFd, data: &[u8]) -> Result<u32, Errno> {
    use std::os::fd::AsRawFd;
    let mut attributes = RunAttributes {
        program: program.as_raw_fd() as u32,
        size_in: data.len() as u32,
        data_in: data.as_ptr() as u64,
        ..RunAttributes::default()
    };
    // SAFETY: the one pointer is to `size_in` readable bytes.
    unsafe { portway_bpf::bpf(BPF_PROG_TEST_RUN, &mut attributes) }?;
    Ok(attributes.result)
}

/// IPv4 or IPv6 with TCP or UDP, perhaps tagged.
fn frame(v6: bool, tcp: bool, tag: Option<u16>) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    if let Some(tci) = tag {
        frame.extend([0x81, 0x00]);
        frame.extend(tci.to_be_bytes());
    }
    let proto = if tcp { 6 } else { 17 };
    let l4: &[u8] = if tcp {
        &[3, 232, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x12, 1, 0, 0, 0, 0, 0]
    } else {
        &[3, 232, 0, 80, 0, 8, 0, 0]
    };
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, l4.len() as u8, proto, 64]);
        frame.extend([0xfd; 32]);
    } else {
        frame.extend([8, 0, 0x45, 0, 0, 20 + l4.len() as u8, 1, 2, 0, 0, 64, proto, 0, 0]);
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    }
    frame.extend(l4);
    frame.extend([0xab; 12]);
    frame
}

/// Two frames that differ little, or in much.
fn any_frames() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let edit = || (any::<prop::sample::Index>(), any::<u8>());
    let edits = || proptest::collection::vec(edit(), 0..3);
    let one = (any::<bool>(), any::<bool>(), proptest::option::of(any::<u16>()));
    (one, edits(), edits(), 0usize..60, any::<bool>()).prop_map(
        |((v6, tcp, tag), before, between, cut, other)| {
            let mut first = frame(v6, tcp, tag);
            let change = |frame: &mut Vec<u8>, edits: Vec<(prop::sample::Index, u8)>| {
                edits.into_iter().for_each(|(index, value)| *index.get_mut(frame.as_mut_slice()) = value);
            };
            change(&mut first, before);
            let mut second = if other && between.is_empty() { frame(v6, !tcp, tag) } else { first.clone() };
            change(&mut second, between);
            if cut < 30 {
                second.truncate(second.len().saturating_sub(cut * 2).max(18));
            }
            (first, second)
        },
    )
}

/// Some fields whole, or some bits of any words.
fn any_union() -> impl Strategy<Value = FlowMask> {
    let words = FlowKey::default().words().len();
    let word = (0..words, prop_oneof![Just(u64::MAX), any::<u64>(), Just(0xffff)]);
    let ethernet = FlowMask::new(FlowKey {
        eth_dst: MacAddr([0xff; 6]),
        eth_src: MacAddr([0xff; 6]),
        vlan_tci: U16::new(0xffff),
        vlan_tpid: U16::new(0xffff),
        ..FlowKey::default()
    });
    let some = proptest::collection::vec(word, 0..8).prop_map(|words| {
        let mut bits = FlowKey::default();
        for (index, value) in words {
            bits.words_mut()[index] = value;
        }
        FlowMask::new(bits)
    });
    let deep = |bits: FlowKey| {
        let mut union = FlowMask::new(bits);
        union.unite(&FlowMask::new(FlowKey { eth_type: U16::new(0xffff), ..FlowKey::default() }));
        union
    };
    let network = deep(FlowKey { ip_src: [0xff; 16], ip_proto: 0xff, ..FlowKey::default() });
    let transport = deep(FlowKey { ip_dst: [0xff; 16], tp_dst: U16::new(0xffff), ..FlowKey::default() });
    prop_oneof![some, Just(ethernet), Just(network), Just(transport)]
}

#[test]
fn a_frame_takes_a_shortcut_exactly_if_the_lens_cannot_tell_it_from_the_first() {
    let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
    let (mut taken, mut refused) = (0, 0);
    let result = runner.run(&(any_union(), any_frames()), |(union, (first, second))| {
        let lens = Lens::new(union, 1);
        let Some((key, _)) = look(&lens, &first) else { return Ok(()) };
        let masks = masks_of(&lens);
        let rig = Rig::new(&masks, &key);
        for frame in [&first, &second] {
            let seen = look(&lens, frame);
            let same = seen.is_some_and(|(other, _)| other == key);
            // Frames let through count as on their way until somebody says otherwise.
            rig.table().shared.set_done(rig.table().shared.passed());
            let before = rig.shortcuts.read(rig.id).unwrap();
            let takes = match rig.try_takes(&masks, frame) {
                Err(Errno(libc::EINVAL)) => continue,
                takes => takes.unwrap(),
            };
            prop_assert_eq!(takes, same, "{:?} {:02x?}", key, frame);
            let after = rig.shortcuts.read(rig.id).unwrap();
            let carried = (after.packets - before.packets, after.bytes - before.bytes);
            prop_assert_eq!(carried, if same { (1, frame.len() as u64) } else { (0, 0) });
            if let (true, Some((_, flags))) = (same, seen) {
                prop_assert_eq!(after.tcp_flags, before.tcp_flags | u64::from(flags));
                prop_assert!(after.used_ns > before.used_ns);
            }
        }
        Ok(())
    });
    result.unwrap();
    // The same for fixed frames, so that both outcomes are known to have been seen.
    let lens = Lens::new(FlowMask::new(FlowKey { tp_dst: U16::new(0xffff), ..FlowKey::default() }), 2);
    for (v6, tag) in [(false, None), (false, Some(5)), (true, None), (true, Some(5))] {
        for tcp in [false, true] {
            let (key, _) = look(&lens, &frame(v6, tcp, tag)).unwrap();
            let (masks, mut other) = (masks_of(&lens), frame(v6, tcp, tag));
            let rig = Rig::new(&masks, &key);
            taken += usize::from(rig.takes(&masks, &other));
            let port = if v6 { 14 + 40 + 3 } else { 14 + 20 + 3 } + if tag.is_some() { 4 } else { 0 };
            other[port] ^= 1;
            refused += usize::from(!rig.takes(&masks, &other));
        }
    }
    assert_eq!((taken, refused), (8, 8));
}

fn simple() -> (ShortcutMasks, Rig, Vec<u8>) {
    let lens = Lens::new(FlowMask::new(FlowKey { eth_dst: MacAddr([0xff; 6]), ..FlowKey::default() }), 1);
    let (masks, frame) = (masks_of(&lens), frame(false, true, None));
    let rig = Rig::new(&masks, &look(&lens, &frame).unwrap().0);
    (masks, rig, frame)
}

#[test]
fn the_first_frame_waits_for_those_before_it_but_not_for_ever() {
    let (masks, mut rig, frame) = simple();
    rig.shortcuts.end(rig.id).unwrap();
    assert!(!rig.takes(&masks, &frame), "ended: the socket gets it");
    let key = ShortcutKey { layout: 0, pad: 0, window: masked(&masks, &frame) };
    // Far from its deadline: the frame that was let through is still on its way.
    let id = rig.shortcuts.add(OUTPUT, &key, now_ns() + 3_600_000_000_000).unwrap();
    assert!(!rig.takes(&masks, &frame) && !rig.takes(&masks, &frame));
    rig.table().shared.set_done(rig.table().shared.passed());
    assert!(rig.takes(&masks, &frame));
    rig.table().shared.set_done(0);
    assert!(rig.takes(&masks, &frame), "once taken it is taken for good");
    assert_eq!(rig.shortcuts.read(id).unwrap().packets, 2);
    rig.shortcuts.end(id).unwrap();
    rig.shortcuts.add(OUTPUT, &key, 0).unwrap();
    assert!(rig.takes(&masks, &frame), "its deadline was long ago");
}

fn masked(masks: &ShortcutMasks, frame: &[u8]) -> [u8; 80] {
    std::array::from_fn(|at| frame.get(at).unwrap_or(&0) & masks.masks[0][at])
}

#[test]
fn what_does_not_fit_goes_to_the_socket() {
    let (masks, rig, frame) = simple();
    let mut long = frame.clone();
    long.resize(1514, 0);
    assert!(rig.takes(&masks, &long));
    long.push(0);
    assert!(!rig.takes(&masks, &long), "longer than the output's MTU");
    assert_eq!(rig.shortcuts.read(rig.id).unwrap().bytes, 1514);
}

#[test]
fn shortcuts_are_numbered_bounded_and_counted_to_the_end() {
    let (masks, mut rig, frame) = simple();
    let key = |last: u8| {
        let mut window = masked(&masks, &frame);
        window[5] = last;
        ShortcutKey { layout: 0, pad: 0, window }
    };
    assert!(rig.takes(&masks, &frame));
    assert_eq!(rig.shortcuts.add(OUTPUT, &key(1), 0), Err(Errno::EEXIST), "this very one is there");
    let added: Vec<u64> = (2..=255).map(|last| rig.shortcuts.add(OUTPUT, &key(last), 0).unwrap()).collect();
    assert_eq!(rig.shortcuts.add(OUTPUT, &key(0), 0), Err(Errno(libc::ENOSPC)));
    rig.shortcuts.end(added[0]).unwrap();
    assert_eq!(rig.shortcuts.add(OUTPUT, &key(0), 0), Err(Errno(libc::ENOSPC)), "its slot rests");
    rig.shortcuts.free(added[0]);
    let again = rig.shortcuts.add(OUTPUT, &key(0), 0).unwrap();
    assert_eq!(rig.shortcuts.read(again).unwrap(), ShortcutCounters::default());
    rig.shortcuts.end(rig.id).unwrap();
    assert_eq!(rig.shortcuts.read(rig.id).unwrap().packets, 1);
    assert_eq!(rig.shortcuts.end(4711), Err(Errno::ENOENT));
    assert_eq!(rig.shortcuts.read(4711), Err(Errno::ENOENT));
    settle();
}

/// Runs `job` in a network namespace of its own, with the two ends of a cable.
fn on_a_cable(job: impl FnOnce(u32, u32) + Send) {
    let ip = |line: &str| {
        let output = std::process::Command::new("ip").args(line.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    thread::scope(|scope| {
        scope.spawn(move || {
            // SAFETY: no pointers; only this thread changes its namespace.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "these tests need root");
            for scope in ["all", "default"] {
                // No frames but the test's. (A kernel without IPv6 has nothing to switch off.)
                let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
            }
            ip("link add e11 index 11 type veth peer name e12 index 12");
            for end in ["e11", "e12"] {
                ip(&format!("link set {end} up"));
            }
            job(11, 12);
        });
    });
}

/// Waits until a frame is there.
fn wait_for_frame(socket: &PacketSocket) {
    use std::os::fd::AsRawFd;
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd that lives through the call.
    assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 20_000) }, 1, "the frame arrives");
}

#[test]
fn an_error_in_front_of_frames_does_not_say_that_they_are_done() {
    use std::os::fd::AsRawFd;
    on_a_cable(|here, there| {
        let [socket, sender] = [here, there].map(|ifindex| {
            let socket = PacketSocket::open().unwrap();
            socket.bind(ifindex).unwrap();
            socket
        });
        let (masks, _, mut bytes) = simple();
        let progress = Table::new(&masks).unwrap().0.shared;
        progress.set_done(0);
        progress.0.word(slot::PASSED).store(1, Ordering::Relaxed);
        bytes.splice(0..0, [0; portway_buf::virtio::HEADER_LEN]);
        // SAFETY: as many readable bytes as given.
        let sent = unsafe { libc::send(sender.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        assert_eq!(sent, bytes.len() as isize);
        wait_for_frame(&socket);
        assert!(
            std::process::Command::new("ip").args(["link", "set", "e11", "down"]).status().unwrap().success()
        );
        let (mut pool, mut queue) = (Pool::new(), RxQueue::new(false));
        queue.report_to(Some(Arc::clone(&progress)));
        let done = || progress.0.word(slot::DONE).load(Ordering::Relaxed);
        let mut receive = || {
            let mut batch = Batch::new();
            let result = queue.receive(&socket, &mut pool.as_ref(), &mut batch);
            let count = batch.len();
            pool.as_ref().give_all(&mut batch);
            (result, count)
        };
        assert_eq!(receive(), (Err(Errno(libc::ENETDOWN)), 0));
        assert_eq!(done(), 0, "it still waits");
        assert_eq!((receive(), done()), ((Ok(()), 1), 0), "it is on its way");
        assert_eq!((receive(), done()), ((Ok(()), 0), 1));
    });
}
