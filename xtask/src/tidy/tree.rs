// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The source tree in memory: what the rules look at.

use anyhow::{Context, Result};
use std::fmt;
use std::path::Path;

/// The files of a source tree, by path.
pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

/// One text file.
pub(super) struct File {
    /// The path from the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// The syntax tree of a Rust file; `None` for others and for Rust that does not parse.
    pub(super) syntax: Option<syn::File>,
}

/// Something that a rule objects to.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) path: String,
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) message: String,
}

impl Finding {
    pub(super) fn new(file: &File, line: usize, message: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.message)
    }
}

impl Tree {
    /// Reads every text file below `root` but build products and hidden folders (save `.ci` and `.cargo`).
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        read_folder(root, "", &mut files)?;
        files.sort_by(|one: &File, other| one.path.cmp(&other.path));
        Ok(Self { files })
    }

    /// A tree made of these paths and texts, for the tests of the rules.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| File::new(path, (*text).to_owned())).collect() }
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.has_extension("rs"))
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether a file or a folder has this path.
    pub(super) fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty() || self.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    }
}

impl File {
    fn new(path: &str, text: String) -> Self {
        let syntax = if path.ends_with(".rs") { syn::parse_file(&text).ok() } else { None };
        Self { path: path.to_owned(), text, syntax }
    }

    pub(super) fn has_extension(&self, extension: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, end)| end == extension)
    }

    /// The lines with their numbers, counted from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

fn read_folder(root: &Path, below: &str, files: &mut Vec<File>) -> Result<()> {
    let folder = root.join(below);
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && is_read(&name) {
            read_folder(root, &path, files)?;
        } else if kind.is_file() {
            // What is not text (a capture, a picture) has no rules, but links may point at it.
            let bytes = std::fs::read(entry.path())?;
            files.push(File::new(&path, String::from_utf8(bytes).unwrap_or_default()));
        }
    }
    Ok(())
}

fn is_read(folder: &str) -> bool {
    folder != "target" && (!folder.starts_with('.') || folder == ".ci" || folder == ".cargo")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_products_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        for path in ["src/a.rs", "target/b.rs", ".git/c.rs", ".ci/run", "fuzz/target/d.rs"] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let tree = Tree::read(root.path()).unwrap();
        let paths: Vec<_> = tree.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".ci/run", "src/a.rs"]);
    }

    #[test]
    fn folders_are_known_by_their_files() {
        let tree = Tree::of(&[("docs/a.md", "")]);
        assert!(tree.has("docs") && tree.has("docs/a.md") && tree.has(""));
        assert!(!tree.has("doc") && !tree.has("docs/b.md"));
    }
}
