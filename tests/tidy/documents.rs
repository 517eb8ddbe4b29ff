//! Rules for documents: what they show works, and what they link to exists.

use std::fs;
use std::process::Command;

use limpet_tests::pki::Pki;
use limpet_tests::programs::{ours, workspace};
use limpet_tests::scratch::Scratch;

/// The fenced blocks of a page that are written in `language`.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let path = workspace().join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {page}: {e}"));
    let fence = format!("```{language}\n");
    text.split(&fence)
        .skip(1)
        .filter_map(|rest| Some(rest.split("```").next()?.to_owned()))
        .collect()
}

/// `limpet-core check` on one block and `limpet-host check` on the other: which is which shows in the first table.
#[test]
fn every_example_configuration_is_accepted() {
    let scratch = Scratch::new("docs");
    let pki = Pki::init(scratch.path(), "shop");
    pki.issue("node1");
    let mut examples = Vec::new();
    for page in ["README.md", "docs/CONFIG.md"] {
        let here = blocks(page, "toml");
        assert!(here.len() >= 2, "{page} shows a core and a proxy, at least");
        examples.extend(here.into_iter().map(|example| (page, example)));
    }
    for (number, (page, example)) in examples.iter().enumerate() {
        let program = if example.contains("[[listener]]") {
            "limpet-host"
        } else {
            "limpet-core"
        };
        let file = scratch.join(&format!("example-{number}.toml"));
        fs::write(&file, example).expect("a file in the test's directory");
        let output = Command::new(ours(program))
            .args(["check", "--config"])
            .arg(&file)
            .output()
            .expect("it runs");
        assert!(
            output.status.success(),
            "{program} check refuses this of {page}:\n{example}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages: Vec<_> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .iter()
        .map(|page| workspace().join(page))
        .collect();
    let docs = fs::read_dir(workspace().join("docs")).expect("docs/ exists");
    pages.extend(
        docs.map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension() == Some("md".as_ref())),
    );
    let mut broken = Vec::new();
    for page in pages {
        let text =
            fs::read_to_string(&page).unwrap_or_else(|e| panic!("cannot read {}: {e}", page.display()));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let outside = link.contains("://") || file.is_empty();
            if !outside && !page.parent().expect("a page is in a folder").join(file).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
