// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is wrong with a config file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Byte offset into the file.
    pub(crate) at: usize,
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) remedy: String,
}

impl Problem {
    pub(crate) fn new(at: usize, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { at, message: message.into(), remedy: remedy.into() }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file has mistakes.
    #[error("{0}")]
    Mistakes(Mistakes),
}

/// The mistakes of one file, in its order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistakes {
    path: PathBuf,
    /// Line, column, mistake; both from 1, columns in characters.
    found: Vec<(usize, usize, Problem)>,
}

impl Mistakes {
    pub(crate) fn new(path: &Path, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.at);
        let found = problems.into_iter().map(|problem| {
            let (line, column) = place(text, problem.at);
            (line, column, problem)
        });
        Self { path: path.to_owned(), found: found.collect() }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (line, column, problem)) in self.found.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let path = self.path.display();
            write!(f, "{path}:{line}:{column}: {}\n    remedy: {}", problem.message, problem.remedy)?;
        }
        Ok(())
    }
}

/// Line and column of a byte offset.
pub(crate) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

pub(super) fn not_utf8(path: &Path, valid: &str) -> ConfigError {
    let problem = Problem::new(valid.len(), "this byte is not UTF-8 text", "save the file as UTF-8");
    ConfigError::Mistakes(Mistakes::new(path, valid, vec![problem]))
}
