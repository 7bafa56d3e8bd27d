//! Which limits hold for a request, and what callers are told about them.
//!
//! In: a route's limits, the grant, the client's address. Out: what was spent,
//! or a 429 [`Refusal`](crate::exchange::refusal::Refusal). Not here: counting (`state::counters`).
