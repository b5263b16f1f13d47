// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reading one table of the config file: keys are taken out by name and type; what is left over is an error.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::meant;
use super::problem::Problem;

/// A table that is being read.
pub(super) struct Section<'t, 'a> {
    table: &'t DeTable<'a>,
    /// As the user writes it: `[[bridge]]`.
    name: &'static str,
    /// Every key that was asked for.
    known: Vec<&'static str>,
    /// Where the table begins.
    pub(super) at: usize,
}

/// A value and where it is.
pub(super) type At<T> = (T, usize);

impl<'t, 'a> Section<'t, 'a> {
    pub(super) fn new(table: &'t DeTable<'a>, name: &'static str, at: usize) -> Self {
        Self { table, name, known: Vec::new(), at }
    }

    /// The value of a key, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// Complains about every key that nobody asked for.
    pub(super) fn finish(self, problems: &mut Vec<Problem>) {
        for (key, _) in self.table {
            let word: &str = key.get_ref();
            if self.known.contains(&word) {
                continue;
            }
            let message = format!("unknown key `{word}` in {}", self.name);
            let all = self.known.join(", ");
            let remedy = match meant(word, self.known.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("remove it; {} takes: {all}", self.name),
            };
            problems.push(Problem::new(key.span().start, message, remedy));
        }
    }

    pub(super) fn string(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<At<String>> {
        let value = self.take(key)?;
        let DeValue::String(text) = value.get_ref() else {
            let example = format!("{key} = \"...\"");
            problems.push(wrong_type(key, value.get_ref(), value.span(), "a string", &example));
            return None;
        };
        Some((text.to_string(), value.span().start))
    }

    pub(super) fn flag(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<bool> {
        let value = self.take(key)?;
        let DeValue::Boolean(flag) = value.get_ref() else {
            let example = format!("{key} = true");
            problems.push(wrong_type(key, value.get_ref(), value.span(), "true or false", &example));
            return None;
        };
        Some(*flag)
    }

    /// A whole number within a range.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: Range<u64>,
        problems: &mut Vec<Problem>,
    ) -> Option<At<u64>> {
        let value = self.take(key)?;
        Some((number(key, value, range, problems)?, value.span().start))
    }

    /// A list of numbers within a range.
    pub(super) fn numbers(
        &mut self,
        key: &'static str,
        range: Range<u64>,
        problems: &mut Vec<Problem>,
    ) -> Option<At<Vec<u64>>> {
        let value = self.take(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            let example = format!("{key} = [10, 20]");
            problems.push(wrong_type(key, value.get_ref(), value.span(), "a list of numbers", &example));
            return None;
        };
        let items = items.iter().filter_map(|item| number(key, item, range.clone(), problems));
        Some((items.collect(), value.span().start))
    }

    /// A table, or a list of tables.
    pub(super) fn tables(
        &mut self,
        key: &'static str,
        example: &str,
        problems: &mut Vec<Problem>,
    ) -> Vec<(&'t DeTable<'a>, usize)> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let mut wrong = |found: &DeValue<'_>, span| {
            problems.push(wrong_type(key, found, span, "a list of tables", example));
        };
        let DeValue::Array(items) = value.get_ref() else {
            wrong(value.get_ref(), value.span());
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            if let DeValue::Table(table) = item.get_ref() {
                tables.push((table, item.span().start));
            } else {
                wrong(item.get_ref(), item.span());
            }
        }
        tables
    }

    /// A table.
    pub(super) fn table(
        &mut self,
        key: &'static str,
        example: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<(&'t DeTable<'a>, usize)> {
        let value = self.take(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            problems.push(wrong_type(key, value.get_ref(), value.span(), "a table", example));
            return None;
        };
        Some((table, value.span().start))
    }
}

fn number(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    range: Range<u64>,
    problems: &mut Vec<Problem>,
) -> Option<u64> {
    let at = value.span().start;
    let limits = format!("a number from {} to {}", range.start, range.end - 1);
    let DeValue::Integer(integer) = value.get_ref() else {
        problems.push(wrong_type(
            key,
            value.get_ref(),
            value.span(),
            &limits,
            &format!("{key} = {}", range.start),
        ));
        return None;
    };
    let parsed = i128::from_str_radix(integer.as_str(), integer.radix());
    match parsed.ok().and_then(|number| u64::try_from(number).ok()).filter(|number| range.contains(number)) {
        Some(number) => Some(number),
        None => {
            let message = format!("`{key}` is out of range: {}", integer.as_str());
            problems.push(Problem::new(at, message, format!("write {limits}")));
            None
        }
    }
}

fn wrong_type(key: &str, found: &DeValue<'_>, span: Range<usize>, wanted: &str, example: &str) -> Problem {
    let found = match found {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Problem::new(
        span.start,
        format!("`{key}` is {found} but must be {wanted}"),
        format!("write, for example: {example}"),
    )
}
