// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One line of the bench table: rounds, what they come to, and what they ought to.

use serde_json::{Value, json};
use std::fmt::Display;

/// What was measured for one line.
pub(super) struct Row {
    /// What it is called on the command line.
    pub(super) name: String,
    /// What was done, in words.
    pub(super) what: String,
    /// The unit of each round's figures.
    pub(super) unit: &'static str,
    /// Our figure of each round.
    pub(super) ours: Vec<f64>,
    /// The peer's name and its figure of each round; then the result is the median of ours divided by it.
    pub(super) peer: Option<(&'static str, Vec<f64>)>,
    pub(super) goal: Goal,
    /// Why there are no figures.
    pub(super) trouble: Option<String>,
}

/// What the result is held against.
#[derive(Clone, Copy)]
pub(super) enum Goal {
    /// More is better: at least the bar, better the aim.
    AtLeast { bar: f64, aim: f64 },
    /// Less is better: less than the bar, better the aim.
    Below { bar: f64, aim: f64 },
    /// Nothing but zero.
    Zero,
    /// There is no bar, only an aim not to exceed.
    Reported { aim: f64 },
}

/// How the result compares with the goal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The aim is reached.
    Aim,
    /// The bar is reached, the aim is not.
    Bar,
    /// The bar is missed, or measuring failed.
    Missed,
    /// There is no bar and the aim is not reached, or only the peer was measured.
    Reported,
}

/// Our figures, and the peer's name with its own.
pub(super) type Sides = (Vec<f64>, Option<(&'static str, Vec<f64>)>);

impl Row {
    /// A line: what was measured, or why that did not work.
    pub(super) fn new<Trouble: Display>(
        name: &str,
        what: &str,
        unit: &'static str,
        goal: Goal,
        measured: Result<Sides, Trouble>,
    ) -> Self {
        let (name, what) = (name.to_owned(), what.to_owned());
        match measured {
            Ok((ours, peer)) => Self { name, what, unit, ours, peer, goal, trouble: None },
            Err(trouble) => {
                let trouble = Some(format!("{trouble:#}"));
                Self { name, what, unit: "", ours: Vec::new(), peer: None, goal, trouble }
            }
        }
    }

    /// The median ratio to the peer, or the median of our figures.
    pub(super) fn result(&self) -> Option<f64> {
        match &self.peer {
            Some((_, theirs)) => {
                median(self.ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect())
            }
            None => median(self.ours.clone()),
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        let Some(result) = self.result() else {
            // Without trouble, nobody asked for our side.
            return if self.trouble.is_some() { Verdict::Missed } else { Verdict::Reported };
        };
        match self.goal {
            Goal::AtLeast { aim, .. } if result >= aim => Verdict::Aim,
            Goal::AtLeast { bar, .. } if result >= bar => Verdict::Bar,
            Goal::Below { aim, .. } if result <= aim => Verdict::Aim,
            Goal::Below { bar, .. } if result < bar => Verdict::Bar,
            Goal::Zero if result == 0.0 => Verdict::Aim,
            Goal::Reported { aim } if result <= aim => Verdict::Aim,
            Goal::Reported { .. } => Verdict::Reported,
            Goal::AtLeast { .. } | Goal::Below { .. } | Goal::Zero => Verdict::Missed,
        }
    }

    /// The line for programs.
    pub(super) fn to_json(&self) -> Value {
        let (bar, aim) = self.goal.limits();
        json!({
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "ours": self.ours,
            "peer": self.peer.as_ref().map(|(name, rounds)| json!({ "name": name, "rounds": rounds })),
            "result": self.result(),
            "bar": bar,
            "aim": aim,
            "verdict": self.verdict().word(),
            "trouble": self.trouble,
        })
    }

    /// The line for people.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{:<14}{:<22}{}", self.verdict().word(), self.name, self.what);
        if let Some(trouble) = &self.trouble {
            return format!("{text}\n{:14}no figure: {}", "", trouble.replace('\n', "\n              "));
        }
        if !self.ours.is_empty() {
            text += &format!("\n{:14}portway {} {}", "", rounds(&self.ours), self.unit);
        }
        if let Some((name, theirs)) = &self.peer {
            text += &format!("\n{:14}{name} {} {}", "", rounds(theirs), self.unit);
        }
        let result = self.result().map_or_else(|| "-".to_owned(), figure);
        let times = if self.peer.is_some() { "x" } else { "" };
        format!("{text}\n{:14}median {result}{times}; {}", "", self.goal.text(times))
    }
}

impl Goal {
    fn limits(self) -> (Option<f64>, f64) {
        match self {
            Self::AtLeast { bar, aim } | Self::Below { bar, aim } => (Some(bar), aim),
            Self::Zero => (Some(0.0), 0.0),
            Self::Reported { aim } => (None, aim),
        }
    }

    fn text(self, times: &str) -> String {
        match self {
            Self::AtLeast { bar, aim } => format!("bar {}{times}, aim {}{times}", figure(bar), figure(aim)),
            Self::Below { bar, aim } => {
                format!("bar below {}{times}, aim {}{times}", figure(bar), figure(aim))
            }
            Self::Zero => "bar 0".to_owned(),
            Self::Reported { aim } => format!("no bar, aim at most {}{times}", figure(aim)),
        }
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Aim => "aim reached",
            Self::Bar => "bar reached",
            Self::Missed => "MISSED",
            Self::Reported => "reported",
        }
    }
}

/// The middle one, or the mean of the two in the middle.
pub(super) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    match figures.len() {
        0 => None,
        count if count % 2 == 1 => Some(figures[half]),
        _ => Some(f64::midpoint(figures[half - 1], figures[half])),
    }
}

fn rounds(figures: &[f64]) -> String {
    figures.iter().map(|value| figure(*value)).collect::<Vec<_>>().join("  ")
}

/// The figure of the last round, if there was one.
pub(super) fn last(figures: &[f64]) -> String {
    figures.last().map_or_else(|| "-".to_owned(), |last| figure(*last))
}

/// Three digits that matter.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: &[f64], theirs: &[f64], goal: Goal) -> Row {
        let peer = (!theirs.is_empty()).then(|| ("peer", theirs.to_vec()));
        Row::new("n", "w", "u", goal, Ok::<_, &str>((ours.to_vec(), peer)))
    }

    #[test]
    fn the_median_ratio_is_taken_round_by_round() {
        let row = row(&[10.0, 30.0, 22.0], &[10.0, 10.0, 10.0], Goal::AtLeast { bar: 2.0, aim: 3.0 });
        assert_eq!(row.result(), Some(2.2));
        assert_eq!(row.verdict(), Verdict::Bar);
    }

    #[test]
    fn verdicts_at_the_edges() {
        let at_least = Goal::AtLeast { bar: 2.0, aim: 3.0 };
        assert_eq!(row(&[3.0], &[], at_least).verdict(), Verdict::Aim);
        assert_eq!(row(&[2.0], &[], at_least).verdict(), Verdict::Bar);
        assert_eq!(row(&[1.99], &[], at_least).verdict(), Verdict::Missed);
        let below = Goal::Below { bar: 2.0, aim: 1.0 };
        assert_eq!(row(&[1.0], &[], below).verdict(), Verdict::Aim);
        assert_eq!(row(&[1.9], &[], below).verdict(), Verdict::Bar);
        assert_eq!(row(&[2.0], &[], below).verdict(), Verdict::Missed);
        assert_eq!(row(&[0.1], &[], Goal::Zero).verdict(), Verdict::Missed);
        assert_eq!(row(&[9.0], &[], Goal::Reported { aim: 2.0 }).verdict(), Verdict::Reported);
        assert_eq!(row(&[], &[1.0], at_least).verdict(), Verdict::Reported);
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![1.0, 2.0]), Some(1.5));
    }

    #[test]
    fn a_line_without_figures_says_why() {
        let row = Row::new("n", "w", "u", Goal::Zero, Err("no such program"));
        assert!(row.to_text().contains("no figure: no such program"));
        assert_eq!(row.to_json()["verdict"], "MISSED");
    }
}
