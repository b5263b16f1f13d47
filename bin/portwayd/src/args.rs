// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The daemon's command line.

use std::path::PathBuf;

use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  portwayd                                   with /etc/portway/portway.toml
  portwayd --config lab.toml --check         say what is wrong with a config file
  portwayd --config lab.toml --log debug     see what it does
  portwayd --socket-dir /tmp/pw --state-dir /tmp/pw   beside another daemon

A config file:
  [[bridge]]
  name = \"br0\"
  [[bridge.port]]
  name = \"veth1\"
  access = 10

SIGHUP or `portway reload` reads it again; SIGTERM ends the daemon and gives all devices back.";

/// Where the config file is if nobody says otherwise.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/portway/portway.toml";

/// Switches packets between network devices.
#[derive(Clone, Debug, Parser)]
#[command(name = "portwayd", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    /// The config file. Without this option a missing /etc/portway/portway.toml is an empty one.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the control socket and the lock file are made.
    #[arg(long, value_name = "DIR", default_value = "/run/portway")]
    pub(crate) socket_dir: PathBuf,
    /// Where stock OVS programs' netlink sockets connect; default: netlink.sock beside the control socket.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Where what was added at the command line is kept.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/portway")]
    pub(crate) state_dir: PathBuf,
    /// Where port types (`vport-type-NUMBER.so`) are looked for; may be repeated or separated by colons.
    #[arg(long, value_name = "DIR", value_delimiter = ':', default_value = "/usr/lib/portway/modules")]
    pub(crate) module_path: Vec<PathBuf>,
    /// Threads that forward packets; default: as the config file says, else one for each CPU that the process may use.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=crate::config::WORKERS_MAX))]
    pub(crate) workers: Option<u64>,
    /// What is logged to the standard error: error, warn, info, debug, trace, or a filter like info,portway_datapath=debug.
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Delete what netlink clients made and what was kept of it, devices included, and end. Only while no other daemon runs.
    #[arg(long)]
    pub(crate) forget: bool,
    /// Check the config file and end.
    #[arg(long)]
    pub(crate) check: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_man_page_names_every_option() {
        let page = include_str!("../../../dist/man/portwayd.8").replace("\\-", "-");
        for argument in Args::command().get_arguments().filter(|argument| argument.get_long().is_some()) {
            let option = format!("--{}", argument.get_long().unwrap_or_default());
            let named = page.lines().any(|line| {
                line.starts_with(".B") && line.contains(&format!("{option} ")) || line.ends_with(&option)
            });
            assert!(named, "portwayd.8 says nothing of {option}");
        }
        Args::command().debug_assert();
    }
}
