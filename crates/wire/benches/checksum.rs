// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Speed of the checksum over the lengths that matter: a header, a small and a full frame, a 64 KiB segment.

#![allow(missing_docs)] // criterion's macro makes a public function

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portway_wire::checksum;
use std::hint::black_box;

fn bench(c: &mut Criterion) {
    let data: Vec<u8> = (0..65_536u32).map(|i| (i * 31) as u8).collect();
    let mut group = c.benchmark_group("checksum");
    for len in [20, 64, 1460, 65_535] {
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("internet/{len}"), |b| {
            b.iter(|| checksum::checksum(black_box(&data[..len])));
        });
        group.bench_function(format!("crc32c/{len}"), |b| {
            b.iter(|| checksum::sctp(black_box(&data[..len])));
        });
    }
    group.finish();
    c.bench_function("checksum/update32", |b| {
        b.iter(|| checksum::update32(black_box(0x1234), black_box(0x0a00_0001), black_box(0x0a00_0002)));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
