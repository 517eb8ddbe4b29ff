//! The command line of the soak.

/// What it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long it takes in all, in minutes.
    pub minutes: u64,
    /// Whether clusters in `delta` mode are soaked, and clusters in `backup` mode.
    pub modes: (bool, bool),
    /// Whether sessions are renamed.
    pub renames: bool,
    /// Whether visitors log out while the report of a visit is under way.
    pub late_reports: bool,
    /// Whether it goes on after a broken claim, to find more of them.
    pub keep_going: bool,
}

impl Options {
    /// The most minutes: a day.
    const MINUTES_MAX: u64 = 24 * 60;

    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// A sentence for the person who typed them.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            minutes: 10,
            modes: (true, true),
            renames: true,
            late_reports: true,
            keep_going: false,
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--minutes" => {
                    let minutes = words.next().and_then(|text| text.parse().ok());
                    options.minutes = minutes
                        .filter(|minutes| (1..=Self::MINUTES_MAX).contains(minutes))
                        .ok_or("--minutes wants a number from 1 to 1440")?;
                }
                "--mode" => {
                    options.modes = match words.next().as_deref() {
                        Some("delta") => (true, false),
                        Some("backup") => (false, true),
                        Some("both") => (true, true),
                        _ => return Err("--mode wants delta, backup or both".to_owned()),
                    }
                }
                "--without" => match words.next().as_deref() {
                    Some("renames") => options.renames = false,
                    Some("late-reports") => options.late_reports = false,
                    _ => return Err("--without wants renames or late-reports".to_owned()),
                },
                "--keep-going" => options.keep_going = true,
                _ => {
                    return Err(format!(
                        "{word} is no option; there are --minutes --mode --without --keep-going"
                    ));
                }
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn read(text: &str) -> Result<Options, String> {
        Options::read(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read_and_what_is_none_is_named() {
        let options = read("--minutes 3 --mode backup --keep-going --without renames").expect("options");
        assert_eq!((options.minutes, options.modes), (3, (false, true)));
        assert!(options.late_reports && options.keep_going && !options.renames);
        for (text, named) in [
            ("--minutes 0", "1440"),
            ("--mode x", "backup"),
            ("--fast", "--fast"),
        ] {
            assert!(read(text).expect_err(text).contains(named), "{text}");
        }
    }
}
