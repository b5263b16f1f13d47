// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counting tests over several runners from the lines that they print.

/// Tests counted so far.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) passed: usize,
    pub(super) failed: usize,
    /// Left out by the runner: marked `ignore`.
    pub(super) ignored: usize,
}

impl Summary {
    /// Takes a line of a runner's output; counts if it is a summary.
    ///
    /// - libtest: `test result: ok. 12 passed; 0 failed; 1 ignored; ...`
    /// - nextest: `     Summary [   0.2s] 12 tests run: 11 passed (1 slow), 1 failed, 1 timed out, 2 skipped`
    pub(super) fn take(&mut self, line: &str) {
        let counts = if let Some(counts) = line.strip_prefix("test result: ") {
            counts.split_once(". ").map_or(counts, |(_, counts)| counts)
        } else if line.trim_start().starts_with("Summary [") {
            line.split_once(" run: ").map_or("", |(_, counts)| counts)
        } else {
            return;
        };
        for part in counts.split([',', ';']) {
            self.add(part.trim());
        }
    }

    /// Takes a line of the conformance runner's table, `vport   17/37   378/447   ...`: its scenarios are tests.
    pub(super) fn take_area(&mut self, line: &str) {
        let mut columns = line.split_whitespace();
        let (Some(_), Some(scenarios), Some(steps)) = (columns.next(), columns.next(), columns.next()) else {
            return;
        };
        let pair = |text: &str| -> Option<(usize, usize)> {
            let (matched, all) = text.split_once('/')?;
            Some((matched.parse().ok()?, all.parse().ok()?))
        };
        if let (Some((matched, all)), Some(_)) = (pair(scenarios), pair(steps)) {
            self.passed += matched;
            self.failed += all.saturating_sub(matched);
        }
    }

    fn add(&mut self, part: &str) {
        let Some((count, kind)) = part.split_once(' ') else { return };
        let Ok(count) = count.parse::<usize>() else { return };
        match kind.split(" (").next().unwrap_or(kind) {
            "passed" => self.passed += count,
            "failed" | "timed out" | "exec failed" => self.failed += count,
            "ignored" | "skipped" => self.ignored += count,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lines: &[&str]) -> Summary {
        let mut summary = Summary::default();
        lines.iter().for_each(|line| summary.take(line));
        summary
    }

    #[test]
    fn lines_of_each_runner_are_understood() {
        let libtest = "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out";
        assert_eq!(taken(&[libtest]), Summary { passed: 12, failed: 2, ignored: 1 });
        let nextest =
            "Summary [0.04s] 9 tests run: 5 passed (1 slow), 2 failed, 1 timed out, 1 exec failed, 4 skipped";
        assert_eq!(taken(&[nextest]), Summary { passed: 5, failed: 4, ignored: 4 });
    }

    #[test]
    fn areas_of_the_conformance_table_are_counted() {
        let mut summary = Summary::default();
        summary.take_area("area       scenarios   steps matched  excused");
        summary.take_area("vport          17/37         378/447      108                 10           34");
        summary.take_area("excused, 12 steps: upcalls by CPU");
        assert_eq!(summary, Summary { passed: 17, failed: 20, ignored: 0 });
    }

    #[test]
    fn counts_add_up_and_other_lines_do_not() {
        let line = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        // nextest repeats the output of a failed test, indented
        assert_eq!(
            taken(&[line, "test a ... 5 failed", "    test result: FAILED. 0 passed; 1 failed", line]),
            Summary { passed: 2, failed: 0, ignored: 0 }
        );
    }
}
