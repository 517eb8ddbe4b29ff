//! Visitors: browsers that come through the proxies, with cookies, and change from one proxy to the other now and then. A
//! demo worker keeps their session, so every page tells what its node holds, and the ledger is told who answered.

use std::sync::Arc;
use std::time::Duration;

use limpet_tests::random::Random;

use crate::browser::Browser;
use crate::ledger::{Instance, Ledger, Look, Outcome};
use crate::page::{self, Page, told};
use crate::stage::NODES;
use crate::world::World;

/// Whom nobody answered in time may be served later all the same: by then it is.
const LATE: Duration = Duration::from_secs(15);

/// A visitor at work.
pub struct Visitor {
    world: Arc<World>,
    random: Random,
    writer: String,
    browser: Browser,
    session: Option<Visited>,
    pace_ms: u64,
}

/// The visitor's session.
#[derive(Debug, Clone)]
struct Visited {
    name: String,
    id: String,
    /// Where the counter was read last, and which write that was.
    read: Option<(Instance, u64)>,
}

impl Visitor {
    /// The visitor of this number, who rests for `pace_ms` on average after every step.
    #[must_use]
    pub fn new(world: &Arc<World>, number: usize, random: Random, pace_ms: u64) -> Self {
        Self {
            world: Arc::clone(world),
            browser: Browser::new(world, Random::seeded(random.clone().number())),
            random,
            writer: format!("visitor{number}"),
            session: None,
            pace_ms,
        }
    }

    /// Comes back until everybody is to end.
    pub async fn work(mut self) {
        let world = Arc::clone(&self.world);
        while !world.is_stopped() {
            {
                let _open = world.gate.read().await;
                if !world.is_stopped() {
                    self.step().await;
                }
            }
            let rest = self.random.below(2 * self.pace_ms);
            tokio::time::sleep(Duration::from_millis(rest)).await;
        }
    }

    async fn step(&mut self) {
        let Some(session) = self.session.clone() else {
            return self.begin().await;
        };
        // A rest may have found out that it is gone.
        if self.world.ledger().session(&session.name).is_usable() == Some(false) {
            return self.forget();
        }
        match self.random.below(100) {
            0..60 => self.count(session).await,
            60..75 => self.visit(session, "/json").await.map_or((), drop),
            75..87 => self.visit(session, "/headers/visit").await.map_or((), drop),
            87..92 if self.world.options.renames => self.login(session).await,
            92..96 if self.world.options.late_reports => {
                // What this visit changes is reported by the proxy, perhaps after the end.
                let _ = self.visit(session.clone(), "/headers/visit").await;
                self.logout(session).await;
            }
            92..98 => self.logout(session).await,
            _ => {
                let _ = self.browser.request("GET", "/headers/logout", "").await; // it cannot be known what comes of it
                self.world.ledger().session(&session.name).give_up(); // the proxy reports it when it can
                self.forget();
            }
        }
    }

    /// Counts on: reads the page, then sets the next value.
    async fn count(&mut self, session: Visited) {
        let Some(session) = self.visit(session, "/json").await else {
            return;
        };
        let looks = self.looks();
        let begun = self.world.now();
        let value = {
            let mut ledger = self.world.ledger();
            ledger
                .session(&session.name)
                .write("n", None, &self.writer, looks[0].instance, begun)
        };
        let body = format!("name=n&value={value}");
        let answer = self.browser.request("POST", "/set", &body).await;
        let page = answer
            .as_ref()
            .and_then(|answer| Page::read(answer, &session.id, &looks));
        let mut ledger = self.world.ledger();
        let of_it = ledger.session(&session.name);
        let line = told(&self.writer, "POST /set", &value.to_string(), answer.as_ref());
        of_it.tell(begun, line);
        match page {
            Some(page) if !page.is_fresh() && page.copies.is_some() => {
                let base = session
                    .read
                    .filter(|(instance, _)| *instance == page.instance)
                    .map(|(_, number)| number);
                of_it.located(value.number, page.instance, base);
                of_it.written(
                    value.number,
                    Outcome::Acked(page.copies.unwrap_or(1)),
                    self.world.now(),
                );
            }
            page => {
                of_it.written(value.number, Outcome::Unknown, self.world.now() + LATE);
                drop(ledger);
                if let Some(page) = page.filter(Page::is_fresh) {
                    self.lost(&session, &page, &looks);
                }
            }
        }
    }

    /// Reads a page and compares it with the ledger; the session, where it was still there.
    async fn visit(&mut self, session: Visited, path: &str) -> Option<Visited> {
        let looks = self.looks();
        let answer = self.browser.request("GET", path, "").await;
        let line = told(&self.writer, path, "", answer.as_ref());
        self.world
            .ledger()
            .session(&session.name)
            .tell(looks[0].begun, line);
        let answer = answer?;
        let page = Page::read(&answer, &session.id, &looks)?;
        if page.is_fresh() {
            self.lost(&session, &page, &looks);
            return None;
        }
        let look = looks[page.instance.node];
        let result = self
            .world
            .ledger()
            .on_found(&session.name, &session.id, &look, Some(&page.values));
        self.world.judge(
            Some(&session.name),
            &format!("page {path} of {}", self.writer),
            result,
        );
        let read = Ledger::number_of(&page.values, "n").map(|number| (page.instance, number));
        let session = Visited { read, ..session };
        self.session = Some(session.clone());
        Some(session)
    }

    async fn begin(&mut self) {
        let looks = self.looks();
        let Some(answer) = self.browser.request("GET", "/json", "").await else {
            return self.forget();
        };
        let Some(page) = Page::read(&answer, "", &looks).filter(Page::is_fresh) else {
            return self.forget();
        };
        let name = self.world.fresh();
        let mut ledger = self.world.ledger();
        ledger.begin(&name, &page.id, page.instance, looks[0].begun);
        let session = ledger.session(&name);
        let outcome = page.copies.map_or(Outcome::Unknown, Outcome::Acked);
        session.created(outcome, self.world.now());
        session.tell(looks[0].begun, told(&self.writer, "/json", "", Some(&answer)));
        self.session = Some(Visited {
            name,
            id: page.id,
            read: None,
        });
    }

    /// Gives the session another id, as an application does when its user logs in.
    async fn login(&mut self, session: Visited) {
        let looks = self.looks();
        let answer = self.browser.request("GET", "/login", "").await;
        let line = told(&self.writer, "/login", "", answer.as_ref());
        self.world
            .ledger()
            .session(&session.name)
            .tell(looks[0].begun, line);
        let page = answer
            .as_ref()
            .and_then(|answer| Page::read(answer, &session.id, &looks));
        match page {
            Some(page) if page.copies.is_some() && page.session == "renamed" => {
                let mut ledger = self.world.ledger();
                ledger.rename(&session.name, &page.id, page.instance, looks[0].begun);
                let outcome = Outcome::Acked(page.copies.unwrap_or(1));
                ledger
                    .session(&session.name)
                    .renamed(&page.id, outcome, self.world.now());
                self.session = Some(Visited {
                    id: page.id,
                    ..session
                });
            }
            Some(page) if page.is_fresh() => self.lost(&session, &page, &looks),
            _ => {
                // Only the worker knows the id that it may have by now.
                self.world.ledger().session(&session.name).give_up();
                self.forget();
            }
        }
    }

    async fn logout(&mut self, session: Visited) {
        let looks = self.looks();
        self.world
            .ledger()
            .session(&session.name)
            .finish(looks[0].instance, looks[0].begun);
        let answer = self.browser.request("GET", "/logout", "").await;
        let line = told(&self.writer, "/logout", "", answer.as_ref());
        let instance = answer.as_ref().and_then(|answer| page::instance(answer, &looks));
        let copies = answer.as_ref().and_then(page::copies);
        let now = self.world.now();
        let mut ledger = self.world.ledger();
        let of_it = ledger.session(&session.name);
        of_it.tell(looks[0].begun, line);
        match (instance, copies) {
            (Some(instance), Some(copies)) => {
                of_it.finish(instance, looks[0].begun);
                of_it.finished(Outcome::Acked(copies), now);
            }
            _ => of_it.finished(Outcome::Unknown, now + LATE),
        }
        drop(ledger);
        self.forget();
    }

    /// The worker found no session and began another one.
    fn lost(&mut self, session: &Visited, page: &Page, looks: &[Look]) {
        let result = self
            .world
            .ledger()
            .on_absent(&session.name, &session.id, &looks[page.instance.node]);
        let what = format!(
            "the worker of {} finds none for {}",
            NODES[page.instance.node], self.writer
        );
        self.world.judge(Some(&session.name), &what, result);
        self.forget();
    }

    fn forget(&mut self) {
        self.session = None;
        self.browser.forget();
    }

    fn looks(&self) -> Vec<Look> {
        (0..NODES.len()).map(|node| self.world.look(node)).collect()
    }
}
