//! A browser: a connection to each proxy and one jar of cookies for both. It goes where it went last, and now and then to the
//! other proxy; it tries nothing twice.

use std::sync::Arc;

use limpet_tests::client::Client;
use limpet_tests::http::Response;
use limpet_tests::random::Random;

use crate::world::{Tally, World};

/// See the module page.
pub struct Browser {
    world: Arc<World>,
    random: Random,
    /// One for each proxy, the last used one first. The cookies of the last answer are in all of them.
    clients: Vec<Client>,
}

impl Browser {
    /// A browser without cookies.
    #[must_use]
    pub fn new(world: &Arc<World>, random: Random) -> Self {
        Self {
            world: Arc::clone(world),
            random,
            clients: world.proxies.iter().map(|to| Client::new(to.clone())).collect(),
        }
    }

    /// Throws all cookies away.
    pub fn forget(&mut self) {
        for client in &mut self.clients {
            client.cookies.clear();
        }
    }

    /// One request; `None` where there was no answer.
    pub async fn request(&mut self, method: &str, path: &str, body: &str) -> Option<Response> {
        let begun = self.world.now();
        let through = usize::from(self.random.below(10) == 0);
        self.clients.rotate_left(through);
        let client = self.clients.first_mut()?;
        let pairs = client
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let cookies = pairs.collect::<Vec<_>>().join("; ");
        let cookies = match cookies.as_str() {
            "" => String::new(),
            cookies => format!("cookie: {cookies}\r\n"),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: limpet.test\r\n{cookies}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = client.raw(request.as_bytes()).await;
        let jar = client.cookies.clone();
        for client in &mut self.clients {
            client.cookies.clone_from(&jar);
        }
        let tally = &self.world.tally;
        Tally::add(&tally.requests);
        match answer {
            Ok(answer) => {
                tally.took(true, self.world.now() - begun);
                if (502..=504).contains(&answer.status) {
                    Tally::add(&tally.unavailable);
                }
                Some(answer)
            }
            Err(_) => {
                Tally::add(&tally.unanswered);
                None
            }
        }
    }
}
