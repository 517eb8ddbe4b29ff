//! The faults: partitions of every shape, links that flap or crawl, processes that die, stop or leave, clocks that jump.
//! Several may last at once, and each has an end, until a core is spared ([`spare_a_core`]). Which kinds there are in a
//! run is the plan's.

use std::time::Duration;

use limpet_core::engine::Engine;
use limpet_core::engine::sessions::Patch;
use limpet_core::replication::streams::CONTROL;

use crate::draw::Draw;
use crate::history::NAMES;
use crate::host::LookUps;
use crate::leave;
use crate::network::Pass;
use crate::plan::{Fault, Plan};
use crate::report::Rare;
use crate::world::{Event, World};

/// A step of something that goes wrong.
#[derive(Debug, Clone)]
pub enum Act {
    Start(usize),
    Resume(usize),
    /// What becomes of packets of these ordered pairs from now on.
    Pass(Vec<(usize, usize)>, Pass),
    /// What becomes of new connections of these ordered pairs from now on.
    Dials(Vec<(usize, usize)>, Pass),
    /// The path between the two is cut and healed, this many times more.
    Flap(usize, usize, Pass, u32),
    Rate(Vec<(usize, usize)>, Option<u64>),
    Far(Vec<(usize, usize)>, u64),
    Clock(usize, i64),
    /// Some clocks are set.
    Step,
    /// A node that leaves is gone once it has handed off what it has, or at this time; how long it is away.
    Left(usize, u64, u64),
    LookUps(usize, LookUps),
    /// A partition is over.
    CutOver,
}

/// How faults are drawn.
pub struct Faults {
    pub draw: Draw,
    /// For clocks that are set.
    steps: Draw,
    every: Duration,
    kinds: Vec<Fault>,
    to_the_last: bool,
    /// Steps of an earlier generation do not happen any more.
    pub generation: u32,
    /// Partitions at present.
    pub cuts: u32,
}

impl Faults {
    pub fn new(plan: &Plan) -> Self {
        Self {
            draw: Draw::of(plan.seed, "faults"),
            steps: Draw::of(plan.seed, "steps"),
            every: plan.faults.every,
            kinds: plan.faults.kinds.clone(),
            to_the_last: plan.faults.to_the_last,
            generation: 0,
            cuts: 0,
        }
    }

    /// Until the next.
    pub fn pause(&mut self) -> u64 {
        let every = self.every.as_micros() as u64;
        self.draw.between(every / 10, every * 19 / 10)
    }
}

pub fn later(world: &mut World, after: u64, act: Act) {
    let generation = world.faults.generation;
    world.after(after, Event::Act(generation, act));
}

/// Both directions between every one of `left` and every one of `right`.
fn across(left: &[usize], right: &[usize]) -> Vec<(usize, usize)> {
    left.iter()
        .flat_map(|a| right.iter().flat_map(move |b| [(*a, *b), (*b, *a)]))
        .collect()
}

/// Something goes wrong.
pub fn strike(world: &mut World) {
    if world.faults.generation > 0 {
        return; // a core was spared: what is broken by now stays so, and nothing else breaks
    }
    let pause = world.faults.pause();
    let kinds = world.faults.kinds.clone();
    let draw = &mut world.faults.draw;
    let kind = draw.pick(&kinds);
    let mut nodes: Vec<usize> = (0..world.plan.nodes).collect();
    draw.shuffle(&mut nodes);
    let (one, other) = (nodes[0], nodes[1]);
    let lasts = draw.between(100_000, 9_000_000);
    let broken = draw.pick(&[Pass::Drop, Pass::Drop, Pass::Reject]);
    let split = draw.index(nodes.len() - 1) + 1;
    let (left, right) = nodes.split_at(split);
    let sides = across(left, right);
    world.numbers.faults += 1;
    world
        .trace
        .note(world.now, "fault", one, other, lasts, format!("{kind:?}"));
    match kind {
        Fault::Split => cut(world, sides, broken, lasts),
        Fault::OneWay => {
            let pairs = if world.faults.draw.chance(0.5) {
                vec![(one, other)]
            } else {
                sides
                    .into_iter()
                    .filter(|(from, _)| left.contains(from))
                    .collect()
            };
            cut(world, pairs, broken, lasts);
        }
        Fault::DialOneWay => {
            act(world, Act::Dials(vec![(one, other)], broken));
            later(world, lasts, Act::Dials(vec![(one, other)], Pass::Open));
            if let Some(id) = world.hosts[one].links.get(&(other, CONTROL)) {
                world.after(0, Event::Broken(*id));
            }
        }
        Fault::Bridge => {
            // Everybody reaches the first; the rest is two groups.
            let rest = &nodes[1..];
            if rest.len() >= 2 {
                let at = world.faults.draw.index(rest.len() - 1) + 1;
                cut(world, across(&rest[..at], &rest[at..]), broken, lasts);
            }
        }
        Fault::Swizzle => swizzle(world, broken, lasts),
        Fault::Flap => {
            let times = world.faults.draw.between(4, 20) as u32;
            act(world, Act::Flap(one, other, broken, times));
        }
        Fault::Slow => {
            let rate = world.faults.draw.pick(&[2_000, 10_000, 50_000]);
            let pairs = across(&[one], &nodes[1..]);
            act(world, Act::Rate(pairs.clone(), Some(rate)));
            later(world, lasts, Act::Rate(pairs, None));
        }
        Fault::Far => {
            let far = world.faults.draw.pick(&[50_000, 400_000, 1_500_000]);
            act(world, Act::Far(vec![(one, other)], far));
            later(world, lasts, Act::Far(vec![(one, other)], 0));
        }
        Fault::Reset => {
            let ids: Vec<_> = world.net.conns.keys().copied().collect();
            if !ids.is_empty() {
                let id = world.faults.draw.pick(&ids);
                world.after(0, Event::Broken(id));
            }
        }
        Fault::Crash | Fault::PowerOff | Fault::Leave => die(world, kind, one, lasts),
        Fault::Pause => {
            world.pause(one);
            later(world, lasts, Act::Resume(one));
        }
        Fault::Jump => {
            let off = clock_within(world, one);
            act(world, Act::Clock(one, off));
        }
        Fault::Strobe => {
            for step in 0..10 {
                let off = clock_within(world, one);
                later(world, step * 150_000, Act::Clock(one, off));
            }
        }
        Fault::Burst => burst(world, one),
        Fault::Unheard => {
            let others: Vec<_> = nodes[1..].iter().map(|other| (one, *other)).collect();
            let kept = world.faults.draw.index(others.len()) + 1;
            let pairs = others[..kept].to_vec();
            if world.faults.draw.chance(0.5) {
                act(world, Act::Dials(pairs.clone(), broken));
                later(world, lasts, Act::Dials(pairs, Pass::Open));
            } else {
                cut(world, pairs, broken, lasts);
            }
            die(world, Fault::Crash, one, lasts / 20);
        }
        Fault::SilentSeed => {
            world.pause(other);
            later(world, lasts, Act::Resume(other));
            world.crash(one, false); // the other one still has what it has
            later(world, lasts / 20, Act::Start(one));
        }
        Fault::LookUps => {
            let slow = LookUps::Slow(lasts / 2);
            let how = world.faults.draw.pick(&[LookUps::Fail, slow]);
            act(world, Act::LookUps(one, how));
            later(world, lasts, Act::LookUps(one, LookUps::Work));
            if world.faults.draw.chance(0.5) {
                die(world, Fault::Crash, one, lasts / 20);
            }
        }
    }
    world.after(pause, Event::Fault);
}

fn cut(world: &mut World, pairs: Vec<(usize, usize)>, pass: Pass, lasts: u64) {
    world.faults.cuts += 1;
    act(world, Act::Pass(pairs.clone(), pass));
    later(world, lasts, Act::Pass(pairs, Pass::Open));
    later(world, lasts, Act::CutOver);
}

/// A random half of the links stops one after the other, and comes back in another order.
fn swizzle(world: &mut World, pass: Pass, lasts: u64) {
    let mut pairs = Vec::new();
    for a in 0..world.plan.nodes {
        for b in 0..a {
            if world.faults.draw.chance(0.5) {
                pairs.push((a, b));
            }
        }
    }
    world.faults.draw.shuffle(&mut pairs);
    let gap = lasts / (2 * pairs.len() as u64 + 1);
    for (position, (a, b)) in pairs.iter().enumerate() {
        later(
            world,
            gap * position as u64,
            Act::Pass(vec![(*a, *b), (*b, *a)], pass),
        );
    }
    world.faults.draw.shuffle(&mut pairs);
    for (position, (a, b)) in pairs.iter().enumerate() {
        let at = lasts / 2 + gap * position as u64;
        later(world, at, Act::Pass(vec![(*a, *b), (*b, *a)], Pass::Open));
    }
}

fn die(world: &mut World, kind: Fault, index: usize, lasts: u64) {
    let others = (0..world.plan.nodes).filter(|other| *other != index && world.hosts[*other].is_ready());
    if others.count() == 0 && !world.faults.to_the_last {
        return;
    }
    // Now and then it is back before anybody has noticed.
    let away = if world.faults.draw.chance(0.3) {
        lasts / 20
    } else {
        lasts
    };
    if kind == Fault::Leave {
        leave::begin(world, index, away);
        return;
    }
    world.crash(index, kind == Fault::PowerOff);
    later(world, away, Act::Start(index));
}

/// How far clocks are set, in milliseconds.
const STEPS_MS: [i64; 8] = [
    1000, 5000, 30_000, 70_000, 3_600_000, 3_600_000, 36_000_000, 36_000_000,
];

/// Where a plan has it, clocks are set from now on, and one node begins alone with a clock that is far off.
pub fn begin_steps(world: &mut World) {
    let Some(every) = world.plan.clocks.steps else {
        return;
    };
    let draw = &mut world.faults.steps;
    let first = draw.below(2 * every.as_micros() as u64);
    let alone = draw.index(world.plan.nodes);
    let (off, lasts) = (far(draw), draw.between(3_000_000, 15_000_000));
    later(world, first, Act::Step);
    if world.plan.clocks.apart {
        let others: Vec<usize> = (0..world.plan.nodes).filter(|other| *other != alone).collect();
        let usual = world.hosts[alone].clock.off_ms;
        act(world, Act::Clock(alone, off));
        cut(world, across(&[alone], &others), Pass::Reject, lasts);
        later(world, lasts * 2, Act::Clock(alone, usual));
    }
}

fn far(draw: &mut Draw) -> i64 {
    let step = draw.pick(&STEPS_MS);
    if draw.chance(0.5) { step } else { -step }
}

/// Some clocks are set, and most of them are set right a while later.
fn step(world: &mut World) {
    let Some(every) = world.plan.clocks.steps else {
        return;
    };
    let nodes = world.plan.nodes;
    let draw = &mut world.faults.steps;
    let many = draw.pick(&[1, 1, 1, draw.clone().index(nodes) + 1, nodes]);
    let mut which: Vec<usize> = (0..nodes).collect();
    draw.shuffle(&mut which);
    which.truncate(many);
    let (off, lasts) = (far(draw), draw.between(100_000, 9_000_000));
    let back = draw.chance(0.8);
    let next = draw.between(every.as_micros() as u64 / 10, every.as_micros() as u64 * 19 / 10);
    for index in which {
        let usual = world.hosts[index].usual_ms;
        act(world, Act::Clock(index, usual + off));
        if back {
            // Not all at once.
            let after = lasts + world.faults.steps.below(500_000);
            later(world, after, Act::Clock(index, usual));
        }
    }
    later(world, next, Act::Step);
}

fn clock_within(world: &mut World, index: usize) -> i64 {
    let bound = world.plan.clocks.skew_ms;
    if world.hosts[index].clock.off_ms.unsigned_abs() > bound {
        return world.hosts[index].clock.off_ms; // it is far off, and stays so
    }
    world.faults.draw.between(0, 2 * bound) as i64 - bound as i64
}

/// More changes at once than an outbox may hold.
fn burst(world: &mut World, index: usize) {
    if !world.hosts[index].is_ready() || world.clients.is_empty() {
        return;
    }
    let client = world.faults.draw.index(world.clients.len());
    if world.clients[client].home != index || world.clients[client].pending.is_some() {
        return;
    }
    if world.clients[client].incarnation != world.hosts[index].incarnation() {
        return;
    }
    for _ in 0..12 {
        let known = world.history.keys.len();
        let session = world.faults.draw.index(known);
        let len = world.faults.draw.between(500, 3_000) as usize;
        let value = world.history.value(session, 0, client, len);
        let patch = Patch {
            set: vec![(NAMES[0].into(), value)],
            ..Patch::default()
        };
        let at = world.now;
        crate::operation::write(world, client, session, patch, vec![0], at);
    }
}

/// One step.
pub fn act(world: &mut World, act: Act) {
    match act {
        Act::Start(index) => {
            if world.hosts[index].engine.is_none() {
                world.start(index);
            }
        }
        Act::Resume(index) => world.resume(index),
        Act::Pass(pairs, pass) => {
            world
                .trace
                .note(world.now, "pass", 0, 0, 0, format!("{pass:?} {pairs:?}"));
            for (a, b) in pairs {
                world.net.path_mut(a, b).pass = pass;
                world.path_changed(a, b);
            }
        }
        Act::Dials(pairs, pass) => {
            for (a, b) in pairs {
                world.net.path_mut(a, b).dials = pass;
                world.path_changed(a, b);
            }
        }
        Act::Flap(a, b, pass, times) => {
            let closed = world.net.path(a, b).pass != Pass::Open;
            let next = if closed || times == 0 { Pass::Open } else { pass };
            self::act(world, Act::Pass(vec![(a, b), (b, a)], next));
            if times > 0 {
                let pause = world.faults.draw.between(30_000, 1_500_000);
                later(world, pause, Act::Flap(a, b, pass, times - 1));
            }
        }
        Act::Rate(pairs, rate) => {
            for (a, b) in pairs {
                world.net.path_mut(a, b).rate = rate;
                if rate.is_none() {
                    world.net.hasten(a, b, world.now);
                }
                world.path_changed(a, b);
            }
        }
        Act::Far(pairs, far) => {
            for (a, b) in pairs {
                world.net.path_mut(a, b).extra_delay_us = far;
                if far == 0 {
                    world.net.hasten(a, b, world.now);
                }
                world.path_changed(a, b);
            }
        }
        Act::Clock(index, off) => {
            world
                .trace
                .note(world.now, "clock", index, 0, 0, format!("{off} ms"));
            world.hosts[index].clock.off_ms = off;
            world.note_clocks();
            if off.unsigned_abs() > 60_000 {
                world.reached.note(Rare::FarClock);
            }
        }
        Act::Step => step(world),
        Act::Left(index, away, until) => leave::end(world, index, away, until),
        Act::LookUps(index, how) => world.hosts[index].look_ups = how,
        Act::CutOver => world.faults.cuts = world.faults.cuts.saturating_sub(1),
    }
}

/// The faults are over for a core of nodes drawn now; what is wrong with the others, or between them and the core,
/// stays so for ever, and some of it gets worse.
pub fn spare_a_core(world: &mut World) {
    world.faults.generation += 1;
    world.faults.cuts = 0;
    let draw = &mut world.faults.draw;
    let mut nodes: Vec<usize> = (0..world.plan.nodes).collect();
    draw.shuffle(&mut nodes);
    let size = if draw.chance(0.4) {
        nodes.len()
    } else {
        draw.index(nodes.len()) + 1
    };
    let mut core = nodes[..size].to_vec();
    core.sort_unstable();
    let out = &nodes[size..];
    let backup = !world.plan.everywhere();
    for stranger in out {
        for member in &core {
            // One way only, or both, or as it is.
            let draw = &mut world.faults.draw;
            // In `backup` mode the members decide which node holds what, and a member that is half there decides nothing.
            let whole = backup;
            let (there, back) = (whole || draw.chance(0.3), whole || draw.chance(0.3));
            let pass = draw.pick(&[Pass::Drop, Pass::Reject]);
            if there {
                self::act(world, Act::Pass(vec![(*stranger, *member)], pass));
            }
            if back {
                self::act(world, Act::Pass(vec![(*member, *stranger)], pass));
            }
        }
    }
    for a in core.clone() {
        for b in core.iter().copied().filter(|b| *b != a) {
            *world.net.path_mut(a, b) = crate::network::Path::default();
            world.net.hasten(a, b, world.now);
        }
    }
    world.net.weather.gossip_loss = 0.0;
    world.trace.note(world.now, "core", 0, 0, 0, format!("{core:?}"));
    for index in 0..world.plan.nodes {
        if world.hosts[index].engine.as_ref().is_some_and(Engine::is_leaving) {
            world.crash(index, false); // who leaves is gone soon, whatever else is wrong
        }
    }
    for host in &mut world.hosts {
        host.look_ups = LookUps::Work;
    }
    for index in core.clone() {
        world.resume(index);
        if world.hosts[index].engine.is_none() {
            world.start(index);
        } else {
            world.paths_changed(index);
        }
    }
    // Whom a node was told of need not be in the core: then hints tell the core's nodes of each other.
    for a in core.clone() {
        for b in core.iter().copied().filter(|b| *b != a) {
            world.want_link(a, b);
        }
    }
    world.core = core;
}
