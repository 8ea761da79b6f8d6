//! Strict JSON: no duplicate members at any depth, bounded depth, numbers that stay exact.
