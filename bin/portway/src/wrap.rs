// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `portway wrap`: runs a stock Open vSwitch program with its netlink sockets on portwayd.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

const LIBRARY: &str = "libportway_netlink.so";
/// Where packages put it, seen from the folder of this program (`/usr/bin`, `/usr/sbin`).
const LIBRARY_FOLDER: &str = "../lib/portway";
/// Where portwayd's netlink socket is, beside its control socket.
const SOCKET: &str = "netlink.sock";
/// How the library is told.
const SOCKET_VARIABLE: &str = "PORTWAY_SOCKET";
const PRELOAD_VARIABLE: &str = "LD_PRELOAD";

/// Becomes the command; returns only if that fails.
pub(crate) fn run(control_socket: &Path, command: &[OsString]) -> Result<(), Error> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Error::Local("there is no command to run".to_owned(), None));
    };
    let library = library(&own_folder()?)?;
    let socket = env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty());
    let socket = socket.map_or_else(|| beside(control_socket), PathBuf::from);
    let error = Command::new(program)
        .args(arguments)
        .env(PRELOAD_VARIABLE, preload(&library, env::var_os(PRELOAD_VARIABLE)))
        .env(SOCKET_VARIABLE, socket)
        .exec();
    Err(Error::Local(format!("cannot run {}: {error}", program.display()), None))
}

fn beside(control_socket: &Path) -> PathBuf {
    control_socket.with_file_name(SOCKET)
}

fn own_folder() -> Result<PathBuf, Error> {
    let program = env::current_exe()
        .map_err(|error| Error::Local(format!("cannot tell where this program is: {error}"), None))?;
    Ok(program.parent().unwrap_or(Path::new("/")).to_owned())
}

/// The library beside the program, as a build leaves it, or where packages put it.
fn library(own_folder: &Path) -> Result<PathBuf, Error> {
    let places = [own_folder.join(LIBRARY), own_folder.join(LIBRARY_FOLDER).join(LIBRARY)];
    if let Some(found) = places.iter().find(|place| place.is_file()) {
        let found = found.canonicalize().unwrap_or_else(|_| found.clone());
        // The loader takes these as the end of a name.
        return if found.as_os_str().as_encoded_bytes().iter().any(|byte| matches!(byte, b' ' | b':')) {
            let message = format!("LD_PRELOAD cannot name {}: a space or a colon is in it", found.display());
            Err(Error::Local(message, Some("Install it in another folder.".to_owned())))
        } else {
            Ok(found)
        };
    }
    let message = format!("{LIBRARY} is neither at {} nor at {}", places[0].display(), places[1].display());
    Err(Error::Local(
        message,
        Some("Build it with `cargo build --release`, or install the package again.".to_owned()),
    ))
}

/// The library before what is preloaded already.
fn preload(library: &Path, already: Option<OsString>) -> OsString {
    let mut value = library.as_os_str().to_owned();
    if let Some(already) = already.filter(|already| !already.is_empty()) {
        value.push(OsStr::new(":"));
        value.push(already);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_beside_or_in_the_library_folder() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        let lib = root.path().join("lib/portway");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(&lib).unwrap();
        let Err(Error::Local(message, Some(_))) = library(&bin) else { panic!("found") };
        assert!(message.contains("libportway_netlink.so") && message.contains("lib/portway"), "{message}");
        std::fs::write(lib.join(LIBRARY), "").unwrap();
        let root = root.path().canonicalize().unwrap();
        assert_eq!(library(&bin).unwrap(), root.join("lib/portway").join(LIBRARY));
        std::fs::write(bin.join(LIBRARY), "").unwrap();
        assert_eq!(library(&bin).unwrap(), root.join("bin").join(LIBRARY));
        let spaced = root.join("a b");
        std::fs::create_dir(&spaced).unwrap();
        std::fs::write(spaced.join(LIBRARY), "").unwrap();
        assert!(library(&spaced).is_err());
    }

    #[test]
    fn what_is_preloaded_already_stays() {
        let library = Path::new("/x/lib.so");
        assert_eq!(preload(library, None), "/x/lib.so");
        assert_eq!(preload(library, Some(OsString::new())), "/x/lib.so");
        assert_eq!(preload(library, Some("/y.so".into())), "/x/lib.so:/y.so");
        assert_eq!(beside(Path::new("/run/portway/portwayd.sock")), Path::new("/run/portway/netlink.sock"));
    }
}
