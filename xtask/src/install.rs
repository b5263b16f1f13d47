// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask install`: programs, port types, systemd unit, man pages and completions, where Linux expects them.

use crate::product::{self, program};
use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where to.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Put everything below this folder, as a package builder wants it
    #[arg(long, value_name = "DIR", default_value = "/")]
    destdir: PathBuf,
}

/// Builds and installs. A configuration file that is there stays as it is.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.destdir == Path::new("/") && !process::is_root() {
        bail!("installing into / needs root; --destdir DIR does not");
    }
    product::build(&["portwayd", "portway", "portway-preload"])?;
    let target = Target { root: options.destdir.clone() };
    target.copy(&program("portwayd"), "usr/sbin/portwayd", 0o755)?;
    target.copy(&program("portway"), "usr/bin/portway", 0o755)?;
    product::lay_out_modules(&target.folder("usr/lib/portway/modules")?)?;

    let dist = workspace::root().join("dist");
    // The drop-in that has Debian's openvswitch-switch use these is for the user to put in place: dist/openvswitch.
    target.copy(&program("libportway_netlink.so"), "usr/lib/portway/libportway_netlink.so", 0o644)?;
    target.copy(&dist.join("openvswitch/modprobe"), "usr/lib/portway/openvswitch/modprobe", 0o755)?;
    for page in ["README.md", "ovs-vswitchd.conf"] {
        target.copy(
            &dist.join("openvswitch").join(page),
            &format!("usr/share/doc/portway/openvswitch/{page}"),
            0o644,
        )?;
    }
    target.copy(&dist.join("portwayd.service"), "usr/lib/systemd/system/portwayd.service", 0o644)?;
    if !target.root.join("etc/portway/portway.toml").exists() {
        target.copy(&dist.join("portway.toml"), "etc/portway/portway.toml", 0o644)?;
    }
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        target.copy(&workspace::root().join(licence), &format!("usr/share/doc/portway/{licence}"), 0o644)?;
    }
    man_pages(&target, &dist)?;
    completions(&target)?;
    println!("installed below {}", target.root.display());
    Ok(())
}

/// The pages of `portway` are made by itself; those of the daemon and its configuration are written by hand.
fn man_pages(target: &Target, dist: &Path) -> Result<()> {
    let folder = target.folder("usr/share/man/man8")?;
    process::run(
        Command::new(program("portway")).arg("man").arg(&folder).stdout(std::process::Stdio::null()),
    )?;
    target.copy(&dist.join("man/portwayd.8"), "usr/share/man/man8/portwayd.8", 0o644)?;
    target.copy(&dist.join("man/portway.toml.5"), "usr/share/man/man5/portway.toml.5", 0o644)
}

fn completions(target: &Target) -> Result<()> {
    for (shell, file) in [
        ("bash", "usr/share/bash-completion/completions/portway"),
        ("zsh", "usr/share/zsh/vendor-completions/_portway"),
        ("fish", "usr/share/fish/vendor_completions.d/portway.fish"),
    ] {
        let script = process::capture(Command::new(program("portway")).args(["completion", shell]))?;
        target.write(file, &script)?;
    }
    Ok(())
}

/// The tree that is installed into.
struct Target {
    root: PathBuf,
}

impl Target {
    fn folder(&self, path: &str) -> Result<PathBuf> {
        let folder = self.root.join(path);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    }

    /// A place for a file, its folder made. A file that is there is taken away rather than written over: a program
    /// that runs from it keeps its own.
    fn place(&self, path: &str) -> Result<PathBuf> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let file = self.folder(folder)?.join(name);
        let _ = fs::remove_file(&file);
        Ok(file)
    }

    fn copy(&self, from: &Path, to: &str, mode: u32) -> Result<()> {
        let file = self.place(to)?;
        fs::copy(from, &file).with_context(|| format!("{} to {}", from.display(), file.display()))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    fn write(&self, to: &str, text: &str) -> Result<()> {
        let file = self.place(to)?;
        fs::write(&file, text).with_context(|| file.display().to_string())?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_land_with_their_folders_and_modes_and_replace_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        let target = Target { root: root.path().to_owned() };
        target.write("usr/share/a", "old").unwrap();
        let before = fs::File::open(root.path().join("usr/share/a")).unwrap();
        target.copy(&workspace::root().join("LICENSE-MIT"), "usr/share/a", 0o755).unwrap();
        let now = fs::metadata(root.path().join("usr/share/a")).unwrap();
        assert_eq!(now.permissions().mode() & 0o777, 0o755);
        assert!(now.len() > 100);
        assert_eq!(std::io::read_to_string(before).unwrap(), "old", "who had it open keeps it");
    }

    #[test]
    fn what_the_unit_and_the_pages_name_is_what_is_installed() {
        let dist = |name: &str| fs::read_to_string(workspace::root().join("dist").join(name)).unwrap();
        assert!(
            dist("portwayd.service")
                .contains("ExecStart=/usr/sbin/portwayd --config /etc/portway/portway.toml\n")
        );
        assert!(dist("man/portwayd.8").contains("/usr/lib/portway/modules"));
    }

    /// The words that follow each of `marks` in a source file, up to the next quote or end of word.
    fn words_after(source: &str, marks: &[&str]) -> Vec<String> {
        let text = fs::read_to_string(workspace::root().join(source)).unwrap();
        let starts = marks.iter().flat_map(|mark| text.match_indices(mark).map(|(at, mark)| at + mark.len()));
        let word =
            |start: usize| text[start..].split(|next: char| !next.is_alphanumeric() && next != '_').next();
        starts.filter_map(word).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn the_pages_know_every_option_and_every_key() {
        let page = |name: &str| fs::read_to_string(workspace::root().join("dist/man").join(name)).unwrap();
        let options = words_after("bin/portwayd/src/args.rs", &["    pub(crate) "]);
        assert!(options.len() >= 7, "{options:?}");
        for option in options {
            let written = format!("\\-\\-{}", option.replace('_', "\\-"));
            assert!(page("portwayd.8").contains(&written), "portwayd.8 lacks {written}");
        }
        let marks = [".string(\"", ".number(\"", ".numbers(\"", ".table(\"", ".tables(\"", "number(\""];
        let keys = words_after("bin/portwayd/src/config/read.rs", &marks);
        assert!(keys.len() >= 12, "{keys:?}");
        for key in keys {
            assert!(page("portway.toml.5").contains(&key), "portway.toml.5 lacks {key}");
        }
    }
}
