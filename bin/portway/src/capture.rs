// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `portway capture`: pcapng from the daemon to a file, a pipe, or through tcpdump to the screen.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use portway_api::{Client, Request};

use crate::Error;
use crate::args::Capture;

/// Longer blocks than this are not from portwayd.
const BLOCK_MAX: usize = 1 << 20;
const ENHANCED_PACKET: u32 = 6;

/// Captures until interrupted, or until enough packets came.
pub(crate) fn run(socket: &Path, args: &Capture) -> Result<(), Error> {
    let request = Request::Capture {
        port: args.port.clone(),
        netns: args.netns.netns.clone(),
        snap_len: args.snap_len,
    };
    // The daemon is asked first: a file is not overwritten for a port that is not there.
    let mut stream = BufReader::with_capacity(1 << 16, Client::connect(socket)?.capture(&request)?);
    let mut viewer = None;
    let mut output: Box<dyn Write> = match args.write.as_deref() {
        Some(path) if path == Path::new("-") => Box::new(io::stdout()),
        Some(path) => Box::new(
            File::create(path)
                .map_err(|error| Error::Local(format!("cannot write {}: {error}", path.display()), None))?,
        ),
        None if !io::stdout().is_terminal() => Box::new(io::stdout()),
        None => {
            let (child, input) = tcpdump()?;
            viewer = Some(child);
            input
        }
    };
    let copied = copy(&mut stream, &mut output, args.count);
    drop(output);
    if let Some(mut child) = viewer {
        // Its exit status says nothing about the capture.
        let _ = child.wait();
    }
    copied
}

fn tcpdump() -> Result<(Child, Box<dyn Write>), Error> {
    let mut child =
        Command::new("tcpdump").args(["-e", "-nn", "-l", "-r", "-"]).stdin(Stdio::piped()).spawn();
    let input = child.as_mut().ok().and_then(|child| child.stdin.take());
    match (child, input) {
        (Ok(child), Some(input)) => Ok((child, Box::new(input))),
        (Ok(_), None) | (Err(_), _) => Err(Error::Local(
            "tcpdump is needed to show packets and cannot be run".to_owned(),
            Some("install tcpdump, or write a file: portway capture PORT -w file.pcapng".to_owned()),
        )),
    }
}

/// Copies whole blocks, so that a file is complete whenever the capture ends; flushes when the daemon has no more for now.
fn copy(stream: &mut BufReader<impl Read>, output: &mut dyn Write, count: Option<u64>) -> Result<(), Error> {
    let mut left = count;
    let mut block = Vec::new();
    while left != Some(0) {
        let Some(kind) = read_block(stream, &mut block)? else { return Ok(()) };
        if let Err(error) = output.write_all(&block).and_then(|()| output.flush()) {
            let is_over = error.kind() == io::ErrorKind::BrokenPipe;
            return if is_over { Ok(()) } else { Err(Error::output(&error)) };
        }
        if kind == ENHANCED_PACKET {
            left = left.map(|left| left - 1);
        }
    }
    Ok(())
}

/// Reads one block and returns its type; `None` at the end.
fn read_block(stream: &mut impl Read, block: &mut Vec<u8>) -> Result<Option<u32>, Error> {
    let broken = |error| Error::Client(portway_api::ClientError::Broken(error));
    block.resize(8, 0);
    match stream.read_exact(block) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(broken(error)),
    }
    let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let (kind, len) = (word(0), word(4) as usize);
    if !(12..=BLOCK_MAX).contains(&len) {
        return Err(Error::Local("what portwayd sends is not a capture".to_owned(), None));
    }
    block.resize(len, 0);
    stream.read_exact(&mut block[8..]).map_err(broken)?;
    Ok(Some(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portway_api::pcapng::{self, Direction};

    fn capture(packets: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        pcapng::start(&mut bytes, "p", 0);
        for _ in 0..packets {
            pcapng::packet(&mut bytes, 1, Direction::In, &[1; 61], 61);
        }
        bytes
    }

    fn copied(bytes: &[u8], count: Option<u64>) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        copy(&mut BufReader::new(bytes), &mut out, count).map(|()| out)
    }

    #[test]
    fn stops_after_the_wanted_packets() {
        assert_eq!(copied(&capture(5), None).unwrap(), capture(5));
        assert_eq!(copied(&capture(5), Some(2)).unwrap(), capture(2));
        assert_eq!(copied(&capture(1), Some(9)).unwrap(), capture(1));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(copied(&[0; 64], None).is_err());
        let whole = capture(1);
        assert!(copied(&whole[..whole.len() - 1], None).is_err());
    }
}
