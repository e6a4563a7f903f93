//! Chance that can be had again: the same for the same seed.

/// A generator (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of this run: `$SEED`, else drawn. Whoever uses it prints it.
    pub fn seed() -> u64 {
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        given.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(0, |now| u64::from(now.subsec_nanos()))
        })
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to but without `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.draw() % end.max(1) as u64).unwrap_or_default()
    }
}

/// How often something is done: a few times, or under `SOAK` as often as that says. `SOAK=1` stands for 200.
pub fn rounds(few: usize) -> usize {
    match std::env::var("SOAK").ok().and_then(|soak| soak.parse().ok()) {
        None => few,
        Some(1) => 200,
        Some(rounds) => rounds,
    }
}

/// Whether this is a long run on a machine that does nothing else, so that what was promised of times can be asked for.
pub fn is_soak() -> bool {
    std::env::var_os("SOAK").is_some()
}
