// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `portway`: looks at a running switch and changes it. Speaks to `portwayd` over its control socket and knows nothing
//! of the switch itself.
#![forbid(unsafe_code)]

mod args;
mod ask;
mod capture;
mod generate;
mod print;
mod table;
mod wrap;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// Why the command failed.
#[derive(Debug)]
pub(crate) enum Error {
    /// The daemon refused or is not there.
    Client(portway_api::ClientError),
    /// Something here failed: what, and the remedy.
    Local(String, Option<String>),
}

impl From<portway_api::ClientError> for Error {
    fn from(error: portway_api::ClientError) -> Self {
        Self::Client(error)
    }
}

impl Error {
    /// A write to the standard output failed.
    pub(crate) fn output(error: &io::Error) -> Self {
        Self::Local(format!("cannot write the output: {error}"), None)
    }

    fn message(&self) -> (String, Option<String>) {
        match self {
            Self::Client(error) => (error.to_string(), error.remedy()),
            Self::Local(message, remedy) => (message.clone(), remedy.clone()),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&args, &error);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Error> {
    match &args.command {
        Command::Completion { shell } => generate::completion(*shell),
        Command::Man { folder } => generate::man(folder.as_deref()),
        Command::Capture(capture) => capture::run(&args.socket, capture),
        Command::Wrap { command } => wrap::run(&args.socket, command),
        Command::Show
        | Command::Bridge(_)
        | Command::Port(_)
        | Command::Flow(_)
        | Command::Module(_)
        | Command::Drops { .. }
        | Command::Reload => ask::run(args),
    }
}

fn report(args: &Args, error: &Error) {
    let (message, remedy) = error.message();
    let text = if args.json {
        let body = match error {
            Error::Client(portway_api::ClientError::Refused(failure)) => {
                serde_json::json!({ "error": failure })
            }
            Error::Client(_) | Error::Local(..) => {
                serde_json::json!({ "error": { "message": message, "remedy": remedy } })
            }
        };
        format!("{body}\n")
    } else {
        let remedy = remedy.map(|remedy| format!("  {remedy}\n")).unwrap_or_default();
        format!("portway: {message}\n{remedy}")
    };
    // Nobody is left to tell if the standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}
