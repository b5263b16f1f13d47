// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every source file names its licence in its first line and says in its second what it is for.

use super::tree::{File, Finding, Tree};

const LICENCE: &str = "SPDX-License-Identifier: Apache-2.0 OR MIT";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        if let Some(expected) = licence_line(file)
            && !file
                .text
                .lines()
                .take(if expected.starts_with('#') { 2 } else { 1 })
                .any(|line| line == expected)
        {
            findings.push(Finding::new(file, 1, format!("the first line must be `{expected}`")));
        } else if file.has_extension("rs")
            && !file.lines().nth(1).is_some_and(|(_, line)| line.starts_with("//!"))
        {
            findings.push(Finding::new(
                file,
                2,
                "the second line must be a `//!` that says what the file is for",
            ));
        }
    }
    findings
}

/// The licence as this kind of file writes it; a script has its interpreter in front.
fn licence_line(file: &File) -> Option<String> {
    let is_script = file.text.starts_with("#!") || file.has_extension("sh");
    if file.has_extension("rs") {
        Some(format!("// {LICENCE}"))
    } else if file.has_extension("c") || file.has_extension("h") {
        Some(format!("/* {LICENCE} */"))
    } else {
        is_script.then(|| format!("# {LICENCE}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_misplaced_licences_are_found() {
        let good = format!("// {LICENCE}\n//! What.\n");
        let late = format!("//! What.\n// {LICENCE}\n");
        let silent = format!("// {LICENCE}\nfn a() {{}}\n");
        let script = format!("#!/bin/sh\n# {LICENCE}\n");
        let files = [
            ("a.rs", good.as_str()),
            ("b.rs", late.as_str()),
            ("c.rs", silent.as_str()),
            ("d.sh", script.as_str()),
            ("e.c", "int a;\n"),
            (".ci/run", "#!/bin/sh\n\n"),
            ("f.md", "# Text\n"),
        ];
        let findings = check(&Tree::of(&files));
        let paths: Vec<_> = findings.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["b.rs", "c.rs", "e.c", ".ci/run"]);
    }
}
