//! The table `[session_server]`: how changes are decided that depend on what was there before.

use super::section::Section;

/// The most nodes a cluster is founded with.
const FOUNDERS_MAX: i64 = 64;

/// How conditional changes are decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionServerConfig {
    /// Where a majority decides: how many nodes the cluster is founded with. `None`: the owner by the view it has.
    pub quorum_founders: Option<usize>,
}

impl SessionServerConfig {
    /// What an operator should know of it, though nothing is wrong.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let founders = self.quorum_founders?;
        (founders <= 2).then(|| {
            let members = if founders == 2 { "two members" } else { "one member" };
            format!(
                "session_server.founders: with {members}, conditional changes stop when one is gone; three or more go on"
            )
        })
    }
}

pub(super) fn read(root: &mut Section) -> SessionServerConfig {
    let mut server = root.section("session_server");
    let quorum = server.read("conditional", false, |text| match text {
        "available" => Ok(false),
        "quorum" => Ok(true),
        _ => Err("\"available\" or \"quorum\" is expected".into()),
    });
    let founders = server.integer("founders", 1, FOUNDERS_MAX, 0);
    if quorum && founders == 0 {
        server.problem(
            "founders",
            "is missing; conditional = \"quorum\" needs the number of nodes, for example founders = 3",
        );
    }
    if !quorum && founders != 0 {
        server.problem("founders", "is for conditional = \"quorum\" only");
    }
    let founders = usize::try_from(founders).ok();
    SessionServerConfig {
        quorum_founders: founders.filter(|founders| quorum && *founders > 0),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::config::resolve::tests::{GOOD, folder};

    fn with(lines: &str) -> Result<Option<usize>, Vec<String>> {
        let config = Config::parse(&format!("{GOOD}\n[session_server]\n{lines}"), folder());
        config
            .map(|config| config.session_server.quorum_founders)
            .map_err(|problems| problems.0.into_iter().map(|problem| problem.key).collect())
    }

    #[test]
    fn a_majority_decides_only_where_its_founders_are_named() {
        assert_eq!(with(""), Ok(None));
        assert_eq!(with("conditional = \"available\""), Ok(None));
        assert_eq!(with("conditional = \"quorum\"\nfounders = 3"), Ok(Some(3)));
        let founders = Err(vec!["session_server.founders".to_owned()]);
        assert_eq!(with("conditional = \"quorum\""), founders);
        assert_eq!(
            with("conditional = \"quorum\"\nfounders = 65"),
            founders.clone().map_err(|mut all| {
                all.push("session_server.founders".into());
                all
            })
        );
        assert_eq!(with("founders = 3"), founders);
        let conditional = Err(vec!["session_server.conditional".to_owned()]);
        assert_eq!(with("conditional = \"maybe\""), conditional);
    }

    #[test]
    fn with_two_members_the_operator_is_told_what_one_that_is_gone_means() {
        let advice = |founders: &str| {
            let text = format!("{GOOD}\n[session_server]\nconditional = \"quorum\"\nfounders = {founders}");
            Config::parse(&text, folder()).unwrap().session_server.advice()
        };
        assert!(advice("2").unwrap().contains("two members"));
        assert_eq!(advice("3"), None);
    }
}
