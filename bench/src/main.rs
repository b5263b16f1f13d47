// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `portway-bench`: measures the datapath in memory, through its real parts: a pcap port delivers each packet as a fresh copy in a
//! buffer of its own, workers find its flow and run its actions, a null port's transmit call takes it. Prints JSON.
//!
//! `cargo xtask bench` runs it, and the peers, and compares.

#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "an allocator that counts is unsafe by its trait")]
mod allocations;
mod exchange;
mod forward;
mod frames;
mod ports;
mod reflect;
mod rig;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures the datapath in memory.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Forwards a capture file, endlessly, from one port to another, and counts.
    Forward(forward::Forward),
    /// The same with many masks live and packets that spread over them.
    Masks(forward::Masks),
    /// Counts memory allocations while packets are forwarded.
    Allocations,
    /// Adds ports, looks each one up, deletes them.
    Ports {
        /// How many.
        #[arg(long, default_value_t = 100_000)]
        count: usize,
    },
    /// Answers datagrams, for `ask`.
    Answer(exchange::Answer),
    /// Exchanges datagrams, each between two ports of its own, and counts.
    Ask(exchange::Ask),
    /// Looks ports up by name while another thread adds and deletes.
    Lookups,
}

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

#[expect(clippy::print_stdout, reason = "this program's purpose is to print")]
fn main() -> Result<()> {
    let figures = match Arguments::parse().command {
        Command::Forward(forward) => forward.run()?,
        Command::Masks(masks) => masks.run()?,
        Command::Answer(answer) => answer.run()?,
        Command::Ask(ask) => ask.run()?,
        Command::Allocations => allocations::measure()?,
        Command::Ports { count } => ports::measure(count)?,
        Command::Lookups => ports::lookups()?,
    };
    println!("{figures}");
    Ok(())
}
