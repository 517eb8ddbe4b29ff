//! A wall clock that is wrong, for one process: libfaketime shifts what it reads, by as much as a file says.
//!
//! The monotonic clock is left alone: what drifts or jumps on real machines is the time of day.

use std::fs;
use std::path::{Path, PathBuf};

/// Where Debian's `libfaketime` may lie.
const LIBRARIES: &str = "/usr/lib";
/// How long a process may go on with what it last read of the file, in seconds.
const CACHED: &str = "1";

/// The clock of one process, which can be set while it runs.
#[derive(Debug, Clone)]
pub struct WrongClock {
    file: PathBuf,
}

impl WrongClock {
    /// A clock kept in `dir`, `seconds` ahead of the real one; behind it where they are negative.
    #[must_use]
    pub fn new(dir: &Path, name: &str, seconds: i64) -> Self {
        let clock = Self {
            file: dir.join(format!("{name}.clock")),
        };
        clock.set(seconds);
        clock
    }

    /// Sets it; the process notices within a second or so.
    pub fn set(&self, seconds: i64) {
        // In one step, for a process may be reading it.
        let new = self.file.with_extension("clock.new");
        fs::write(&new, format!("{seconds:+}s\n")).expect("a file in the test's directory");
        fs::rename(&new, &self.file).expect("a file in the test's directory");
    }

    /// Takes the names away that libfaketime left under `/dev/shm` for a process that runs by now: it goes on using
    /// what they named, and nobody would remove them after a SIGKILL.
    pub fn tidy(process: u32) {
        for name in [
            format!("faketime_shm_{process}"),
            format!("sem.faketime_sem_{process}"),
        ] {
            let _ = fs::remove_file(Path::new("/dev/shm").join(name)); // libfaketime may have done so itself
        }
    }

    /// The environment of the process that is to have it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let library = library();
        [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", CACHED.to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

fn library() -> PathBuf {
    let machines = fs::read_dir(LIBRARIES).into_iter().flatten().flatten();
    let mut positions = machines.map(|machine| machine.path().join("faketime/libfaketimeMT.so.1"));
    positions
        .find(|path| path.exists())
        .expect("libfaketime is missing; `make deps` installs it")
}
