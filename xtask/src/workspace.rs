// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where things are: the workspace's root, the build folder, which packages exist.

use std::path::{Path, PathBuf};

/// The root of the source tree that this program was built from.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// The build folder that cargo uses for this tree.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Whether the tree has a package in this folder (relative to the root).
pub(crate) fn has_package(folder: &str) -> bool {
    root().join(folder).join("Cargo.toml").is_file()
}
