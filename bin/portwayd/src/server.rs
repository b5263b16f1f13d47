// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control socket: a Unix socket for root and for the daemon's own user, one line of JSON for each request and reply.
//!
//! Limits: [`CLIENTS_MAX`] connections, [`portway_api::REQUEST_MAX`] bytes of a request, [`IDLE`] without one. Whoever is over
//! a limit is told so; nobody else notices.

use std::fs::Permissions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use portway_api::{Failure, FailureKind, REQUEST_MAX, Reply, Request, Response, SOCKET_NAME};
use rustix::net::sockopt::socket_peercred;

use crate::capture;
use crate::control::Control;

/// Connections at a time.
const CLIENTS_MAX: usize = 64;
/// A connection without a request for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// A client that does not read its reply for so long is left.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// The listening socket; its file goes when this value does.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Makes the socket. The folder is locked by this daemon, so a socket that is there is left over.
    pub(crate) fn bind(folder: &Path) -> io::Result<Self> {
        let path = folder.join(SOCKET_NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// A second handle for the thread that accepts.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already if somebody cleaned up.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Serves clients, each in a thread, for as long as the process lives.
pub(crate) fn serve(listener: &UnixListener, control: &Arc<Control>) {
    let clients = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: it gets better when clients leave.
                tracing::warn!("cannot accept a client: {error}");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let place = Place::take(&clients);
        let control = Arc::clone(control);
        let client = move || serve_client(stream, place.as_ref(), &control);
        if let Err(error) = thread::Builder::new().name("client".to_owned()).spawn(client) {
            tracing::warn!("cannot serve a client: {error}");
        }
    }
}

/// One of the [`CLIENTS_MAX`] places.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(clients: &Arc<AtomicUsize>) -> Option<Self> {
        let room = |count: usize| (count < CLIENTS_MAX).then_some(count + 1);
        clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        Some(Self(Arc::clone(clients)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve_client(stream: UnixStream, place: Option<&Place>, control: &Control) {
    let refused = admit(&stream, place);
    if let Err(error) = converse(stream, refused, control) {
        tracing::debug!("a client's connection broke: {error}");
    }
}

/// Who may not be served, and why.
fn admit(stream: &UnixStream, place: Option<&Place>) -> Option<Failure> {
    let own = rustix::process::geteuid();
    let may = socket_peercred(stream).is_ok_and(|peer| peer.uid.is_root() || peer.uid == own);
    if !may {
        let message = "only root and the user that portwayd runs as may control it";
        return Some(Failure::new(FailureKind::Denied, message).remedy("run portway as root"));
    }
    place.is_none().then(|| {
        Failure::new(FailureKind::Limit, format!("portwayd serves {CLIENTS_MAX} clients already"))
            .remedy("try again when one of them has ended")
    })
}

fn converse(stream: UnixStream, refused: Option<Failure>, control: &Control) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(WRITE_PATIENCE))?;
    let mut reader = BufReader::new(stream);
    if let Some(failure) = refused {
        return answer(reader.get_mut(), &Response::Error(failure));
    }
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(REQUEST_MAX as u64).read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // It had its time.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        if line.last() != Some(&b'\n') {
            let message = if line.len() >= REQUEST_MAX {
                format!("the request is longer than {REQUEST_MAX} bytes")
            } else {
                "the request does not end with a newline".to_owned()
            };
            return answer(
                reader.get_mut(),
                &Response::Error(Failure::new(FailureKind::BadRequest, message)),
            );
        }
        let response = match serde_json::from_slice::<Request>(&line) {
            Ok(Request::Capture { port, netns, snap_len }) => match control.live_port(&(netns, port)) {
                Ok(port) => {
                    answer(reader.get_mut(), &Response::Ok(Reply::CaptureStarted))?;
                    return capture::run(reader.get_mut(), port, snap_len);
                }
                Err(failure) => Response::Error(failure),
            },
            Ok(request) => respond(&request, control),
            Err(error) => Response::Error(
                Failure::new(FailureKind::BadRequest, format!("the request is not understood: {error}"))
                    .remedy("compare `portway --version` with `portwayd --version`"),
            ),
        };
        answer(reader.get_mut(), &response)?;
    }
}

fn respond(request: &Request, control: &Control) -> Response {
    tracing::debug!(?request, "request");
    match catch_unwind(AssertUnwindSafe(|| control.handle(request))) {
        Ok(Ok(reply)) => Response::Ok(reply),
        Ok(Err(failure)) => Response::Error(failure),
        Err(_) => {
            tracing::error!(?request, "a request failed inside portwayd; please report this");
            let message = "portwayd failed on this request; the switch goes on";
            Response::Error(
                Failure::new(FailureKind::System, message).remedy("see portwayd's log and report it"),
            )
        }
    }
}

fn answer(stream: &mut UnixStream, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    stream.write_all(&line)
}
