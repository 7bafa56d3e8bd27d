//! Plans: which limits hold for whom.
