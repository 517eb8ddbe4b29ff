//! Arrows between rooms and between packages go the way `house.rs` says; circles of files are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use limpet_tests::programs::workspace;

use crate::house::{HOUSE, PACKAGES, Room, rooms};
use crate::paths::{Module, module_of, named};
use crate::sources::{Source, sources};

/// The room a path is in: the longest that it begins with.
fn room_of<'a>(rooms: &'a [Room<'a>], path: &[String]) -> Option<&'a Room<'a>> {
    let path = path.join("/");
    rooms
        .iter()
        .filter(|room| {
            path.strip_prefix(room.name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .max_by_key(|room| room.name.len())
}

#[test]
fn a_room_may_use_only_rooms_that_stand_before_it_in_the_table() {
    for (package, _, table) in HOUSE {
        let rooms = rooms(table);
        for (at, room) in rooms.iter().enumerate() {
            for used in &room.uses {
                assert!(
                    rooms[..at].iter().any(|below| below.name == *used),
                    "{package}: the line of {} names {used}, which does not stand above it",
                    room.name
                );
            }
        }
    }
}

#[test]
fn every_file_is_in_a_room_and_uses_only_what_the_room_may() {
    let sources = sources();
    let mut wrong = Vec::new();
    for (_, root, table) in HOUSE {
        let rooms = rooms(table);
        for source in &sources {
            let Some(module) = module_of(root, &source.name) else {
                continue;
            };
            if module.is_empty() {
                continue; // lib.rs names every room
            }
            let Some(room) = room_of(&rooms, &module) else {
                wrong.push(format!("{} is in no room of tests/tidy/house.rs", source.name));
                continue;
            };
            for (line, path) in named(source, &module) {
                let used = room_of(&rooms, &path).map(|used| used.name);
                if used.is_some_and(|used| !room.may_use(used)) {
                    wrong.push(format!(
                        "{}:{line} uses {}, which {} may not",
                        source.name,
                        path.join("::"),
                        room.name
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn packages_use_of_ours_only_what_the_house_says() {
    let ours: Vec<_> = PACKAGES.iter().map(|(name, ..)| *name).collect();
    for (package, folder, may) in PACKAGES {
        let file = workspace().join(folder).join("Cargo.toml");
        let text =
            fs::read_to_string(&file).unwrap_or_else(|e| panic!("cannot read {}: {e}", file.display()));
        let manifest: toml::Table = text.parse().expect("Cargo has read it");
        assert_eq!(manifest["package"]["name"].as_str(), Some(package));
        let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
        let used = kinds
            .iter()
            .filter_map(|kind| manifest.get(*kind)?.as_table())
            .flat_map(toml::Table::keys);
        for name in used {
            assert!(
                !ours.contains(&name.as_str()) || may.contains(&name.as_str()),
                "{package} depends on {name}"
            );
        }
    }
}

/// Files that use each other, of one package: the strongly connected parts of the graph that have more than one file.
fn circles(root: &str, sources: &[Source]) -> Vec<Vec<String>> {
    let files: BTreeMap<Module, &Source> = sources
        .iter()
        .filter(|source| !source.is_test())
        .filter_map(|source| Some((module_of(root, &source.name)?, source)))
        .collect();
    let mut uses: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for (module, source) in &files {
        let here = uses.entry(module).or_default();
        for (_, path) in named(source, module) {
            let target = (0..=path.len())
                .rev()
                .find_map(|length| files.get_key_value(&path[..length]));
            here.extend(
                target
                    .map(|(target, _)| target)
                    .filter(|target| *target != module),
            );
        }
        // A module names its own parts without a prefix.
        let code: String = source
            .product()
            .iter()
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        for part in files
            .keys()
            .filter(|part| part.len() == module.len() + 1 && part.starts_with(module))
        {
            let path = format!("{}::", part[module.len()]);
            if module.is_empty() {
                continue; // lib.rs
            }
            let begins =
                |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if code.match_indices(&path).any(|(at, _)| begins(at)) {
                here.insert(part);
            }
        }
    }
    let reach: BTreeMap<_, BTreeSet<_>> = uses.keys().map(|from| (*from, reached(from, &uses))).collect();
    let mut done = BTreeSet::new();
    let mut found = Vec::new();
    for module in uses.keys() {
        let circle: Vec<_> = reach[module]
            .iter()
            .filter(|other| reach[**other].contains(module))
            .copied()
            .collect();
        if circle.len() > 1 && done.insert(circle.clone()) {
            found.push(circle.iter().map(|module| module.join("/")).collect());
        }
    }
    found
}

fn reached<'a>(from: &'a Module, uses: &BTreeMap<&'a Module, BTreeSet<&'a Module>>) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut next = vec![from];
    while let Some(module) = next.pop() {
        for used in &uses[module] {
            if found.insert(*used) {
                next.push(used);
            }
        }
    }
    found
}

/// Across rooms there can be no circle, for the table has none; those inside a room are printed for people to judge.
#[test]
fn circles_of_files_stay_inside_a_room() {
    let sources = sources();
    let mut across = Vec::new();
    for (package, root, table) in HOUSE {
        let rooms = rooms(table);
        for circle in circles(root, &sources) {
            println!(
                "{package}: a circle of {} files: {}",
                circle.len(),
                circle.join(" ")
            );
            let places: BTreeSet<_> = circle
                .iter()
                .map(|file| {
                    let path: Module = file.split('/').map(str::to_owned).collect();
                    room_of(&rooms, &path).map(|room| room.name)
                })
                .collect();
            if places.len() > 1 {
                across.push(circle);
            }
        }
    }
    assert!(across.is_empty(), "{across:#?}");
}

#[test]
fn files_of_wire_and_of_the_filters_use_each_other_in_no_circle() {
    let sources = sources();
    let found: Vec<_> = [
        "core/wire/src",
        "filters/common/src",
        "filters/sticky-router/src",
        "filters/session-binder/src",
    ]
    .iter()
    .flat_map(|root| {
        circles(root, &sources)
            .into_iter()
            .map(move |circle| format!("{root}: {}", circle.join(" ")))
    })
    .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_circle_is_found() {
    let file = |name: &str, text: &str| Source {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let sources = [
        file("p/a.rs", "use crate::b::c;"),
        file("p/b/mod.rs", "mod c;\npub use c::D;"),
        file("p/b/c.rs", "use crate::a;"),
        file("p/e.rs", "use crate::a;"),
    ];
    assert_eq!(circles("p", &sources), [["a", "b/c"]]);
}
