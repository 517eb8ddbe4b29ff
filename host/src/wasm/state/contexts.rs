//! The contexts of one virtual machine: root contexts, one per plugin on it, and stream contexts, one per plugin and
//! exchange. One counter numbers all of them.

use std::hash::Hasher;
use std::rc::Rc;
use std::sync::Arc;

use crate::wasm::plugin::Plugin;
use crate::wasm::stream::Stream;

/// A plugin on this virtual machine.
#[derive(Debug)]
pub struct Root {
    /// Its context.
    pub id: u32,
    /// What it is.
    pub plugin: Arc<Plugin>,
}

/// A plugin's context of one exchange.
#[derive(Debug, Clone)]
pub struct StreamContext {
    /// The plugin, by position in the list of root contexts.
    pub root: usize,
    /// The filter's place in the chain.
    pub position: u8,
    /// The exchange.
    pub stream: Rc<Stream>,
}

/// A context that calls act on.
#[derive(Debug, Clone, Default)]
pub enum Active {
    /// No context: the module is being started.
    #[default]
    None,
    /// A root context, by position.
    Root(usize),
    /// A stream context.
    Stream(StreamContext),
}

/// Context numbers are their own hash.
#[derive(Debug, Default, Clone, Copy)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u32(&mut self, number: u32) {
        // Multiplied, because the table looks at the upper bits too.
        self.0 = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
