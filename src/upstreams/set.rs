//! The endpoints of an upstream at one moment, in the forms that choosing needs. Published whole:
//! a change of addresses is a new set, and requests in flight keep theirs.

use std::sync::Arc;

use super::endpoint::{Endpoint, Moment};
use super::ring::Ring;

/// Turns of round robin at the most, however the weights are.
const TURNS_MAX: u64 = 4096;

/// See the module. Regular servers come first, backups after them.
pub struct EndpointSet {
    all: Vec<Arc<Endpoint>>,
    regular: usize,
    /// Sums of weights of the regular ones, then of the backups: for a choice by weight.
    sums: Vec<u64>,
    turns: Vec<u32>,
    ring: Ring,
}

impl EndpointSet {
    pub fn new(mut all: Vec<Arc<Endpoint>>, with_ring: bool, with_turns: bool) -> Self {
        all.sort_by_key(|endpoint| endpoint.backup);
        let regular = all.iter().take_while(|endpoint| !endpoint.backup).count();
        let mut sums = Vec::with_capacity(all.len());
        for part in [all.get(..regular), all.get(regular..)] {
            let mut sum = 0;
            for endpoint in part.unwrap_or_default() {
                sum += u64::from(endpoint.weight);
                sums.push(sum);
            }
        }
        let indexed = || all.iter().map(|endpoint| &**endpoint).enumerate().take(regular);
        let ring = Ring::new(indexed().filter(|_| with_ring));
        let turns = match with_turns {
            true => turns(&all.iter().take(regular).map(|e| e.weight).collect::<Vec<_>>()),
            false => Vec::new(),
        };
        Self { all, regular, sums, turns, ring }
    }

    pub fn all(&self) -> &[Arc<Endpoint>] {
        &self.all
    }

    pub fn regular(&self) -> &[Arc<Endpoint>] {
        self.all.get(..self.regular).unwrap_or_default()
    }

    pub fn backups(&self) -> &[Arc<Endpoint>] {
        self.all.get(self.regular..).unwrap_or_default()
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Whose turn it is.
    pub(super) fn turn(&self, number: usize) -> Option<usize> {
        let at = number.checked_rem(self.turns.len())?;
        self.turns.get(at).map(|index| *index as usize)
    }

    /// The index among the regular ones, or among the backups, that a random number falls on.
    pub(super) fn by_weight(&self, backups: bool, random: u64) -> Option<usize> {
        let sums = match backups {
            false => self.sums.get(..self.regular),
            true => self.sums.get(self.regular..),
        }?;
        let total = *sums.last()?;
        let at = random % total;
        Some(sums.partition_point(|sum| *sum <= at))
    }

    /// How many could take a request.
    pub fn usable(&self, now: Moment) -> usize {
        self.all.iter().filter(|endpoint| endpoint.is_usable(now)).count()
    }
}

/// Smooth weighted round robin, written out: 5, 1, 1 gives a a b a c a a.
fn turns(weights: &[u32]) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let sum: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
    let count = sum.min(TURNS_MAX.max(weights.len() as u64));
    let mut current = vec![0_i64; weights.len()];
    let total: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
    let mut turns = Vec::new();
    for _ in 0..count {
        for (value, weight) in current.iter_mut().zip(weights) {
            *value += i64::from(*weight);
        }
        let best = current.iter().enumerate().max_by_key(|(index, value)| {
            // The first of equals.
            (**value, std::cmp::Reverse(*index))
        });
        let Some(index) = best.map(|(index, _)| index) else { break };
        if let Some(value) = current.get_mut(index) {
            *value -= total;
        }
        turns.push(u32::try_from(index).unwrap_or(0));
    }
    turns
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_in_proportion_and_spread() {
        assert_eq!(turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns(&[2, 2]), [0, 1]);
        assert_eq!(turns(&[]), [0_u32; 0]);
        assert!(turns(&[1000, 999, 998]).len() <= 4096);
    }
}
