// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fuzz targets' bodies, for a fixed number of runs: the kept cases, then random ones of printed seeds.
#![forbid(unsafe_code)]

use std::path::Path;

use portway_regress::netlink::World;
use portway_regress::{actions, frame, netlink, random, tunnel};

/// The kept cases of a target.
fn cases(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(target);
    let entries = std::fs::read_dir(&folder).unwrap();
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())
    };
    let all: Vec<_> = entries.map(read).collect();
    assert!(!all.is_empty(), "{} has no cases", folder.display());
    all
}

/// Runs a body with its seed named, should it panic.
fn runs(target: &str, seeds: std::ops::Range<u64>, len_max: usize, mut body: impl FnMut(&[u8])) {
    for seed in seeds {
        let data = random(seed, seed as usize % len_max + 1);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&data)));
        assert!(run.is_ok(), "{target}: seed {seed}, {} bytes", data.len());
    }
}

#[test]
fn netlink_cases() {
    for (name, data) in cases("netlink") {
        let mut world = World::new();
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            netlink::fuzz_one(&data, &mut world);
            // The world is as good as before.
            netlink::fuzz_one(&data, &mut world);
        }));
        assert!(run.is_ok(), "case {name}");
    }
}

#[test]
fn netlink_at_random() {
    let mut world = World::new();
    let mut made = 0;
    runs("netlink", 0..20_000, 900, |data| {
        let before = world.flows();
        netlink::fuzz_one(data, &mut world);
        made += world.flows().saturating_sub(before);
    });
    assert!(made > 20, "{made} flows were made: the requests are not all nonsense");
}

/// Every kept case, cut anywhere and with each byte changed.
#[test]
fn netlink_cases_cut_and_changed() {
    let mut world = World::new();
    for (_, data) in cases("netlink").iter().filter(|(_, data)| data.len() < 2000) {
        for at in 0..data.len() {
            netlink::fuzz_one(&data[..at], &mut world);
            let mut changed = data.clone();
            changed[at] ^= 1 << (at % 8);
            netlink::fuzz_one(&changed, &mut world);
        }
    }
}

/// Outer packets at random, and every kept one cut anywhere and with each byte changed.
#[test]
fn tunnels() {
    for (_, data) in cases("tunnel") {
        tunnel::fuzz_one(&data);
        for at in 0..data.len() {
            tunnel::fuzz_one(&data[..at]);
            for bit in 0..8 {
                let mut changed = data.clone();
                changed[at] ^= 1 << bit;
                tunnel::fuzz_one(&changed);
            }
        }
    }
    runs("tunnel", 0..200_000, 300, tunnel::fuzz_one);
}

/// Lists of actions at random, done to the frames of the kept cases.
#[test]
fn lists_of_actions() {
    let frames = cases("frame");
    for (name, data) in cases("actions") {
        assert!(actions::fuzz_one(&data), "{name} is a list that can be done");
    }
    let mut done = 0;
    runs("actions", 0..100_000, 200, |data| {
        let frame = &frames[usize::from(data[0]) % frames.len()].1;
        done += usize::from(actions::fuzz_one(&[data, frame].concat()));
    });
    assert!(done > 1000, "{done} lists were done: they are not all nonsense");
}

#[test]
fn frames_and_texts() {
    for (_, data) in cases("frame") {
        frame::fuzz_one(&data);
    }
    runs("frame", 0..200_000, 200, frame::fuzz_one);
    let texts = cases("text");
    for (_, text) in &texts {
        frame::fuzz_text(text);
    }
    runs("text", 0..50_000, 40, |data| {
        let mut text = texts[usize::from(data[0]) % texts.len()].1.clone();
        for change in data[1..].chunks_exact(3) {
            let at = (usize::from(change[0]) << 8 | usize::from(change[1])) % text.len();
            text[at] = change[2] & 0x7f;
        }
        frame::fuzz_text(&text);
    });
}
