// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The pcap port through the switch's own eyes: replay, capture, and every bad file.

use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;

use portway_buf::{BATCH_MAX, Batch, DropCounts, DropReason, FRAME_MAX, Pool};
use portway_vport::ops::{CreateParams, TYPE_PCAP};
use portway_vport::{Errno, NetnsId, PortName, Registry, Vport, VportConfig, options};
use tempfile::TempDir;
use vport_pcap::{ATTR_LOOP, ATTR_RX, ATTR_TX};

fn create(attributes: &[u8]) -> Result<Arc<Vport>, Errno> {
    let registry = Registry::new();
    registry.register(vport_pcap::MODULE).unwrap();
    let name = CString::new("pcap0").unwrap();
    let params = CreateParams {
        name: &name,
        netns: None,
        tx_queues: 1,
        options: attributes,
        mac: [0; 6],
        is_local: false,
    };
    let (handle, info) = registry.try_get(TYPE_PCAP).unwrap().create(&params)?;
    let name = PortName::new(b"pcap0").unwrap();
    let config = VportConfig {
        name,
        netns: NetnsId(0),
        datapath: 0,
        workers: 1,
        upcall_pids: vec![1],
        shown_type: None,
    };
    Ok(Vport::new(handle, info, config))
}

fn attributes(rx: Option<&Path>, tx: Option<&Path>, passes: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for (attr, path) in [(ATTR_RX, rx), (ATTR_TX, tx)] {
        if let Some(path) = path {
            options::push_str(&mut out, attr, path.to_str().unwrap()).unwrap();
        }
    }
    if passes != 0 {
        options::push(&mut out, ATTR_LOOP, &passes.to_ne_bytes()).unwrap();
    }
    out
}

/// A pcap file; `big`: byte order, `magic`: the clock.
fn pcap_of(frames: &[Vec<u8>], big: bool, magic: u32) -> Vec<u8> {
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let half = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut file = word(magic).to_vec();
    file.extend(half(2));
    file.extend(half(4));
    file.extend([word(0), word(0), word(65_535), word(1)].concat());
    for frame in frames {
        file.extend([word(1), word(2), word(frame.len() as u32), word(frame.len() as u32)].concat());
        file.extend(frame);
    }
    file
}

fn frames(lengths: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    lengths.into_iter().enumerate().map(|(i, len)| (0..len).map(|at| (i * 7 + at) as u8).collect()).collect()
}

fn file(dir: &TempDir, content: &[u8]) -> std::path::PathBuf {
    let path = dir.path().join("in.pcap");
    std::fs::write(&path, content).unwrap();
    path
}

fn receive(port: &Vport, pool: &mut Pool) -> Vec<Vec<u8>> {
    let mut batch = Batch::new();
    port.rx(0, 0, pool, &mut batch, &mut DropCounts::default()).unwrap();
    let frames = batch.iter().map(|packet| packet.frame().to_vec()).collect();
    pool.as_ref().give_all(&mut batch);
    frames
}

#[test]
fn a_file_is_replayed_without_end_in_either_order_and_clock() {
    let dir = TempDir::new().unwrap();
    let all = frames([60, 61, 64, 1, 65, 128, 1514]);
    for (big, magic) in [(false, 0xa1b2_c3d4), (true, 0xa1b2_c3d4), (false, 0xa1b2_3c4d), (true, 0xa1b2_3c4d)]
    {
        let path = file(&dir, &pcap_of(&all, big, magic));
        let port = create(&attributes(Some(&path), None, 0)).unwrap();
        assert!(port.is_busy_poll());
        assert_eq!((port.rx_queues(), port.handle().rx_fd(0), port.mtu()), (1, None, None));
        let mut pool = Pool::new();
        let mut expected = all.iter().cycle();
        for _ in 0..5 {
            let got = receive(&port, &mut pool);
            assert_eq!(got.len(), BATCH_MAX);
            assert!(got.iter().all(|frame| frame == expected.next().unwrap()));
        }
        assert_eq!(port.stats().rx_packets, 5 * BATCH_MAX as u64);
    }
}

#[test]
fn long_frames_come_in_large_buffers() {
    let dir = TempDir::new().unwrap();
    let all = frames([60, FRAME_MAX, 1728, 1729, 9000]);
    let path = file(&dir, &pcap_of(&all, false, 0xa1b2_c3d4));
    let port = create(&attributes(Some(&path), None, 2)).unwrap();
    let got = receive(&port, &mut Pool::new());
    assert_eq!(got, [all.clone(), all].concat());
}

#[test]
fn a_count_ends_the_replay_and_the_descriptor_says_so() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, &pcap_of(&frames([60; 50]), false, 0xa1b2_c3d4));
    let port = create(&attributes(Some(&path), None, 3)).unwrap();
    assert!(!port.is_busy_poll());
    let mut pool = Pool::new();
    let mut got = Vec::new();
    while readable(&port) {
        got.push(receive(&port, &mut pool).len());
    }
    assert_eq!(got, [64, 64, 22]);
    assert_eq!(receive(&port, &mut pool), Vec::<Vec<u8>>::new());
    assert_eq!(port.stats().rx_packets, 150);
}

fn readable(port: &Vport) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let fd = port.handle().rx_fd(0).unwrap();
    // SAFETY: the descriptor is valid until the port is dropped.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&now)).unwrap() == 1
}

fn send(port: &Vport, frames: &[Vec<u8>]) -> DropCounts {
    let (mut pool, mut drops) = (Pool::new(), DropCounts::default());
    let mut batch: Batch = frames.iter().map(|frame| pool.copy(frame).unwrap()).collect();
    port.tx(0, &mut pool, &mut batch, &mut drops);
    assert!(batch.is_empty());
    drops
}

#[test]
fn what_is_sent_can_be_replayed() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out.pcap");
    let all = frames([60, 1514, 1, 9000]);
    std::fs::write(&out, [9; 100_000]).unwrap();
    let port = create(&attributes(None, Some(&out), 0)).unwrap();
    assert_eq!((port.rx_queues(), port.needs_software_offload()), (0, true));
    assert!(send(&port, &all).is_empty());
    assert!(send(&port, &all[..1]).is_empty());
    let stats = port.stats();
    assert_eq!((stats.tx_packets, stats.tx_bytes), (5, 60 + 1514 + 1 + 9000 + 60));
    let copy = create(&attributes(Some(&out), None, 1)).unwrap();
    assert_eq!(receive(&copy, &mut Pool::new()), [all.clone(), all[..1].to_vec()].concat());
}

#[test]
fn without_a_file_output_is_counted_and_discarded() {
    let port = create(&[]).unwrap();
    assert!(send(&port, &frames([60])).is_empty());
    assert_eq!(port.stats().tx_bytes, 60);
    assert_eq!(receive(&port, &mut Pool::new()).len(), 0);
}

#[test]
fn options_are_reported_and_bad_ones_refused() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, &pcap_of(&frames([60]), false, 0xa1b2_c3d4));
    let given = attributes(Some(&path), Some(&dir.path().join("out")), 7);
    let mut out = Vec::new();
    assert_eq!(create(&given).unwrap().handle().get_options(&mut out), Ok(true));
    assert_eq!(out, given);
    let port = create(&given).unwrap();
    assert_eq!(port.handle().set_options(&given), Err(Errno::EOPNOTSUPP));
    let bad = |attr, value: &[u8]| {
        let mut out = Vec::new();
        options::push(&mut out, attr, value).unwrap();
        create(&out).unwrap_err()
    };
    assert_eq!(bad(9, b"x\0"), Errno::EINVAL);
    assert_eq!(bad(ATTR_RX, b"\0"), Errno::EINVAL);
    assert_eq!(bad(ATTR_RX, b"a\0b\0"), Errno::EINVAL);
    assert_eq!(bad(ATTR_RX, &[b'a'; 5000]), Errno::ENAMETOOLONG);
    assert_eq!(bad(ATTR_LOOP, &[1]), Errno::EINVAL);
    for end in 1..given.len() - 3 {
        // Cut between attributes it is a shorter, good list; anywhere else it is damaged, and never a panic.
        let _ = create(&given[..end]);
    }
}

#[test]
fn bad_files_are_refused() {
    let dir = TempDir::new().unwrap();
    let refused = |content: &[u8]| create(&attributes(Some(&file(&dir, content)), None, 0)).unwrap_err();
    let good = pcap_of(&frames([60, 70]), false, 0xa1b2_c3d4);
    let complete = [good.len(), 24 + 16 + 60];
    for end in (0..good.len()).filter(|end| !complete.contains(end)) {
        assert_eq!(refused(&good[..end]), Errno::EINVAL, "cut at {end}");
    }
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let lengths = |captured: u32, len: u32| [captured.to_le_bytes(), len.to_le_bytes()].concat();
    for (what, content) in [
        ("magic", changed(0, &[1, 2, 3, 4])),
        ("pcapng", changed(0, &0x0a0d_0d0au32.to_le_bytes())),
        ("version", changed(4, &[3, 0])),
        ("link type", changed(20, &[113, 0])),
        ("snapped", changed(24 + 8, &lengths(60, 61))),
        ("longer than it was", changed(24 + 8, &lengths(61, 60))),
        ("empty frame", changed(24 + 8, &lengths(0, 0))),
        ("too long a frame", changed(24 + 8, &lengths(FRAME_MAX as u32 + 1, FRAME_MAX as u32 + 1))),
        ("enormous frame", changed(24 + 8, &lengths(u32::MAX, u32::MAX))),
        ("text", b"this is not a capture at all, not even nearly one".to_vec()),
    ] {
        assert_eq!(refused(&content), Errno::EINVAL, "{what}");
    }
}

#[test]
fn the_log_says_what_is_wrong_and_where() {
    let dir = TempDir::new().unwrap();
    let mut snapped = pcap_of(&frames([60, 70]), false, 0xa1b2_c3d4);
    let second = 24 + 16 + 60;
    snapped[second + 12..second + 16].copy_from_slice(&90u32.to_le_bytes());
    let path = file(&dir, &snapped);
    let said = logged(|| create(&attributes(Some(&path), None, 0)).unwrap_err());
    let wanted = format!(
        "port pcap0: {} frame 2 was cut by the capture's snap length (70 of 90 bytes)",
        path.display()
    );
    assert!(said.contains(&wanted), "{said}");
    let missing = dir.path().join("missing");
    let said = logged(|| create(&attributes(Some(&missing), None, 0)).unwrap_err());
    assert!(said.contains("missing cannot be read: No such file or directory"), "{said}");
    let said = logged(|| create(&[1, 2, 3]).unwrap_err());
    assert!(said.contains("rx=FILE, tx=FILE and loop=COUNT"), "{said}");
}

/// What this thread logs meanwhile.
fn logged(body: impl FnOnce() -> Errno) -> String {
    use tracing_subscriber::util::SubscriberInitExt;
    let log = Arc::new(std::sync::Mutex::new(Vec::new()));
    let writer = Arc::clone(&log);
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || Shared(Arc::clone(&writer)));
    {
        let _guard = subscriber.finish().set_default();
        body();
    }
    String::from_utf8(log.lock().unwrap().clone()).unwrap()
}

struct Shared(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn damaged_files_are_refused_or_replayed_and_never_a_panic() {
    let dir = TempDir::new().unwrap();
    let good = pcap_of(&frames([60, 70, 1514, 64]), true, 0xa1b2_3c4d);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize % below
    };
    let (mut refused, mut replayed) = (0, 0);
    for _ in 0..2000 {
        let mut content = good.clone();
        for _ in 0..=random(4) {
            // The headers are where it hurts.
            let at = [random(24), 24 + random(16), 100 + random(16), random(content.len())][random(4)];
            content[at] = [0, 1, 0x7f, 0xff, random(256) as u8][random(5)];
        }
        content.truncate(content.len() - [0, random(100)][random(2)]);
        match create(&attributes(Some(&file(&dir, &content)), None, 1)) {
            Ok(port) => {
                assert!(receive(&port, &mut Pool::new()).len() <= 4);
                assert_eq!(port.handle().faults(), 0);
                replayed += 1;
            }
            Err(errno) => {
                assert_eq!(errno, Errno::EINVAL);
                refused += 1;
            }
        }
    }
    assert!(refused > 100 && replayed > 100, "{refused} {replayed}");
}

#[test]
fn files_that_are_not_there_or_too_long_or_no_files() {
    let dir = TempDir::new().unwrap();
    let refused = |rx: Option<&Path>, tx: Option<&Path>| create(&attributes(rx, tx, 0)).unwrap_err();
    let missing = dir.path().join("missing");
    assert_eq!(refused(Some(&missing), None), Errno::ENOENT);
    assert_eq!(refused(None, Some(&missing.join("below"))), Errno::ENOENT);
    assert_eq!(refused(Some(dir.path()), None), Errno::EINVAL, "a directory");
    assert_eq!(refused(None, Some(dir.path())), Errno(21), "EISDIR");
    assert_eq!(refused(Some(Path::new("/dev/zero")), None), Errno::EINVAL);
    assert_eq!(refused(None, Some(Path::new("/dev/null"))), Errno::EINVAL);
    let long = dir.path().join("long");
    std::fs::File::create(&long).unwrap().set_len((1 << 30) + 1).unwrap();
    assert_eq!(refused(Some(&long), None), Errno::EFBIG);
    let path = file(&dir, &pcap_of(&frames([60]), false, 0xa1b2_c3d4));
    assert_eq!(refused(Some(&path), Some(&path)), Errno::EINVAL, "onto itself");
    assert!(create(&attributes(Some(&path), None, 0)).is_ok(), "and the input is still whole");
}

#[test]
fn a_full_disk_is_tx_errors_and_leaves_a_whole_file() {
    let disk = SmallDisk::mount();
    let out = disk.0.path().join("out.pcap");
    let port = create(&attributes(None, Some(&out), 0)).unwrap();
    let all = frames([1000; 32]);
    let mut lost = 0;
    for _ in 0..4 {
        lost += send(&port, &all).get(DropReason::TxError);
    }
    let stats = port.stats();
    assert!(lost > 0 && stats.tx_packets > 0, "{stats:?}");
    assert_eq!((stats.tx_errors, stats.tx_packets + lost), (lost, 128));
    let copy = create(&attributes(Some(&out), None, 1)).unwrap();
    let (mut pool, mut replayed) = (Pool::new(), 0);
    loop {
        match receive(&copy, &mut pool).len() {
            0 => break,
            n => replayed += n as u64,
        }
    }
    assert_eq!(replayed, stats.tx_packets, "what is counted as sent is in the file");
    std::fs::write(disk.0.path().join("rest"), vec![0; 1 << 20]).unwrap_err();
    let next = disk.0.path().join("next.pcap");
    assert_eq!(create(&attributes(None, Some(&next), 0)).unwrap_err(), Errno::ENOSPC);
    assert!(!next.exists(), "nothing is left behind");
}

/// A file system of 64 KiB; needs root, as these tests do elsewhere.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let dir = TempDir::new().unwrap();
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "portway-test"])
            .arg(dir.path())
            .status();
        assert!(done.unwrap().success(), "mounting a tmpfs needs root");
        Self(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// How fast the generator is; a figure in release builds, a smoke test otherwise.
#[test]
fn the_generator_is_fast() {
    let dir = TempDir::new().unwrap();
    let batches = if cfg!(debug_assertions) { 1_000 } else { 1_000_000 };
    for count in [1, 1000, 100_000] {
        let path = file(&dir, &pcap_of(&frames(vec![60; count]), false, 0xa1b2_c3d4));
        let port = create(&attributes(Some(&path), None, 0)).unwrap();
        let (mut pool, mut batch) = (Pool::new(), Batch::new());
        let start = std::time::Instant::now();
        for _ in 0..batches {
            port.rx(0, 0, &mut pool, &mut batch, &mut DropCounts::default()).unwrap();
            pool.as_ref().give_all(&mut batch);
        }
        let packets = (batches * BATCH_MAX) as f64;
        assert_eq!(port.stats().rx_packets, packets as u64);
        eprintln!("{count} frames: {:.1} Mpps", packets / start.elapsed().as_secs_f64() / 1e6);
    }
}
