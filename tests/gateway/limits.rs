//! Limits: who is counted, what is refused, and what callers are told.
