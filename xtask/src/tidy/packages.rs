// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The packages of the workspace, read from their manifests.

use super::tree::{File, Tree};
use toml::{Table, Value};

/// One package.
pub(super) struct Package<'tree> {
    /// The folder from the root, without a slash at the end.
    pub(super) folder: &'tree str,
    pub(super) name: String,
    pub(super) manifest: &'tree File,
    pub(super) table: Table,
    /// The names of the packages that it is built with; those only its tests use are not among them.
    pub(super) dependencies: Vec<String>,
}

/// Every package below the root, and the root's own if it has one.
pub(super) fn packages(tree: &Tree) -> Vec<Package<'_>> {
    tree.files.iter().filter_map(package).collect()
}

fn package(manifest: &File) -> Option<Package<'_>> {
    let folder = match manifest.path.as_str() {
        "Cargo.toml" => "",
        path => path.strip_suffix("/Cargo.toml")?,
    };
    let table: Table = toml::from_str(&manifest.text).ok()?;
    let name = table.get("package")?.get("name")?.as_str()?.to_owned();
    let dependencies = dependencies(&table);
    Some(Package { folder, name, manifest, table, dependencies })
}

fn dependencies(table: &Table) -> Vec<String> {
    let mut names = Vec::new();
    let targets = table.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    for section in targets.filter_map(Value::as_table).chain([table]) {
        for kind in ["dependencies", "build-dependencies"] {
            let list = section.get(kind).and_then(Value::as_table);
            names.extend(
                list.into_iter().flat_map(Table::iter).map(|(key, value)| {
                    value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned()
                }),
            );
        }
    }
    names
}

impl Package<'_> {
    /// A path inside the package, from the root.
    pub(super) fn path(&self, inside: &str) -> String {
        if self.folder.is_empty() { inside.to_owned() } else { format!("{}/{inside}", self.folder) }
    }

    /// The files that cargo compiles on their own: library, programs, tests, benches, examples, build script.
    pub(super) fn roots(&self, tree: &Tree) -> Vec<String> {
        let mut roots = vec![self.path("src/lib.rs"), self.path("src/main.rs"), self.path("build.rs")];
        roots.extend(self.declared());
        for folder in ["src/bin", "tests", "benches", "examples"] {
            let prefix = self.path(folder) + "/";
            roots.extend(tree.rust().filter_map(|file| {
                let rest = file.path.strip_prefix(&prefix)?;
                let is_root =
                    !rest.contains('/') || (rest.matches('/').count() == 1 && rest.ends_with("/main.rs"));
                is_root.then(|| file.path.clone())
            }));
        }
        roots.retain(|path| tree.file(path).is_some());
        roots.sort();
        roots.dedup();
        roots
    }

    /// The roots that the manifest names with `path`.
    fn declared(&self) -> Vec<String> {
        let sections =
            ["lib", "bin", "test", "bench", "example"].iter().filter_map(|name| self.table.get(*name));
        let targets = sections.flat_map(|section| match section {
            Value::Array(targets) => targets.as_slice(),
            one => std::slice::from_ref(one),
        });
        targets.filter_map(|target| Some(self.path(target.get("path")?.as_str()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_those_that_cargo_finds_and_those_named() {
        let tree = Tree::of(&[
            ("a/Cargo.toml", "[package]\nname = 'a'\n[[test]]\nname = 't'\npath = 'odd/t.rs'\n"),
            ("a/odd/t.rs", ""),
            ("a/src/lib.rs", ""),
            ("a/src/inner.rs", ""),
            ("a/src/bin/tool/main.rs", ""),
            ("a/src/bin/tool/part.rs", ""),
            ("a/tests/e2e.rs", ""),
            ("a/tests/common/mod.rs", ""),
        ]);
        let packages = packages(&tree);
        let roots = packages[0].roots(&tree);
        assert_eq!(roots, ["a/odd/t.rs", "a/src/bin/tool/main.rs", "a/src/lib.rs", "a/tests/e2e.rs"]);
    }

    #[test]
    fn dependencies_follow_renames_and_targets_but_not_tests() {
        let text = "[package]\nname = 'a'\n[dependencies]\nx.workspace = true\ny = { package = 'z' }\n\
                    [dev-dependencies]\nt = '1'\n[target.'cfg(unix)'.dependencies]\nu = '1'\n";
        let tree = Tree::of(&[("a/Cargo.toml", text)]);
        let mut names = packages(&tree)[0].dependencies.clone();
        names.sort();
        assert_eq!(names, ["u", "x", "z"]);
    }
}
