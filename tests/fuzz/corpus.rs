//! The inputs that are kept: one file each, in a folder per target. With `LIMPET_FUZZ_WRITE` set the inputs the product
//! spells today are added; what it spelled before stays, and has to be read or refused all the same.

use std::fs;

use limpet_tests::fuzz::seeds::seeds;

/// The inputs of a target, each with its name.
pub fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = super::folder().join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (name, bytes)
        })
        .collect();
    inputs.sort();
    inputs
}

#[test]
fn inputs_are_written_when_asked_for() {
    if std::env::var_os("LIMPET_FUZZ_WRITE").is_none() {
        return;
    }
    for seed in seeds() {
        let folder = super::folder().join(seed.target);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(&seed.name), &seed.bytes).expect("a file");
    }
}
