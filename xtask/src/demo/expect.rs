// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the demo expects to see: each expectation is told as it is met or not, and the sum decides.

use anyhow::{Result, bail};

/// The expectations so far.
#[derive(Default)]
pub(super) struct Expectations {
    met: usize,
    failed: Vec<String>,
}

impl Expectations {
    /// Notes one and tells it.
    pub(super) fn that(&mut self, holds: bool, what: impl Into<String>) {
        let what = what.into();
        println!("  {} {what}", if holds { "ok  " } else { "FAIL" });
        if holds {
            self.met += 1;
        } else {
            self.failed.push(what);
        }
    }

    /// The sum: an error names what was not met.
    pub(super) fn conclude(self) -> Result<usize> {
        match self.failed.len() {
            0 => Ok(self.met),
            count => bail!("{count} expectations not met: {}", self.failed.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_decides() {
        let mut expectations = Expectations::default();
        expectations.that(true, "water is wet");
        assert_eq!(Expectations { met: expectations.met, failed: Vec::new() }.conclude().unwrap(), 1);
        expectations.that(false, "pigs fly");
        assert!(
            expectations.conclude().unwrap_err().to_string().contains("1 expectations not met: pigs fly")
        );
    }
}
