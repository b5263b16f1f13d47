// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tables for people: columns as wide as they must be, numbers to the right.

/// A table being filled.
pub(crate) struct Table {
    heads: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Columns; a head that starts with `>` makes its column flush right.
    pub(crate) fn new(heads: &'static [&'static str]) -> Self {
        Self { heads, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table, or `empty` if it has no rows.
    pub(crate) fn render(&self, empty: &str) -> String {
        if self.rows.is_empty() {
            return format!("{empty}\n");
        }
        let names: Vec<String> =
            self.heads.iter().map(|head| head.trim_start_matches('>').to_owned()).collect();
        let all = std::iter::once(&names).chain(&self.rows);
        let width = |column: usize| all.clone().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.heads.len()).map(width).collect();
        let mut text = String::new();
        for row in std::iter::once(&names).chain(&self.rows) {
            let cells = row.iter().zip(&widths).zip(self.heads).map(|((cell, width), head)| {
                if head.starts_with('>') { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["name", ">packets", "note"]);
        assert_eq!(table.render("nothing"), "nothing\n");
        table.row(["veth1".into(), "7".into(), "ü".into()]);
        table.row(["a".into(), "12345678".into(), String::new()]);
        assert_eq!(table.render(""), "name    packets  note\nveth1         7  ü\na      12345678\n");
    }
}
