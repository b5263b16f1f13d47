// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The client's side of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::reply::{Failure, Reply, Response};
use crate::request::Request;

/// The control socket's name in the daemon's socket folder.
pub const SOCKET_NAME: &str = "portwayd.sock";
/// Where the control socket is if nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/portway/portwayd.sock";

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no socket, or nobody listens at it.
    #[error("no portwayd answers at {path}")]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket is somebody else's.
    #[error("{path} belongs to another user")]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The conversation broke off.
    #[error("the connection to portwayd broke: {0}")]
    Broken(#[source] io::Error),
    /// The answer is not one: the daemon is of another version, or not portwayd.
    #[error("portwayd's answer is not understood: {0}")]
    NotUnderstood(#[source] serde_json::Error),
    /// The daemon refused.
    #[error(transparent)]
    Refused(#[from] Failure),
}

impl ClientError {
    /// What to do about it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::NotRunning { .. } => Some(
                "start it (systemctl start portwayd, or: portwayd --config /etc/portway/portway.toml), \
                 or name its socket with --socket"
                    .to_owned(),
            ),
            Self::Denied { .. } => {
                Some("run portway as root or as the user that portwayd runs as".to_owned())
            }
            Self::Broken(_) => Some("see portwayd's log: journalctl -u portwayd".to_owned()),
            Self::NotUnderstood(_) => Some(
                "compare `portway --version` with `portwayd --version`; restart the daemon after an update"
                    .to_owned(),
            ),
            Self::Refused(failure) => failure.remedy.clone(),
        }
    }
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// The bytes of a capture, in pcapng, until the daemon closes.
#[derive(Debug)]
pub struct Capture(BufReader<UnixStream>);

impl Client {
    /// Connects to the daemon at this socket.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|error| {
            let kind = error.kind();
            if matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
                ClientError::NotRunning { path: path.to_owned() }
            } else if kind == io::ErrorKind::PermissionDenied {
                ClientError::Denied { path: path.to_owned() }
            } else {
                ClientError::Broken(error)
            }
        })?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks, and waits for the answer.
    pub fn call(&mut self, request: &Request) -> Result<Reply, ClientError> {
        let mut line = serde_json::to_vec(request).map_err(ClientError::NotUnderstood)?;
        line.push(b'\n');
        // A daemon that refuses the connection says why before it closes: an error of the write is told only if there is no answer.
        let written = self.stream.get_mut().write_all(&line);
        let mut answer = Vec::new();
        self.stream.read_until(b'\n', &mut answer).map_err(ClientError::Broken)?;
        if answer.is_empty() {
            written.map_err(ClientError::Broken)?;
            return Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(&answer).map_err(ClientError::NotUnderstood)? {
            Response::Ok(reply) => Ok(reply),
            Response::Error(failure) => Err(ClientError::Refused(failure)),
        }
    }

    /// Asks for a capture; the connection serves nothing else from then on.
    pub fn capture(mut self, request: &Request) -> Result<Capture, ClientError> {
        self.call(request)?;
        Ok(Capture(self.stream))
    }
}

impl Read for Capture {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn says_that_nobody_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET_NAME);
        assert!(matches!(Client::connect(&path), Err(ClientError::NotRunning { .. })));
        drop(UnixListener::bind(&path).unwrap());
        let error = Client::connect(&path).unwrap_err();
        assert!(matches!(error, ClientError::NotRunning { .. }));
        assert!(error.remedy().unwrap().contains("systemctl start portwayd"));
    }

    #[test]
    fn answers_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET_NAME);
        let listener = UnixListener::bind(&path).unwrap();
        let answers =
            ["{\"ok\":{\"ports\":[]}}\n", "{\"error\":{\"kind\":\"busy\",\"message\":\"no\"}}\n", "hm\n", ""];
        let server = std::thread::spawn(move || {
            let mut asked = Vec::new();
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            for answer in answers {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                asked.push(line);
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        let mut client = Client::connect(&path).unwrap();
        let request = Request::BridgeDel { name: "br0".to_owned() };
        assert_eq!(client.call(&request).unwrap(), Reply::Ports(vec![]));
        assert!(
            matches!(client.call(&Request::Show), Err(ClientError::Refused(failure)) if failure.message == "no")
        );
        assert!(matches!(client.call(&Request::Show), Err(ClientError::NotUnderstood(_))));
        assert!(matches!(client.call(&Request::Show), Err(ClientError::Broken(_))));
        let asked = server.join().unwrap();
        assert_eq!(asked[0], "{\"request\":\"bridge-del\",\"with\":{\"name\":\"br0\"}}\n");
        assert_eq!(asked[1], "{\"request\":\"show\"}\n");
    }

    #[test]
    fn unknown_members_of_a_request_are_refused() {
        let parse = |text: &str| serde_json::from_str::<Request>(text);
        assert!(parse(r#"{"request":"bridge-add","with":{"name":"b"}}"#).is_ok());
        for bad in [
            r#"{"request":"bridge-add","with":{"name":"b","agin_s":3}}"#,
            r#"{"request":"bridge-del","with":{"name":"b","x":3}}"#,
            r#"{"request":"bridge-burn","with":{"name":"b"}}"#,
            r#"{"request":"show","also":1}"#,
            r#"{"request":"port-add","with":{"bridge":"b","port":{"name":"p","typ":"x"}}}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
