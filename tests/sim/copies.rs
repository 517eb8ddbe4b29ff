//! The claim about counts of copies: a node never says that more nodes hold a change than do.

use limpet_core::engine::Engine;

use crate::check::everywhere;
use crate::client::Pending;
use crate::host::Host;
use crate::view;
use crate::world::World;

/// C2: the count never exceeds the truth.
pub fn check(world: &mut World, index: usize, pending: &Pending, copies: usize) {
    let holds = |world: &World, engine: &Engine| {
        let (table, history) = (engine.table(), &world.history);
        let mut writes = pending.writes.iter().map(|write| &history.writes[*write]);
        let mut endings = pending.endings.iter().map(|end| &history.endings[*end]);
        writes.all(|write| write.is_in(history, table)) && endings.all(|end| end.is_in(history, table))
    };
    let holders: Vec<_> = world
        .hosts
        .iter()
        .filter(|host| host.engine.as_ref().is_some_and(|engine| holds(world, engine)))
        .map(Host::incarnation)
        .collect();
    crate::fresh::note_told(world, &pending.writes);
    let history = &world.history;
    let since = pending
        .writes
        .iter()
        .map(|write| history.writes[*write].at)
        .chain(pending.endings.iter().map(|end| history.endings[*end].at))
        .min()
        .unwrap_or(world.now);
    let lost = history.losses_since(since);
    for write in &pending.writes {
        let history = &world.history;
        let keeps = |engine: &Engine| history.writes[*write].is_kept_in(history, engine.table());
        let keepers = world
            .hosts
            .iter()
            .filter(|host| host.engine.as_ref().is_some_and(keeps));
        let keepers = keepers.map(Host::incarnation).collect();
        let write = &mut world.history.writes[*write];
        write.holders = keepers;
        write.told = copies;
    }
    for end in &pending.endings {
        world.history.endings[*end].holders.clone_from(&holders);
    }
    // In `backup` mode a node hands over what it is not to hold, and may have by now.
    let home = world.clients[index].home;
    let handed_off = !world.plan.everywhere() && !holders.iter().any(|incarnation| incarnation.0 == home);
    let forgotten = if world.plan.forgets() {
        forgotten(world, home, pending)
    } else {
        0
    };
    if copies > holders.len() + lost + usize::from(handed_off) + forgotten {
        let writes: Vec<_> = pending
            .writes
            .iter()
            .map(|write| &world.history.writes[*write])
            .collect();
        let endings: Vec<_> = pending
            .endings
            .iter()
            .map(|end| &world.history.endings[*end])
            .collect();
        let words = format!(
            "client {index} was told of {copies} copies; {holders:?} hold it and {lost} lost their memory since: \
             {writes:?} {endings:?}; {}",
            everywhere(
                world,
                writes
                    .first()
                    .map(|write| write.session)
                    .or(endings.first().map(|end| end.session))
            )
        );
        world.fail("C2", words);
    }
}

/// How many nodes know nothing of a session that `home` by now knows to have been deleted when it was written: they held
/// the write, in that they held the tombstone, which they may have forgotten since.
fn forgotten(world: &World, home: usize, pending: &Pending) -> usize {
    let history = &world.history;
    let trail = |write: usize| {
        let write = &history.writes[write];
        let table = world.hosts[home].engine.as_ref()?.table();
        Some((
            table,
            view::follow(table, &history.keys[write.session], write.life),
        ))
    };
    let over = |write: &usize| {
        trail(*write).is_some_and(|(table, trail)| {
            let record = table.get(&trail.key);
            trail.ended.is_some() || record.is_some_and(|record| view::deleted(record) >= trail.life)
        })
    };
    if pending.writes.is_empty() || !pending.writes.iter().all(over) {
        return 0;
    }
    let knows = |host: &&Host| {
        let table = host.engine.as_ref().map(Engine::table);
        pending.writes.iter().any(|write| {
            let keys = [
                Some(history.keys[history.writes[*write].session].clone()),
                trail(*write).map(|(_, trail)| trail.key),
            ];
            let mut keys = keys.into_iter().flatten();
            keys.any(|key| table.is_some_and(|table| table.get(&key).is_some()))
        })
    };
    world.hosts.iter().filter(|host| !knows(host)).count()
}
