// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A crate may use only crates above it in the root manifest's `[workspace.dependencies]`; port types, programs,
//! the test kit and this tool stand below all of them. What only tests use is free.

use super::packages::{Package, packages};
use super::tree::{Finding, Tree};
use std::collections::BTreeSet;

/// Packages that must not be built with another, however far away: the command line talks to the daemon, so it
/// knows the messages and never the switch.
const APART: &[(&str, &str)] = &[("portway", "portway-datapath")];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let order = order(tree);
    let packages = packages(tree);
    let mut findings = Vec::new();
    for package in &packages {
        let Some(rank) = rank(&order, &packages, package) else {
            findings.push(Finding::new(
                package.manifest,
                1,
                format!("`{}` has no place in [workspace.dependencies] of the root", package.name),
            ));
            continue;
        };
        for name in &package.dependencies {
            let Some(used) = packages.iter().find(|other| &other.name == name) else { continue };
            if self::rank(&order, &packages, used).is_some_and(|used| used >= rank) {
                let line = line_of(package, name);
                let message = format!("`{}` may not use `{name}`: it is not above it", package.name);
                findings.push(Finding::new(package.manifest, line, message));
            }
        }
    }
    findings.extend(too_close(&packages));
    findings
}

/// Our crates as the root manifest lists them. Read line by line: the order is the point, and a parsed table has none.
fn order(tree: &Tree) -> Vec<String> {
    let text = tree.file("Cargo.toml").map_or("", |file| file.text.as_str());
    let section = text.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let ours = lines.filter(|line| line.contains("path = \"crates/"));
    ours.filter_map(|line| line.split([' ', '=']).next()).map(str::to_owned).collect()
}

/// Lower is more basic. Crates by their place in the list, then port types, programs, the test kit, all else.
fn rank(order: &[String], packages: &[Package<'_>], package: &Package<'_>) -> Option<usize> {
    let last = order.len();
    match package.folder.split('/').next() {
        Some("crates") => order.iter().position(|name| name == &package.name),
        Some("modules") => Some(last),
        Some("bin" | "preload") => Some(last + 1 + used_programs(packages, package)),
        Some("testkit") => Some(last + 10),
        // A shell around what is tested elsewhere.
        Some("fuzz") => Some(last + 30),
        Some(_) | None => Some(last + 20),
    }
}

/// A program that is also a library may be used by another program.
fn used_programs(packages: &[Package<'_>], package: &Package<'_>) -> usize {
    let is_program =
        |name: &String| packages.iter().any(|other| &other.name == name && other.folder.starts_with("bin/"));
    usize::from(package.dependencies.iter().any(is_program))
}

fn line_of(package: &Package<'_>, dependency: &str) -> usize {
    let found = package.manifest.lines().find(|(_, line)| line.starts_with(dependency));
    found.map_or(1, |(number, _)| number)
}

fn too_close(packages: &[Package<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (one, other) in APART {
        if let Some(package) = packages.iter().find(|package| package.name == *one)
            && reach(packages, one).contains(*other)
        {
            findings.push(Finding::new(
                package.manifest,
                1,
                format!("`{one}` must not be built with `{other}`"),
            ));
        }
    }
    findings
}

/// Everything that a package is built with.
fn reach(packages: &[Package<'_>], name: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![name.to_owned()];
    while let Some(name) = waiting.pop() {
        let package = packages.iter().find(|package| package.name == name);
        let used = package.into_iter().flat_map(|package| &package.dependencies);
        waiting.extend(used.filter(|name| reached.insert((*name).clone())).cloned());
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace.dependencies]\nportway-a = { path = \"crates/a\" }\n\
                        portway-b = { path = \"crates/b\" }\nserde = \"1\"\n";

    fn manifest(name: &str, uses: &str) -> String {
        format!("[package]\nname = \"{name}\"\n[dependencies]\n{uses}.workspace = true\n")
    }

    fn findings(folder: &str, name: &str, uses: &str) -> Vec<String> {
        let (a, other) = (manifest("portway-a", "serde"), manifest(name, uses));
        let path = format!("{folder}/Cargo.toml");
        let tree = Tree::of(&[
            ("Cargo.toml", ROOT),
            ("crates/a/Cargo.toml", &a),
            ("modules/m/Cargo.toml", "[package]\nname = \"m\"\n"),
            (&path, &other),
        ]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn upwards_is_allowed() {
        assert!(findings("crates/b", "portway-b", "portway-a").is_empty());
        assert!(findings("modules/x", "portway-x", "portway-a").is_empty());
        assert!(findings("bin/tool", "tool", "m").is_empty());
    }

    #[test]
    fn downwards_and_sideways_is_not() {
        assert_eq!(findings("crates/a2", "portway-a", "portway-a").len(), 1);
        assert_eq!(
            findings("crates/b", "portway-b", "m")[0],
            "crates/b/Cargo.toml:4: `portway-b` may not use `m`: it is not above it"
        );
        assert_eq!(findings("modules/x", "portway-x", "m").len(), 1);
    }

    #[test]
    fn a_crate_must_be_listed() {
        assert!(findings("crates/c", "portway-c", "serde")[0].contains("no place"));
    }

    #[test]
    fn the_command_line_stays_clear_of_the_switch() {
        let root = "[workspace.dependencies]\nportway-datapath = { path = \"crates/d\" }\n\
                    portway-b = { path = \"crates/b\" }\n";
        let (b, tool) = (manifest("portway-b", "portway-datapath"), manifest("portway", "portway-b"));
        let tree = Tree::of(&[
            ("Cargo.toml", root),
            ("crates/d/Cargo.toml", "[package]\nname = \"portway-datapath\"\n"),
            ("crates/b/Cargo.toml", &b),
            ("bin/portway/Cargo.toml", &tool),
        ]);
        assert!(check(&tree)[0].message.contains("must not be built with"));
    }
}
