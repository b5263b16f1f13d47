// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is logged: to the standard error, through a filter that a reload may replace.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::args::Args;
use crate::config::Config;

/// What is logged if nobody says otherwise.
const DEFAULT: &str = "info";

/// A text that is no filter.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a log filter: {reason}; give a level like info, or: warn,portwayd=debug")]
pub(crate) struct NotAFilter {
    text: String,
    reason: String,
}

/// The log of this process.
pub(crate) struct Log {
    /// From `--log`, which goes before the config file.
    asked: Option<String>,
    replace: Box<dyn Fn(EnvFilter) + Send + Sync>,
}

impl Log {
    /// What the command line or the config file wants to be logged.
    pub(crate) fn filter(asked: Option<&str>, config: &Config) -> Result<EnvFilter, NotAFilter> {
        let text = asked.or(config.log.as_deref()).unwrap_or(DEFAULT);
        EnvFilter::try_new(text)
            .map_err(|error| NotAFilter { text: text.to_owned(), reason: error.to_string() })
    }

    /// Begins to log.
    pub(crate) fn begin(args: &Args, filter: EnvFilter) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let log = log.with_ansi(is_terminal).with_target(false).with_filter_reloading();
        let handle = log.reload_handle();
        log.init();
        let replace = move |filter| {
            // It fails only if the log has gone, which lives as long as the process.
            let _ = handle.reload(filter);
        };
        Self { asked: args.log.clone(), replace: Box::new(replace) }
    }

    /// The filter for a config file that is read again.
    pub(crate) fn filter_for(&self, config: &Config) -> Result<EnvFilter, NotAFilter> {
        Self::filter(self.asked.as_deref(), config)
    }

    /// Logs through another filter from now on.
    pub(crate) fn replace(&self, filter: EnvFilter) {
        (self.replace)(filter);
    }
}
