//! Made-up values: a small generator with a fixed seed, and times in the first quarter of 2026.
//!
//! In: a seed. Out: numbers, picks, times. Own code, because the rows must never change with a
//! dependency's version.
//! **Not here**: what the values mean.

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    /// A generator that yields the same sequence for the same seed.
    pub(super) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`; the bias is far below what anyone could see here.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// One of the items; earlier ones come more often, as in real traffic.
    pub(super) fn skewed<T: Copy + Default>(&mut self, items: &[T]) -> T {
        let most = items.len() as u64;
        let at = self.below(most).min(self.below(most));
        usize::try_from(at).ok().and_then(|at| items.get(at)).copied().unwrap_or_default()
    }
}

/// Spreads a number over 64 bits.
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `YYYY-MM-DD HH:MM:SS` of a second counted from 2026-01-01; the quarter has [`DAYS`] days.
pub(super) fn moment(second: u64) -> String {
    let day = second / DAY_SECONDS;
    let (month, day) = match day {
        0..31 => (1, day + 1),
        31..59 => (2, day - 30),
        _ => (3, day - 58),
    };
    let (hour, minute, second) = (second / 3_600 % 24, second / 60 % 60, second % 60);
    format!("2026-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

pub(super) const DAYS: u64 = 90;
pub(super) const DAY_SECONDS: u64 = 86_400;
