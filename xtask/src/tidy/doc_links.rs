// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every link between the pages of the tree leads somewhere, to the heading if it names one.

use super::dead_files::normal;
use super::tree::{File, Finding, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in tree.files.iter().filter(|file| file.has_extension("md")) {
        for (line, link) in links(page) {
            let (path, heading) = resolve(page, &link);
            if !tree.has(&path) {
                findings.push(Finding::new(page, line, format!("`{link}` leads nowhere")));
            } else if let (Some(heading), Some(target)) = (heading, tree.file(&path))
                && target.has_extension("md")
                && !headings(target).any(|anchor| anchor == heading)
            {
                findings.push(Finding::new(page, line, format!("`{link}`: {path} has no such heading")));
            }
        }
    }
    findings
}

/// The files that a page links to, as paths from the root, with the line of each link.
pub(super) fn targets(page: &File) -> Vec<(usize, String)> {
    links(page).into_iter().map(|(line, link)| (line, resolve(page, &link).0)).collect()
}

/// The links of a page into the tree: `[text](target)` outside code, not those to other sites.
fn links(page: &File) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(page) {
        for (at, _) in line.match_indices("](") {
            let Some(target) = line[at + 2..].split([')', ' ']).next() else { continue };
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                links.push((number, target.to_owned()));
            }
        }
    }
    links
}

/// The lines outside fenced blocks, with what stands between backquotes taken out.
fn prose(page: &File) -> impl Iterator<Item = (usize, String)> {
    let mut in_block = false;
    page.lines().filter_map(move |(number, line)| {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            return None;
        }
        let text: String = line.split('`').step_by(2).collect();
        (!in_block).then_some((number, text))
    })
}

/// The path from the root and the heading that a link names.
fn resolve(page: &File, link: &str) -> (String, Option<String>) {
    let (path, heading) = match link.split_once('#') {
        Some((path, heading)) => (path, Some(heading.to_owned())),
        None => (link, None),
    };
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = if path.is_empty() { page.path.clone() } else { normal(&format!("{folder}/{path}")) };
    (path, heading)
}

/// The anchors that a page's headings get: lower case, spaces to hyphens, punctuation dropped.
fn headings(page: &File) -> impl Iterator<Item = String> {
    let mut in_block = false;
    page.lines().filter_map(move |(_, line)| {
        in_block ^= line.trim_start().starts_with("```");
        let title = line.strip_prefix('#').filter(|_| !in_block)?.trim_start_matches('#').trim();
        let letters = title.to_lowercase().replace(' ', "-");
        Some(
            letters
                .chars()
                .filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_'))
                .collect(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let tree = Tree::of(&[
            ("docs/a.md", text),
            ("docs/b.md", "# Title\n## The `x`, again\n```\n# no heading\n```\n"),
            ("crates/flow/src/lib.rs", ""),
        ]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn good_links_pass() {
        let text = "# Top\n[b](b.md) [x](b.md#the-x-again) [code](../crates/flow/src/lib.rs) [dir](../crates/flow)\n\
                    [top](#top) [out](https://example.com/x) [mail](mailto:a@b)\n";
        assert_eq!(findings(text), Vec::<String>::new());
    }

    #[test]
    fn bad_links_are_found_with_their_line() {
        assert_eq!(findings("\n[c](c.md)\n"), ["docs/a.md:2: `c.md` leads nowhere"]);
        assert_eq!(findings("[b](b.md#no-heading)\n").len(), 1);
        assert_eq!(findings("[top](#top)\n").len(), 1);
    }

    #[test]
    fn code_has_no_links() {
        assert!(findings("`a[0](x)`\n```\n[c](c.md)\n```\n").is_empty());
    }
}
