//! Whoever measures, as the scenarios know it: criterion takes the time, gungraun counts instructions.
//!
//! In: a name, what is prepared, what is measured. Out: nothing; what was found is printed by whoever measures.

/// Measures the scenarios of a group, one after the other.
pub(crate) trait Measure {
    /// What follows works on so many bytes each time.
    fn bytes(&mut self, count: usize);

    /// Measures `routine`, with what becomes of its result.
    fn each<T>(&mut self, name: &str, routine: impl FnMut() -> T);

    /// Measures `routine` alone, with what `prepare` makes anew each time. Its result is dropped unmeasured.
    fn prepared<P, T>(&mut self, name: &str, prepare: impl FnMut() -> P, routine: impl FnMut(P) -> T);
}
