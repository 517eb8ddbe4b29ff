//! What happened to the cluster, as far as it decides what a client may still see: starts of nodes, memory that was lost,
//! whether all is calm, and when the cluster last came to rest.
//!
//! It says of one acknowledged change whether a node has to show it. It knows no session.

use std::time::Duration;

use super::change::{At, Change, Instance, Outcome};

/// After so long every node has heard of a change, in `delta` mode, while nothing disturbs the cluster.
const HEARD: Duration = Duration::from_secs(3);
/// The same in `backup` mode, where a node may answer from a cache for a moment.
const HEARD_BACKUP: Duration = Duration::from_secs(6);

/// How a cluster keeps sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every node holds every session.
    Delta,
    /// So many nodes hold a session, its primary included.
    Backup {
        /// How many.
        holders: u64,
    },
}

/// One look at one node.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Who was asked.
    pub instance: Instance,
    /// When.
    pub begun: At,
}

/// Why a node has to show a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// It was there when the cluster came to rest, and not all of its holders were lost since.
    Settled,
    /// The node itself acknowledged it, and runs since.
    Own,
    /// Every node had it when it was acknowledged.
    Everywhere,
    /// Nothing disturbed the cluster since, and there was time enough.
    Calm,
}

/// See the module page.
#[derive(Debug, Clone)]
pub struct Weather {
    mode: Mode,
    incarnations: Vec<u32>,
    losses: Vec<At>,
    calm: Option<At>,
    rest: At,
}

impl Weather {
    /// A cluster of so many nodes that has just come together.
    #[must_use]
    pub fn new(mode: Mode, nodes: usize, now: At) -> Self {
        Self {
            mode,
            incarnations: vec![0; nodes],
            losses: Vec::new(),
            calm: Some(now),
            rest: now,
        }
    }

    /// How sessions are kept.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The present start of a node.
    #[must_use]
    pub fn instance(&self, node: usize) -> Instance {
        Instance {
            node,
            incarnation: self.incarnations[node],
        }
    }

    /// A node is about to lose its memory.
    pub fn on_loss(&mut self, node: usize, now: At) {
        self.losses.push(now);
        self.incarnations[node] += 1;
        self.on_trouble();
    }

    /// Something is about to disturb the cluster.
    pub fn on_trouble(&mut self) {
        self.calm = None;
    }

    /// Nothing disturbs the cluster, and all of it agrees.
    pub fn on_rest(&mut self, now: At) {
        self.calm = Some(now);
        self.rest = now;
    }

    /// Whether fewer nodes lost their memory than were known to hold the change.
    #[must_use]
    pub fn is_safe(&self, change: &Change) -> bool {
        match change.outcome {
            Outcome::Acked(copies) => {
                change.settled && self.is_kept() || self.losses_since(change.begun) < copies
            }
            _ => change.settled && self.is_kept(),
        }
    }

    /// Whether what was there at the last rest has to be there still.
    fn is_kept(&self) -> bool {
        let holders = match self.mode {
            Mode::Delta => self.incarnations.len() as u64,
            Mode::Backup { holders } => holders,
        };
        self.losses_since(self.rest) < holders
    }

    fn losses_since(&self, at: At) -> u64 {
        self.losses.iter().rev().take_while(|loss| **loss >= at).count() as u64
    }

    /// Why the node has to show the change; `None` where it need not.
    #[must_use]
    pub fn due(&self, change: &Change, look: &Look) -> Option<Due> {
        if change.settled && self.is_kept() {
            return Some(Due::Settled);
        }
        let Outcome::Acked(copies) = change.outcome else {
            return None;
        };
        let done = change.done.filter(|done| *done <= look.begun)?;
        let delta = self.mode == Mode::Delta;
        // The look may have been answered by the next start of the node.
        let same = change.instance == look.instance && self.instance(look.instance.node) == look.instance;
        if delta && same {
            return Some(Due::Own);
        }
        if !self.is_safe(change) {
            return None;
        }
        if delta && copies == self.incarnations.len() as u64 {
            return Some(Due::Everywhere);
        }
        let calm = self.calm.is_some_and(|since| since <= change.begun);
        let heard = if delta { HEARD } else { HEARD_BACKUP };
        (calm && (same || done + heard <= look.begun)).then_some(Due::Calm)
    }
}

#[cfg(test)]
mod tests {
    use super::{At, Change, Due, Look, Mode, Outcome, Weather};

    const fn s(seconds: u64) -> At {
        At::from_secs(seconds)
    }

    fn acked(weather: &Weather, node: usize, at: u64, copies: u64) -> Change {
        let mut change = Change::begin(weather.instance(node), s(at));
        change.end(Outcome::Acked(copies), s(at));
        change
    }

    fn look(weather: &Weather, node: usize, at: u64) -> Look {
        Look {
            instance: weather.instance(node),
            begun: s(at),
        }
    }

    #[test]
    fn a_node_shows_what_it_acknowledged_until_it_ends() {
        let mut weather = Weather::new(Mode::Delta, 5, s(0));
        weather.on_trouble();
        let change = acked(&weather, 1, 10, 1);
        assert_eq!(weather.due(&change, &look(&weather, 1, 10)), Some(Due::Own));
        assert_eq!(
            weather.due(&change, &look(&weather, 2, 99)),
            None,
            "there is trouble"
        );
        let begun = look(&weather, 1, 11);
        weather.on_loss(1, s(12));
        assert_eq!(
            weather.due(&change, &begun),
            None,
            "it may have ended before it answered"
        );
        assert_eq!(weather.due(&change, &look(&weather, 1, 20)), None);
        assert!(!weather.is_safe(&change));
    }

    #[test]
    fn what_all_nodes_have_every_node_shows_while_one_of_them_is_left() {
        let mut weather = Weather::new(Mode::Delta, 5, s(0));
        weather.on_trouble();
        let change = acked(&weather, 1, 10, 5);
        for node in 0..4 {
            assert_eq!(
                weather.due(&change, &look(&weather, 4, 20)),
                Some(Due::Everywhere)
            );
            weather.on_loss(node, s(20));
        }
        weather.on_loss(4, s(21));
        assert_eq!(weather.due(&change, &look(&weather, 4, 30)), None);
    }

    #[test]
    fn others_have_heard_of_a_change_after_a_while_without_trouble() {
        let mut weather = Weather::new(Mode::Delta, 5, s(0));
        let change = acked(&weather, 1, 10, 1);
        assert_eq!(weather.due(&change, &look(&weather, 2, 11)), None, "too early");
        assert_eq!(weather.due(&change, &look(&weather, 2, 13)), Some(Due::Calm));
        weather.on_trouble();
        assert_eq!(weather.due(&change, &look(&weather, 2, 14)), None);
        weather.on_rest(s(20));
        assert_eq!(
            weather.due(&change, &look(&weather, 2, 21)),
            None,
            "not known to be there at rest"
        );
    }

    #[test]
    fn what_was_there_at_rest_is_there_until_all_its_holders_are_lost() {
        let mut weather = Weather::new(Mode::Backup { holders: 3 }, 5, s(0));
        let mut change = acked(&weather, 1, 1, 1);
        change.settled = true;
        weather.on_rest(s(10));
        weather.on_loss(1, s(11));
        weather.on_loss(2, s(12));
        assert_eq!(weather.due(&change, &look(&weather, 4, 13)), Some(Due::Settled));
        weather.on_loss(3, s(14));
        assert_eq!(weather.due(&change, &look(&weather, 4, 15)), None);
        weather.on_rest(s(20));
        assert_eq!(weather.due(&change, &look(&weather, 4, 21)), Some(Due::Settled));
    }
}
