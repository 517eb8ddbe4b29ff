//! Names of metrics.

use std::collections::BTreeMap;

use crate::sources::sources;

/// A metric has one home: the file that defines it. Filters of both kinds run in one process, so theirs count too.
#[test]
fn metric_names_are_unique() {
    let mut homes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        let code: String = source.product().iter().map(|(_, line)| *line).collect();
        let mut here: Vec<_> = code
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|literal| literal.starts_with("limpet_") && !literal.contains(char::is_whitespace))
            .map(|literal| literal.split('{').next().unwrap_or_default().to_owned())
            .filter(|literal| {
                ["_total", "_seconds", "_bytes"]
                    .iter()
                    .any(|end| literal.ends_with(end))
            })
            .collect();
        here.sort();
        here.dedup();
        for metric in here {
            homes.entry(metric).or_default().push(source.name.clone());
        }
    }
    assert!(homes.len() > 20, "only {} metrics found", homes.len());
    homes.retain(|_, files| files.len() > 1);
    assert!(homes.is_empty(), "defined in more than one file: {homes:#?}");
}
