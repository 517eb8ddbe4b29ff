//! Words: those that docs/GLOSSARY.md has retired do not come back, and the repository speaks of itself alone.

use std::fs;
use std::path::Path;

use limpet_tests::programs::workspace;

use crate::sources::{Source, code_of, sources};

/// The first column of the glossary's last table.
struct Retired {
    /// Names in code; one that ends with `*` stands for every name that begins so.
    names: Vec<String>,
    /// Words of comments, and parts of names.
    words: Vec<String>,
}

fn retired() -> Retired {
    let page = fs::read_to_string(workspace().join("docs/GLOSSARY.md")).expect("docs/GLOSSARY.md");
    let (_, table) = page
        .split_once("\n## Retired\n")
        .expect("the section on retired words");
    let first: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .filter_map(|line| line.split('|').nth(1))
        .collect();
    let marked = |mark: &str| -> Vec<String> {
        let parts = first.iter().flat_map(|cell| cell.split(mark).skip(1).step_by(2));
        parts.map(str::to_owned).collect()
    };
    Retired {
        names: marked("`"),
        words: marked("**"),
    }
}

/// The names in a line of code: identifiers, whole.
fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

/// Where retired names stand in code, literals left out, and retired words in comments or as a part of a name.
fn found(source: &Source, retired: &Retired) -> Vec<String> {
    let mut found = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        let place = format!("{}:{}", source.name, at + 1);
        let code = code_of(line);
        let comment = line.get(code.len()..).unwrap_or_default();
        let code: String = code.split('"').step_by(2).collect::<Vec<_>>().join(" ");
        let mut words = identifiers(comment)
            .chain(identifiers(&code))
            .flat_map(|name| name.split('_'));
        let word = words.find(|word| retired.words.iter().any(|retired| retired == word));
        found.extend(word.map(|word| format!("{place} **{word}**")));
        for name in identifiers(&code) {
            let here = retired
                .names
                .iter()
                .find(|retired| match retired.strip_suffix('*') {
                    Some(begin) => name.starts_with(begin),
                    None => name == retired.as_str(),
                });
            found.extend(here.map(|_| format!("{place} `{name}`")));
        }
    }
    found
}

#[test]
fn retired_words_do_not_come_back() {
    let retired = retired();
    assert!(
        retired.names.len() > 10 && !retired.words.is_empty(),
        "the table is gone"
    );
    let back: Vec<_> = sources()
        .iter()
        .flat_map(|source| found(source, &retired))
        .collect();
    assert!(
        back.is_empty(),
        "docs/GLOSSARY.md says what they are called now: {back:#?}"
    );
}

#[test]
fn a_retired_word_is_found_in_names_and_comments() {
    let retired = Retired {
        names: vec!["widget".into(), "hear_*".into()],
        words: vec!["gizmos".into()],
    };
    let source = Source {
        name: "x.rs".into(),
        text: "//! Gizmos: gizmos.\nlet my_gizmos = 1;\nself.widget.clear(); // widget\nfn hear_it() {} // no gizmos\n\
               say(\"gizmos, widget\");\n"
            .into(),
    };
    assert_eq!(
        found(&source, &retired),
        [
            "x.rs:1 **gizmos**",
            "x.rs:2 **gizmos**",
            "x.rs:3 `widget`",
            "x.rs:4 **gizmos**",
            "x.rs:4 `hear_it`"
        ]
    );
}

/// Folders that hold nothing of ours, or nothing to read.
const OUTSIDE: [&str; 3] = ["target", ".git", "corpus"];

fn texts(dir: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("cannot read {}: {e}", dir.display())) {
        let path = entry.expect("a directory entry").path();
        let last = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if OUTSIDE.contains(&last.as_str()) || last.starts_with("target") {
            continue;
        }
        if path.is_dir() {
            texts(&path, into);
        } else if last != "Cargo.lock" {
            let name = path
                .strip_prefix(workspace())
                .unwrap_or(&path)
                .display()
                .to_string();
            into.extend(fs::read_to_string(&path).ok().map(|text| (name, text)));
        }
    }
}

/// Paths of somebody's machine, hosts of package registries, and trailers of commits mean nothing to a reader.
#[test]
fn the_repository_speaks_of_itself_alone() {
    // Written in two parts, so that this file does not contain them.
    let words = [
        ["/ho", "me/"],
        ["/ro", "ot/"],
        ["/wo", "rk/"],
        ["/tmp", "/w-"],
        ["crates", ".io"],
        ["pypi", ".org"],
        ["deb.deb", "ian.org"],
        ["repo.mav", "en.apache"],
        ["npmjs", ".org"],
        ["Co-auth", "ored-by"],
        ["Signed-off", "-by"],
    ];
    let mut files = Vec::new();
    texts(&workspace(), &mut files);
    assert!(files.len() > 100, "only {} files found", files.len());
    let mut found = Vec::new();
    for (name, text) in files {
        for (at, line) in text.lines().enumerate() {
            let here = words
                .iter()
                .map(|word| word.concat())
                .filter(|word| line.contains(word.as_str()));
            found.extend(here.map(|word| format!("{name}:{} {word}", at + 1)));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
