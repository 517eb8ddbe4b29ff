//! What is told while things are killed and started: who died, who took over, how many sessions moved.
//!
//! Pure: what happened and the time come in, lines for people go out. Who looks for what happens is `main`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::console::Part;
use crate::view::View;
use crate::visitors::Noticed;

/// Moves are told once none has come for so long: a session moves with its next request.
const QUIET: Duration = Duration::from_millis(1500);

/// What has been seen and told.
#[derive(Debug, Default)]
pub(crate) struct Story {
    view: View,
    moves: Option<Moves>,
    /// What the visitors had noticed when everything was well.
    calm: Noticed,
    death: Option<Duration>,
}

/// Sessions that are moving.
#[derive(Debug)]
struct Moves {
    count: BTreeMap<(String, String), usize>,
    first: Duration,
    last: Duration,
}

impl Story {
    /// What the cluster looks like before anything happens.
    pub(crate) fn new(view: View) -> Self {
        Self {
            view,
            ..Self::default()
        }
    }

    /// The last view.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// A process ended.
    pub(crate) fn on_death(&mut self, part: &Part, pid: u32, how: &str, now: Duration) -> Vec<String> {
        self.death.get_or_insert(now);
        let mut lines = vec![format!("{part} (pid {pid}) is gone: {how}")];
        match part {
            Part::Worker(node) | Part::Core(node) => lines.push(format!(
                "{} sessions are bound to {node}; each moves with its next request",
                self.view.bound_to(node)
            )),
            Part::Proxy => {
                lines.push("nobody gets through until it is back; no session is lost with it".into())
            }
        }
        lines.push(format!("to start it again, type: start {part}"));
        lines
    }

    /// A process was started, and serves.
    pub(crate) fn on_ready(part: &Part, pid: u32, took: Duration) -> Vec<String> {
        vec![format!(
            "{part} (pid {pid}) is back, {:.1} s after its start",
            took.as_secs_f64()
        )]
    }

    /// A core was asked what it sees; and what the visitors have noticed up to now.
    pub(crate) fn on_view(
        &mut self,
        witness: &str,
        view: View,
        noticed: Noticed,
        now: Duration,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        let after = self
            .death
            .map(|death| format!(", {:.1} s after", (now - death).as_secs_f64()))
            .unwrap_or_default();
        for (kind, before, seen) in [
            ("core", &self.view.members, &view.members),
            ("worker", &self.view.workers, &view.workers),
        ] {
            for (name, state) in seen {
                let old = before.get(name).map_or("unknown", String::as_str);
                if old != state {
                    lines.push(format!("{witness} sees {kind} {name}: {old} -> {state}{after}"));
                }
            }
        }
        for (id, route) in &view.sessions {
            let Some(old) = self.view.sessions.get(id).filter(|old| *old != route) else {
                continue;
            };
            let moves = self.moves.get_or_insert_with(|| Moves {
                count: BTreeMap::new(),
                first: now,
                last: now,
            });
            moves.last = now;
            *moves.count.entry((old.clone(), route.clone())).or_default() += 1;
        }
        self.view = view;
        lines.extend(self.told_moves(noticed, now));
        lines
    }

    /// The summary of moves that have come to an end.
    fn told_moves(&mut self, noticed: Noticed, now: Duration) -> Vec<String> {
        if self.moves.as_ref().is_some_and(|moves| now < moves.last + QUIET) {
            return Vec::new();
        }
        let Some(moves) = self.moves.take() else {
            if self.death.is_none() {
                self.calm = noticed;
            }
            return Vec::new();
        };
        let since = noticed - self.calm;
        self.calm = noticed;
        let began = self.death.take().unwrap_or(moves.first);
        let mut lines: Vec<_> = moves
            .count
            .iter()
            .map(|((from, to), count)| format!("{to} took over {count} sessions of {from}"))
            .collect();
        lines.push(format!(
            "{} sessions moved within {:.1} s; of the visitors' {} requests meanwhile {} failed, and {} sessions were lost",
            moves.count.values().sum::<usize>(),
            (moves.last - began).as_secs_f64(),
            since.requests,
            since.failed,
            since.lost
        ));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(workers: &[(&str, &str)], sessions: &[(&str, &str)]) -> View {
        let owned = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        View {
            members: BTreeMap::new(),
            workers: owned(workers),
            sessions: owned(sessions),
        }
    }

    fn noticed(requests: u64, failed: u64) -> Noticed {
        Noticed {
            requests,
            failed,
            lost: 0,
        }
    }

    const AT: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_death_is_told_with_what_moved_and_what_visitors_noticed() {
        let up = [("node1", "up"), ("node2", "up")];
        let bound = [("a", "node2"), ("b", "node2"), ("c", "node1")];
        let mut story = Story::new(view(&up, &bound));
        assert!(
            story
                .on_view("node1", view(&up, &bound), noticed(40, 1), AT(900))
                .is_empty()
        );

        let told = story
            .on_death(&Part::Worker("node2".into()), 77, "signal 9", AT(1000))
            .join("\n");
        assert!(told.contains("worker node2 (pid 77) is gone: signal 9"), "{told}");
        assert!(told.contains("2 sessions are bound to node2"), "{told}");
        assert!(told.contains("start worker node2"), "{told}");

        let down = [("node1", "up"), ("node2", "down")];
        let told = story.on_view("node1", view(&down, &bound), noticed(41, 1), AT(1200));
        assert_eq!(told, ["node1 sees worker node2: up -> down, 0.2 s after"]);

        let moved = [("a", "node1"), ("b", "node1"), ("c", "node1")];
        assert!(
            story
                .on_view("node1", view(&down, &moved), noticed(44, 1), AT(1900))
                .is_empty()
        );
        let told = story.on_view("node1", view(&down, &moved), noticed(50, 1), AT(3500));
        assert_eq!(
            told,
            [
                "node1 took over 2 sessions of node2",
                "2 sessions moved within 0.9 s; of the visitors' 10 requests meanwhile 0 failed, and 0 sessions were lost"
            ]
        );
    }

    #[test]
    fn new_sessions_and_ended_ones_are_no_moves() {
        let mut story = Story::new(view(&[], &[("a", "node1")]));
        assert!(
            story
                .on_view("node1", view(&[], &[("b", "node2")]), noticed(1, 0), AT(100))
                .is_empty()
        );
        assert!(
            story
                .on_view("node1", view(&[], &[]), noticed(2, 0), AT(5000))
                .is_empty()
        );
    }
}
