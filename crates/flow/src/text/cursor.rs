// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A place in the text, and the small steps that all parsers take.

use super::Error;

/// Longest excerpt of the text that an error quotes.
const QUOTE_MAX: usize = 24;

#[derive(Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    /// Byte offset, always at a character's boundary.
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Column of the current place, from 1.
    pub(super) fn column(&self) -> usize {
        self.text[..self.at].chars().count() + 1
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Whether `token` is next; does not move.
    pub(super) fn sees(&self, token: &str) -> bool {
        self.rest().starts_with(token)
    }

    /// Steps over `token` if it is next.
    pub(super) fn eat(&mut self, token: &str) -> bool {
        let seen = self.sees(token);
        if seen {
            self.at += token.len();
        }
        seen
    }

    /// Steps over `token`.
    pub(super) fn expect(&mut self, token: &str) -> Result<(), Error> {
        if self.eat(token) { Ok(()) } else { Err(self.unexpected(format!("`{token}`"))) }
    }

    /// Steps over the longest run of characters that `keep` takes.
    pub(super) fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// A name: letters, digits and `_`.
    pub(super) fn word(&mut self) -> &'a str {
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// A value: everything up to a separator.
    pub(super) fn token(&mut self) -> &'a str {
        self.take_while(|c| !matches!(c, ',' | '(' | ')' | '/' | '{' | '}' | '=') && !c.is_whitespace())
    }

    /// In a list that ends with `)`: steps to the next element. Commas separate, spaces do not matter, an empty list is fine.
    pub(super) fn next_in_parentheses(&mut self, first: bool) -> Result<bool, Error> {
        self.skip_space();
        if self.eat(")") {
            return Ok(false);
        }
        if !first {
            if !self.eat(",") {
                return Err(self.unexpected("`,` or `)`"));
            }
            self.skip_space();
        }
        Ok(true)
    }

    /// The error that something else should stand here.
    pub(super) fn unexpected(&self, expected: impl Into<String>) -> Error {
        let rest = self.rest();
        let found = match rest.char_indices().nth(QUOTE_MAX) {
            _ if rest.is_empty() => "the end of the text".to_owned(),
            Some((end, _)) => format!("`{}...`", &rest[..end]),
            None => format!("`{rest}`"),
        };
        Error::Unexpected { column: self.column(), found, expected: expected.into() }
    }
}
