//! Chance with a name: a seed that is printed and can be given again as `LIMPET_SEED`.

/// SplitMix64: enough to vary inputs, and repeatable.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator whose seed is `LIMPET_SEED`, or drawn; printed either way.
    #[must_use]
    pub fn announced(what: &str) -> Self {
        let seed = std::env::var("LIMPET_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| {
                let mut bytes = [0; 8];
                getrandom::fill(&mut bytes).expect("the operating system has randomness");
                u64::from_le_bytes(bytes)
            });
        println!("{what}: LIMPET_SEED={seed}");
        Self(seed)
    }

    /// A generator with this seed.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.number() as u8).collect()
    }
}
