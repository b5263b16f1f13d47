// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `portwayd`: the daemon. Bridges and ports from a config file, workers that forward, a control socket.
//!
//! `daemon.rs` is its life, `worker.rs` the forwarding threads, `switching.rs` the learning thread, `control/` what is wanted and what
//! is there, `server.rs` the socket. This program is the only one that makes threads.
#![forbid(unsafe_code)]

mod args;
mod capture;
mod clock;
mod config;
mod control;
mod daemon;
mod kept;
mod lock;
mod log;
mod netlink;
mod netlink_devices;
mod notify;
mod server;
mod state;
mod switching;
mod watch;
mod worker;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::Args;
use log::Log;

fn main() -> ExitCode {
    let args = Args::parse();
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if the standard error is closed.
            let _ = writeln!(std::io::stderr(), "portwayd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> anyhow::Result<()> {
    let (path, config) = daemon::read_config(args)?;
    let filter = Log::filter(args.log.as_deref(), &config)?;
    if args.check {
        let file = path.map(|path| path.display().to_string()).unwrap_or_else(|| "no config file".to_owned());
        let ports: usize = config.bridges.iter().map(|bridge| bridge.ports.len()).sum();
        writeln!(std::io::stdout(), "{file}: {} bridges, {ports} ports, no mistakes", config.bridges.len())?;
        return Ok(());
    }
    daemon::run(args, path, &config, Log::begin(args, filter))
}
