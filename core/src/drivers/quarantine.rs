//! The quarantine: sessions a change of which, sent by another node, made this process panic. They are kept in a file, so
//! that the next incarnation refuses their changes. Without it the node that sent such a change would send it again after
//! every restart, to every node.
//!
//! The file has a line for each: when (milliseconds since 1970), the node that sent the change, app and id of the session,
//! and the fingerprint of the change. An operator who has mended the cause deletes lines, or the file. Refusing and
//! counting belong to the engine.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::base::id::{NodeId, SessionKey};
use crate::replication::fingerprint::Fingerprint;
use crate::session::Record;

/// The file's name in `node.state_dir`.
const FILE: &str = "quarantine";
/// The most changes that are kept; one more, and the oldest is forgotten.
const QUARANTINED_MAX: usize = 1024;
/// The longest file that is read, in bytes: more than [`QUARANTINED_MAX`] lines of the longest names.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why the file cannot be used. The daemon does not start: it could fall to the same change for ever.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is none of ours.
    #[error("{path}, line {line}: <ms> <node> <app> <id> <fingerprint> is expected; mend or delete the line")]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

/// See the module page. Without a directory nothing is kept across restarts.
#[derive(Debug, Default)]
pub struct Quarantine {
    path: Option<PathBuf>,
    /// Line and session, the oldest first.
    entries: VecDeque<(String, SessionKey)>,
}

impl Quarantine {
    /// The one in `state_dir`; empty where there is none yet.
    ///
    /// # Errors
    /// See [`QuarantineError`].
    pub fn load(state_dir: Option<&Path>) -> Result<Self, QuarantineError> {
        let Some(path) = state_dir.map(|dir| dir.join(FILE)) else {
            return Ok(Self::default());
        };
        let text = match read_bounded(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(QuarantineError::Read { path, source }),
        };
        let mut entries = VecDeque::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let [_, _, app, id, _] = *line.split(' ').collect::<Vec<_>>() else {
                let line = number + 1;
                return Err(QuarantineError::Line { path, line });
            };
            entries.push_back((line.to_owned(), SessionKey::new(app, id)));
        }
        Ok(Self {
            path: Some(path),
            entries,
        })
    }

    /// The sessions whose changes are to be refused.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionKey> {
        self.entries.iter().map(|(_, key)| key)
    }

    /// Adds the session of a change that `peer` sent, and writes the file. Called by a process that is about to end, so an error is
    /// only returned to be logged.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(
        &mut self,
        peer: &NodeId,
        (key, delta): (&SessionKey, &Record),
        now_ms: u64,
    ) -> std::io::Result<()> {
        if self.sessions().any(|known| known == key) {
            return Ok(());
        }
        let fingerprint = Fingerprint::of_change(key, delta);
        let line = format!("{now_ms} {peer} {} {} {fingerprint}", key.app(), key.id());
        self.entries.push_back((line, key.clone()));
        while self.entries.len() > QUARANTINED_MAX {
            self.entries.pop_front();
        }
        let Some(path) = &self.path else { return Ok(()) };
        let mut text = String::new();
        for (line, _) in &self.entries {
            let _ = writeln!(text, "{line}"); // a string takes it
        }
        // Written beside and renamed: a process that ends here leaves the old file or the new one.
        let beside = path.with_extension("new");
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Stamp;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("limpet-quarantine-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0); // nothing depends on it
        }
    }

    fn add(quarantine: &mut Quarantine, id: usize) -> SessionKey {
        let key = SessionKey::new("shop", &format!("S{id}"));
        let delta = Record::tombstone(Stamp { time: 5, node: 1 });
        let peer = NodeId::parse("node2").unwrap();
        quarantine.add(&peer, (&key, &delta), 7).unwrap();
        key
    }

    #[test]
    fn what_was_added_is_there_after_a_restart_and_only_once() {
        let folder = Folder::new("kept");
        let mut first = Quarantine::load(Some(&folder.0)).unwrap();
        let key = add(&mut first, 1);
        add(&mut first, 1);
        let second = Quarantine::load(Some(&folder.0)).unwrap();
        assert_eq!(second.sessions().collect::<Vec<_>>(), [&key]);
    }

    #[test]
    fn the_oldest_are_forgotten_past_the_bound() {
        let mut quarantine = Quarantine::default();
        let first = add(&mut quarantine, 0);
        for id in 1..=QUARANTINED_MAX {
            add(&mut quarantine, id);
        }
        assert_eq!(quarantine.sessions().count(), QUARANTINED_MAX);
        assert!(quarantine.sessions().all(|key| *key != first));
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let folder = Folder::new("line");
        std::fs::write(folder.0.join(FILE), "\n7 node2 shop/S1\n").unwrap();
        let error = Quarantine::load(Some(&folder.0)).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
