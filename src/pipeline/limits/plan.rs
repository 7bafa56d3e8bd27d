//! Which plan a tenant has: as `tenants` says, else as its credential says, else the default.
//!
//! In: a grant. Out: the limits of its plan. Not here: spending them.
