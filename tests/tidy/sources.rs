//! Our source files, as the rules read them; and the rules every one of them keeps.

use std::fs;
use std::path::Path;

use limpet_tests::programs::workspace;

/// Folders that hold our sources; `target` is none of them.
const FOLDERS: [&str; 4] = ["core", "filters", "host", "tests"];

/// One source file.
pub struct Source {
    /// Its path from the root of the workspace.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Every source file there is.
///
/// # Panics
/// When there are so few that the folders must have moved.
pub fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        collect(&workspace().join(folder), &mut found);
    }
    assert!(
        found.len() > 20,
        "only {} source files found; the folders have moved",
        found.len()
    );
    found
}

fn collect(dir: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("cannot read {}: {e}", dir.display())) {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let name = path.strip_prefix(workspace()).unwrap_or(&path);
            found.push(Source {
                name: name.display().to_string(),
                text: fs::read_to_string(&path).expect("sources are UTF-8"),
            });
        }
    }
}

impl Source {
    /// Whether all of it is test code.
    pub fn is_test(&self) -> bool {
        self.name.starts_with("tests/") || self.name.contains("/tests/") || self.name.ends_with("/tests.rs")
    }

    /// The lines that end up in a program, with their numbers: no comments, nothing under `#[cfg(test)]`.
    ///
    /// What belongs to the attribute is found by its indentation, which rustfmt keeps.
    pub fn product(&self) -> Vec<(usize, &str)> {
        let mut kept = Vec::new();
        if self.is_test() {
            return kept;
        }
        let mut lines = self.text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            if line.trim_start() == "#[cfg(test)]" {
                skip_item(line.len() - line.trim_start().len(), &mut lines);
                continue;
            }
            let code = code_of(line);
            if !code.trim().is_empty() {
                kept.push((at + 1, code));
            }
        }
        kept
    }
}

/// A line without its comment.
pub fn code_of(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split(" // ").next().unwrap_or_default()
}

/// Passes over the item that begins on the next line: up to its `;`, or to the closing brace that stands below it.
fn skip_item<'a>(indent: usize, lines: &mut impl Iterator<Item = (usize, &'a str)>) {
    for (_, line) in lines {
        let here = line.len() - line.trim_start().len();
        let body = line.trim();
        if here == indent && !body.starts_with("#[") && (body.ends_with(';') || body.starts_with('}')) {
            return;
        }
    }
}

#[test]
fn every_file_opens_with_its_page() {
    let without: Vec<_> = sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.name)
        .collect();
    assert!(without.is_empty(), "these do not say what they are: {without:#?}");
}

#[test]
fn nothing_is_left_half_done() {
    // Written in two parts, so that this file does not contain them.
    let words = [
        ["todo", "!("],
        ["unimpl", "emented!("],
        ["#[ign", "ore"],
        ["FIX", "ME"],
        ["XX", "X:"],
    ];
    let mut left = Vec::new();
    for source in sources() {
        for (at, line) in source.text.lines().enumerate() {
            left.extend(
                words
                    .iter()
                    .map(|word| word.concat())
                    .filter(|word| line.contains(word.as_str()))
                    .map(|word| format!("{}:{} {word}", source.name, at + 1)),
            );
        }
    }
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn the_product_of_a_file_is_without_comments_and_tests() {
    let source = Source {
        name: "core/src/x.rs".into(),
        text: "//! Page.\nuse a;\n\n#[cfg(test)]\nmod tests;\nfn f() {\n    g(); // why\n    \
               #[cfg(test)]\n    {\n        h();\n    }\n}\n#[cfg(test)]\nmod t {\n    fn i() {}\n}\nfn j() {}\n"
            .into(),
    };
    let kept: Vec<_> = source
        .product()
        .into_iter()
        .map(|(at, line)| (at, line.trim()))
        .collect();
    let expected = [
        (2, "use a;"),
        (6, "fn f() {"),
        (7, "g();"),
        (12, "}"),
        (17, "fn j() {}"),
    ];
    assert_eq!(kept, expected);
}
