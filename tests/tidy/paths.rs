//! The paths a source file names: `crate::…`, `super::…` and `self::…`, with their groups taken apart.

use crate::sources::Source;

/// A module as the segments of its path from the root of its package; the root has none.
pub type Module = Vec<String>;

/// The module a file is, where the package's sources are in `root` (`core/src`).
pub fn module_of(root: &str, name: &str) -> Option<Module> {
    let rest = name.strip_prefix(root)?.strip_prefix('/')?.strip_suffix(".rs")?;
    let mut segments: Module = rest.split('/').map(str::to_owned).collect();
    if segments.last().is_some_and(|last| last == "mod") || rest == "lib" {
        segments.pop();
    }
    Some(segments)
}

/// What the product code of a file names in its own package: the line, and the path from the package's root.
pub fn named(source: &Source, module: &[String]) -> Vec<(usize, Module)> {
    let mut found = Vec::new();
    let lines = source.product();
    let text: String = lines.iter().flat_map(|(_, line)| [*line, "\n"]).collect();
    for start in starts(&text) {
        let line = text[..start].matches('\n').count();
        let mut trees = Vec::new();
        read_tree(&mut text[start..].chars().peekable(), Vec::new(), &mut trees);
        let paths = trees.into_iter().filter_map(|path| resolve(&path, module));
        found.extend(paths.map(|path| (lines[line].0, path)));
    }
    found
}

/// Where a path begins that is about this package.
fn starts(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for first in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(first) {
            let before = text[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                found.push(at);
            }
        }
    }
    found
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Reads `a::b`, `a::{b, c::d}` or `a::*` and leaves every path in `into`, without the `*`.
fn read_tree(rest: &mut Chars<'_>, mut prefix: Module, into: &mut Vec<Module>) {
    loop {
        skip_space(rest);
        if rest.peek() == Some(&'{') {
            rest.next();
            loop {
                skip_space(rest);
                match rest.peek() {
                    Some('}') | None => {
                        rest.next();
                        return;
                    }
                    Some(',') => {
                        rest.next();
                    }
                    Some(c) if c.is_alphanumeric() || "_*{".contains(*c) => {
                        read_tree(rest, prefix.clone(), into);
                    }
                    Some(_) => return,
                }
            }
        }
        let mut segment = String::new();
        while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
            segment.push(c);
        }
        if segment.is_empty() {
            rest.next_if_eq(&'*');
            into.push(prefix);
            return;
        }
        prefix.push(segment);
        let mut ahead = rest.clone();
        if ahead.next() == Some(':') && ahead.next() == Some(':') {
            *rest = ahead;
            continue;
        }
        skip_renaming(rest);
        into.push(prefix);
        return;
    }
}

fn skip_space(rest: &mut Chars<'_>) {
    while rest.next_if(|c| c.is_whitespace()).is_some() {}
}

/// Passes over `as other`.
fn skip_renaming(rest: &mut Chars<'_>) {
    let mut ahead = rest.clone();
    skip_space(&mut ahead);
    if ahead.next() == Some('a') && ahead.next() == Some('s') && ahead.next() == Some(' ') {
        while ahead.next_if(|c| c.is_alphanumeric() || *c == '_').is_some() {}
        *rest = ahead;
    }
}

/// A path from the root of the package; none where `super` leads out of it.
fn resolve(path: &[String], module: &[String]) -> Option<Module> {
    let mut at = module.to_vec();
    let mut segments = path.iter().peekable();
    if segments.next_if(|first| *first == "crate").is_some() {
        at.clear();
    }
    while let Some(step) = segments.next_if(|step| *step == "super" || *step == "self") {
        if step == "super" {
            at.pop()?;
        }
    }
    at.extend(segments.cloned());
    Some(at)
}

#[test]
fn groups_renamings_and_ways_up_are_understood() {
    let source = Source {
        name: "core/src/a/b.rs".into(),
        text: "use crate::x::{y, z::{self, W}, v as u};\nuse super::c::D;\nuse super::super::e;\n\
               use self::f::*;\nfn g() { crate::h::i(); not_crate::j(); }\n"
            .into(),
    };
    let module = module_of("core/src", &source.name).expect("it is under the root");
    let mut found: Vec<_> = named(&source, &module)
        .into_iter()
        .map(|(line, path)| format!("{line} {}", path.join("::")))
        .collect();
    found.sort();
    let expected = [
        "1 x::v",
        "1 x::y",
        "1 x::z::W",
        "1 x::z::self",
        "2 a::c::D",
        "3 e",
        "4 a::b::f",
        "5 h::i",
    ];
    assert_eq!(found, expected);
}
