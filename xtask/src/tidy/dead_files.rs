// SPDX-License-Identifier: Apache-2.0 OR MIT
//! No dead files: every Rust file is compiled by some package, every page of docs/ can be found by its reader.

use super::packages::packages;
use super::tree::{File, Finding, Tree};
use std::collections::BTreeSet;

/// The pages that a reader starts from.
const ENTRANCES: &[&str] = &["README.md", "docs/architecture.md"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut alive = BTreeSet::new();
    for package in packages(tree) {
        for root in package.roots(tree) {
            walk(tree, &root, true, &mut alive);
        }
    }
    let dead = tree.rust().filter(|file| !alive.contains(&file.path));
    let dead = dead.map(|file| Finding::new(file, 1, "no `mod` declaration leads here"));
    dead.chain(unlinked(tree)).collect()
}

fn unlinked(tree: &Tree) -> Vec<Finding> {
    let pages = tree.files.iter().filter(|file| file.path.starts_with("docs/") && file.has_extension("md"));
    let pages = pages.filter(|file| !ENTRANCES.contains(&file.path.as_str()));
    let entrances: Vec<_> = ENTRANCES.iter().filter_map(|path| tree.file(path)).collect();
    let is_linked = |page: &File| {
        entrances
            .iter()
            .any(|entrance| super::doc_links::targets(entrance).iter().any(|(_, path)| *path == page.path))
    };
    pages
        .filter(|page| !is_linked(page))
        .map(|page| Finding::new(page, 1, format!("no link leads here from {}", ENTRANCES.join(" or "))))
        .collect()
}

/// Follows the `mod` declarations of a file. `is_root`: its modules lie beside it, not in a folder of its name.
fn walk(tree: &Tree, path: &str, is_root: bool, alive: &mut BTreeSet<String>) {
    let Some(file) = tree.file(path) else { return };
    if !alive.insert(path.to_owned()) {
        return;
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let base = if is_root || name == "mod.rs" {
        folder.to_owned()
    } else {
        format!("{folder}/{}", name.trim_end_matches(".rs"))
    };
    let items = file.syntax.as_ref().map_or(&[][..], |syntax| &syntax.items);
    for (path, is_root) in modules(items, &base, folder) {
        walk(tree, &path, is_root, alive);
    }
}

/// The files that these items declare or include, both places that a module may have. Includes count as roots.
fn modules(items: &[syn::Item], base: &str, folder: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for item in items {
        match item {
            syn::Item::Mod(module) => match (&module.content, path_attribute(&module.attrs)) {
                (Some((_, inner)), _) => {
                    let base = format!("{base}/{}", module.ident);
                    found.extend(modules(inner, &base, &base));
                }
                (None, Some(path)) => found.push((normal(&format!("{folder}/{path}")), true)),
                (None, None) => {
                    let name = module.ident.to_string();
                    let name = name.trim_start_matches("r#");
                    found.push((format!("{base}/{name}.rs"), false));
                    found.push((format!("{base}/{name}/mod.rs"), false));
                }
            },
            syn::Item::Macro(call) if call.mac.path.is_ident("include") => {
                let path = syn::parse2::<syn::LitStr>(call.mac.tokens.clone());
                found.extend(path.map(|path| (normal(&format!("{folder}/{}", path.value())), true)));
            }
            _ => {}
        }
    }
    found
}

fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.path().is_ident("path"))?;
    let syn::Expr::Lit(literal) = &attribute.meta.require_name_value().ok()?.value else { return None };
    let syn::Lit::Str(path) = &literal.lit else { return None };
    Some(path.value())
}

/// The path without `.` and `..`; one that leaves the tree becomes empty.
pub(super) fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(files: &[(&str, &str)]) -> Vec<String> {
        let mut files = files.to_vec();
        files.push(("a/Cargo.toml", "[package]\nname = 'a'\n"));
        check(&Tree::of(&files)).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn declared_files_are_alive() {
        let found = dead(&[
            ("a/src/lib.rs", "mod b;\nmod c { mod d; }\n#[path = \"odd.rs\"]\nmod e;\n"),
            ("a/src/b.rs", "#[cfg(test)]\nmod tests;\n"),
            ("a/src/b/tests.rs", ""),
            ("a/src/c/d/mod.rs", "mod f;\n"),
            ("a/src/c/d/f.rs", ""),
            ("a/src/odd.rs", ""),
            ("a/tests/e2e.rs", "mod common;\n"),
            ("a/tests/common/mod.rs", ""),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn files_without_a_declaration_are_dead() {
        let found = dead(&[
            ("a/src/lib.rs", "mod b;\n"),
            ("a/src/b.rs", ""),
            ("a/src/old.rs", ""),
            ("a/tests/common/mod.rs", ""),
            ("stray.rs", ""),
        ]);
        assert_eq!(found, ["a/src/old.rs", "a/tests/common/mod.rs", "stray.rs"]);
    }

    #[test]
    fn pages_must_be_linked() {
        let files = [
            ("README.md", "see [one](docs/one.md)"),
            ("docs/architecture.md", "see [two](two.md#part)"),
            ("docs/one.md", ""),
            ("docs/two.md", ""),
            ("docs/three.md", ""),
        ];
        assert_eq!(dead(&files), ["docs/three.md"]);
    }
}
