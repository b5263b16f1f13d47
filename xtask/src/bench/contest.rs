// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Us against peers that do the same work, round by round in turn.

use super::row::{Goal, Row, last};
use super::run::Bench;
use anyhow::Result;

/// A peer, against which there is a row.
pub(super) struct Rival<'a> {
    /// The row's name and what it says.
    pub(super) row: &'a str,
    pub(super) what: &'a str,
    pub(super) goal: Goal,
    /// The peer's name.
    pub(super) name: &'static str,
    /// Measures it once.
    pub(super) measure: &'a dyn Fn() -> Result<f64>,
}

/// Adds the rows that are wanted. `topic`: what the rounds are called; `ours`: measures our side once, for all of the rows.
pub(super) fn contest(
    bench: &Bench,
    rows: &mut Vec<Row>,
    (topic, unit): (&str, &'static str),
    ours: &dyn Fn() -> Result<f64>,
    rivals: &[Rival<'_>],
) {
    let wanted: Vec<_> = rivals.iter().filter(|rival| bench.wants(rival.row)).collect();
    if wanted.is_empty() {
        return;
    }
    let measured = rounds(bench, (topic, unit), ours, &wanted);
    for (number, rival) in wanted.into_iter().enumerate() {
        let measured = measured
            .as_ref()
            .map(|(ours, theirs)| (ours.clone(), Some((rival.name, theirs[number].clone()))));
        rows.push(Row::new(rival.row, rival.what, unit, rival.goal, measured));
    }
}

type Figures = (Vec<f64>, Vec<Vec<f64>>);

fn rounds(
    bench: &Bench,
    (topic, unit): (&str, &str),
    measure_ours: &dyn Fn() -> Result<f64>,
    rivals: &[&Rival<'_>],
) -> Result<Figures> {
    let (mut ours, mut theirs) = (Vec::new(), vec![Vec::new(); rivals.len()]);
    for round in 1..=bench.rounds() {
        if !bench.peers_only() {
            ours.push(measure_ours()?);
        }
        let mut line = format!("{topic} round {round}: portway {}", last(&ours));
        for (rival, figures) in rivals.iter().zip(&mut theirs) {
            figures.push((rival.measure)()?);
            line += &format!(", {} {}", rival.name, last(figures));
        }
        bench.tell(&format!("{line} {unit}"));
    }
    Ok((ours, theirs))
}
