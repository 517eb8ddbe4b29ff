//! What carries a plan out: each action at its time, told to the ledger before it is done. Meanwhile it looks whether a
//! process ended that nobody ended.

use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::ledger::Broken;
use crate::plan::{Action, Plan};
use crate::stage::{NODES, PROXIES, Stage};
use crate::world::{Tally, World, node_name};

/// How often it looks whether a process ended.
const STEP: Duration = Duration::from_millis(200);
/// How many strangers come at once.
const STRANGERS: usize = 40;
/// How long strangers stay.
const STAY: Duration = Duration::from_secs(5);

/// Carries out `plan`, which takes so long; ends early when everybody is to end.
pub async fn carry_out(world: &World, stage: &mut Stage, plan: Plan, length: Duration) {
    let begun = Instant::now();
    let mut plan = plan.into_iter().peekable();
    while begun.elapsed() < length && !world.is_stopped() {
        while let Some((_, action)) = plan.next_if(|(at, _)| *at <= begun.elapsed()) {
            act(world, stage, &action).await;
        }
        look_for_ends(world, stage);
        let next = plan
            .peek()
            .map_or(STEP, |(at, _)| at.saturating_sub(begun.elapsed()));
        tokio::time::sleep(next.min(STEP)).await;
    }
    for (_, action) in plan {
        // What is over by now ends now; what has not begun does not begin.
        if !action.is_fault() {
            act(world, stage, &action).await;
        }
    }
    stage.tidy();
}

/// C12, as far as processes can tell: none ends by itself.
pub fn look_for_ends(world: &World, stage: &mut Stage) {
    for ended in stage.ended() {
        let broken = Broken {
            claim: "C12",
            what: ended,
        };
        world.judge(None, "a process ended by itself", Err(broken));
        world.stop();
    }
}

async fn act(world: &World, stage: &mut Stage, action: &Action) {
    if action.is_fault() {
        Tally::add(&world.tally.faults);
    }
    world.tell_fault(told(action));
    {
        let now = world.now();
        let mut ledger = world.ledger();
        match action {
            Action::Kill(node) | Action::Terminate(node) => ledger.weather.on_loss(*node, now),
            action if action.disturbs() => ledger.weather.on_trouble(),
            _ => {}
        }
    }
    match action {
        Action::Cut(number, pairs) => stage.cut(*number, false, pairs.clone()),
        Action::CutDials(number, pairs) => stage.cut(*number, true, pairs.clone()),
        Action::Uncut(number) => stage.uncut(*number),
        Action::Kill(node) => stage.kill(*node),
        Action::Terminate(node) => {
            if let Err(what) = stage.terminate(*node).await {
                let broken = Broken { claim: "C12", what };
                world.judge(None, node_name(*node), Err(broken));
            }
        }
        Action::Start(node) => stage.begin(*node),
        Action::Freeze(node) => stage.signal(*node, Signal::STOP),
        Action::Thaw(node) => stage.signal(*node, Signal::CONT),
        Action::SlowFrom(node, rate) => stage.site.network().throttle_from(NODES[*node], *rate),
        Action::SlowTo(node, rate) => stage.site.network().throttle_to(NODES[*node], *rate),
        Action::Unslow(node) => stage.site.network().unthrottle(NODES[*node]),
        Action::Unplug(node) => stage.site.network().unplug(NODES[*node]),
        Action::Plug(node) => stage.site.network().plug(NODES[*node]),
        Action::Clock(node, seconds) => stage.set_clock(*node, *seconds),
        Action::Certificate(node) => stage.renew(*node),
        Action::Strangers(node) => strangers(format!("{}:4000", stage.site.network().addr(NODES[*node]))),
        Action::KillWorker(node) => stage.kill_worker(*node),
        Action::StartWorker(node) => stage.begin_worker(*node),
        Action::FreezeProxy(proxy) => stage.signal_proxy(*proxy, Signal::STOP),
        Action::ThawProxy(proxy) => stage.signal_proxy(*proxy, Signal::CONT),
    }
}

/// An action as a story tells it.
fn told(action: &Action) -> String {
    let pairs = |pairs: &[(usize, usize)]| {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(from, to)| format!("{}>{}", node_name(*from), node_name(*to)))
            .collect();
        pairs.join(" ")
    };
    match action {
        Action::Cut(number, cut) => format!("cut {number} begins: {}", pairs(cut)),
        Action::CutDials(number, cut) => format!("cut {number} of dials begins: {}", pairs(cut)),
        Action::Uncut(number) => format!("cut {number} ends"),
        Action::Kill(node) => format!("SIGKILL to {}", node_name(*node)),
        Action::Terminate(node) => format!("SIGTERM to {}", node_name(*node)),
        Action::Start(node) => format!("{} starts", node_name(*node)),
        Action::Freeze(node) => format!("SIGSTOP to {}", node_name(*node)),
        Action::Thaw(node) => format!("SIGCONT to {}", node_name(*node)),
        Action::SlowFrom(node, rate) => format!("{rate} bytes/s from {}", node_name(*node)),
        Action::SlowTo(node, rate) => format!("{rate} bytes/s to {}", node_name(*node)),
        Action::Unslow(node) => format!("{} is as fast as ever", node_name(*node)),
        Action::Unplug(node) => format!("the cable of {} is pulled", node_name(*node)),
        Action::Plug(node) => format!("the cable of {} is in again", node_name(*node)),
        Action::Clock(node, seconds) => format!("the clock of {} is {seconds:+} s ahead", node_name(*node)),
        Action::Certificate(node) => format!("{} has another certificate", node_name(*node)),
        Action::Strangers(node) => format!("strangers connect to {}", node_name(*node)),
        Action::KillWorker(node) => format!("the worker of {} is killed", node_name(*node)),
        Action::StartWorker(node) => format!("the worker of {} starts", node_name(*node)),
        Action::FreezeProxy(proxy) => format!("SIGSTOP to the proxy of {}", PROXIES[*proxy]),
        Action::ThawProxy(proxy) => format!("SIGCONT to the proxy of {}", PROXIES[*proxy]),
    }
}

/// Connections to a node that say nothing, or what no node says.
fn strangers(to: String) {
    for number in 0..STRANGERS {
        let to = to.clone();
        tokio::spawn(async move {
            let Ok(Ok(mut stream)) = tokio::time::timeout(STAY, TcpStream::connect(to)).await else {
                return;
            };
            if number % 2 == 0 {
                let _ = stream.write_all(&[number as u8; 300]).await; // it may have closed by then
            }
            tokio::time::sleep(STAY).await;
        });
    }
}
