//! Every place where bytes from outside are read, as a plain function of those bytes: [`TARGETS`]. Whatever they are,
//! each returns; it panics only where the product is wrong. Inputs come from [`seeds`] (what is really said, and what
//! was made by hand to do harm) and from [`mutate`]; libFuzzer can bring its own.

pub mod engine;
pub mod mutate;
pub mod seeds;
mod spoken;
pub mod targets;
mod voting;

use limpet_core::base::limits::FRAME_MAX;
use limpet_wire::codec::MESSAGE_MAX;

/// One place that reads bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of its folder of inputs.
    pub name: &'static str,
    /// Reads an input.
    pub run: fn(&[u8]),
    /// How many bytes of memory it may hold at most whatever the input.
    pub memory_flat: usize,
    /// How many more for each byte of input.
    pub memory_per_byte: usize,
}

const MEMORY_FLAT: usize = 1 << 20;
/// What the patterns of a configuration may take while they are compiled, one after the other and then together.
const PATTERNS_BYTES_MAX: usize = 24 << 20;

/// All of them.
pub const TARGETS: &[Target] = &[
    // A compressed frame says how large it is, up to the largest there is.
    Target {
        name: "frames",
        run: targets::frames,
        memory_flat: FRAME_MAX + MEMORY_FLAT,
        memory_per_byte: 16,
    },
    Target {
        name: "hello",
        run: targets::hello,
        memory_flat: MEMORY_FLAT,
        memory_per_byte: 16,
    },
    // Three bytes can be a session with a name of its own: a record and a key.
    Target {
        name: "message",
        run: targets::message,
        memory_flat: MEMORY_FLAT,
        memory_per_byte: 512,
    },
    Target {
        name: "word",
        run: targets::word,
        memory_flat: MEMORY_FLAT,
        memory_per_byte: 16,
    },
    Target {
        name: "swim",
        run: targets::swim,
        memory_flat: MEMORY_FLAT,
        memory_per_byte: 512,
    },
    Target {
        name: "hint",
        run: targets::hint,
        memory_flat: MEMORY_FLAT,
        memory_per_byte: 16,
    },
    // The table keeps what was said, with what is derived from it.
    Target {
        name: "engine",
        run: engine::messages,
        memory_flat: MEMORY_FLAT,
        memory_per_byte: 4096,
    },
    Target {
        name: "report",
        run: targets::report,
        memory_flat: MESSAGE_MAX + MEMORY_FLAT,
        memory_per_byte: 128,
    },
    Target {
        name: "table",
        run: targets::table,
        memory_flat: MESSAGE_MAX + MEMORY_FLAT,
        memory_per_byte: 128,
    },
    Target {
        name: "token",
        run: targets::token,
        memory_flat: MEMORY_FLAT,
        memory_per_byte: 128,
    },
    Target {
        name: "config",
        run: targets::config,
        memory_flat: PATTERNS_BYTES_MAX + MEMORY_FLAT,
        memory_per_byte: 1024,
    },
];

/// The target of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn target(name: &str) -> Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    *found.unwrap_or_else(|| panic!("no target is called {name}"))
}
