//! The command line of the demo worker.

use limpet_tests::http::Address;

/// What it was told.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// `ip:port` to listen on.
    pub(crate) listen: String,
    /// The API of its own core.
    pub(crate) core: Address,
    /// Its route, and the name it shows.
    pub(crate) route: String,
    /// The colour of its name, as CSS knows it.
    pub(crate) color: String,
    /// How many copies a change must have before the answer: `none`, `one`, `quorum` or `all`.
    pub(crate) ack: String,
}

impl Options {
    /// Reads `--name value` pairs.
    ///
    /// # Errors
    /// A sentence for the person who typed them.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut listen, mut core, mut route) = (None, None, None);
        let (mut color, mut ack) = ("steelblue".to_owned(), "all".to_owned());
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--listen" => listen = Some(value),
                "--core" => core = Some(Address::parse(&value)),
                "--route" => route = Some(value),
                "--color" => color = value,
                "--ack" => ack = value,
                _ => {
                    return Err(format!(
                        "{word} is no option; there are --listen --core --route --color --ack"
                    ));
                }
            }
        }
        Ok(Self {
            listen: listen.ok_or("--listen ip:port is needed")?,
            core: core.ok_or("--core http://ip:port or unix:/path is needed")?,
            route: route.ok_or("--route name is needed")?,
            color,
            ack,
        })
    }
}
