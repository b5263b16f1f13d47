// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Building what is to be shown or measured: the release programs and the port types.

use crate::process::{self, cargo};
use crate::workspace;
use anyhow::{Context, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Port types by folder and number: a module file is found by its number (`vport-type-1.so`).
const PORT_TYPES: &[(&str, u32)] = &[
    ("netdev", 1),
    ("internal", 2),
    ("gre", 3),
    ("vxlan", 4),
    ("geneve", 5),
    ("null", 1000),
    ("pcap", 1001),
];

/// Builds `packages` and every port type there is, with optimisation.
pub(crate) fn build(packages: &[&str]) -> Result<()> {
    process::run(with_port_types(&mut cargo(["build", "--release"]), packages))
}

/// Lets `command` build `packages` and every port type there is.
pub(crate) fn with_port_types<'c>(command: &'c mut Command, packages: &[&str]) -> &'c mut Command {
    let port_types = port_types().map(|(name, _)| format!("vport-{name}"));
    for package in packages.iter().map(|&package| package.to_owned()).chain(port_types) {
        command.args(["--package", &package]);
    }
    command
}

/// A program that [`build`] made.
pub(crate) fn program(name: &str) -> PathBuf {
    workspace::target_dir().join("release").join(name)
}

/// Puts the port types into `folder` under the names that the daemon looks for.
pub(crate) fn lay_out_modules(folder: &Path) -> Result<()> {
    lay_out_built("release", folder)
}

/// The same with those built for `profile`, as far as they are.
pub(crate) fn lay_out_built(profile: &str, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (name, number) in port_types() {
        let built = workspace::target_dir().join(profile).join(format!("libvport_{name}.so"));
        if built.exists() {
            let file = folder.join(format!("vport-type-{number}.so"));
            // A file that a daemon has mapped must not change under it.
            let _ = std::fs::remove_file(&file);
            std::fs::copy(&built, &file)?;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

fn port_types() -> impl Iterator<Item = (&'static str, u32)> {
    PORT_TYPES.iter().copied().filter(|(name, _)| workspace::has_package(&format!("modules/vport-{name}")))
}
