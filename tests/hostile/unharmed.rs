//! The other half of every attack: afterwards the cluster must be as it was.

use std::time::Duration;

use limpet_tests::api::{attribute, encoded};
use limpet_tests::cluster::{Core, Site};
use limpet_tests::wait;
use serde_json::json;

/// Two cores without workers, and a session that was there before the attack.
pub struct Peace {
    pub site: Site,
    pub a: Core,
    pub b: Core,
}

impl Peace {
    /// Starts them.
    pub async fn new(name: &str) -> Self {
        let site = Site::new(name, &[], &["a", "b"]);
        let a = site.core("a").await;
        let b = site.core("b").await;
        let peace = Self { site, a, b };
        peace.write("before").await;
        peace
    }

    /// Asserts that nothing was lost, both nodes know each other, a change still reaches both, nothing panicked.
    pub async fn still_holds(&mut self) {
        for core in [&self.a, &self.b] {
            let session = core.api.session("default", "before").await.expect("an answer");
            let session = session.unwrap_or_else(|| panic!("{} lost a session", core.node.id));
            assert_eq!(attribute(&session, "value").as_deref(), Some(&b"before"[..]));
            for id in ["a", "b"] {
                assert_eq!(
                    core.state_of(id).await.as_deref(),
                    Some("ready"),
                    "{id} as {} sees it",
                    core.node.id
                );
            }
        }
        self.write("after").await;
        for core in [&mut self.a, &mut self.b] {
            assert!(core.process.runs(), "{} ended", core.node.id);
            let log = core.process.log();
            assert!(!log.contains("panicked"), "{} panicked:\n{log}", core.node.id);
        }
    }

    /// Waits until the log of `a` says, in one line after `from`, every one of `words`, in whatever case.
    pub async fn says(&self, from: usize, words: &[&str]) {
        wait::eventually(
            &format!("the log names {words:?}"),
            Duration::from_secs(5),
            async || {
                let log = self.a.process.log();
                let news = &log[from..];
                let said = news
                    .lines()
                    .any(|line| words.iter().all(|word| line.to_lowercase().contains(word)));
                if said {
                    Ok(())
                } else {
                    Err(format!("only:\n{news}"))
                }
            },
        )
        .await;
    }

    async fn write(&self, id: &str) {
        wait::eventually(
            &format!("both nodes hold {id}"),
            Duration::from_secs(10),
            async || {
                let change = json!({ "set": { "value": encoded(id) } });
                let answer = self
                    .a
                    .api
                    .patch("default", id, "all", &change)
                    .await
                    .map_err(|e| e.to_string())?;
                if answer["copies"] == 2 {
                    Ok(())
                } else {
                    Err(answer.to_string())
                }
            },
        )
        .await;
    }
}
