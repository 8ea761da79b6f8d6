//! Consistent hashing: each endpoint stands at many points of a ring, a key goes to the next point.
//! When an endpoint leaves, only its own keys move. The hash has a fixed key, so that all replicas
//! and every start agree; who can choose a key can choose a server, never more than its bounded
//! share of the load.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use super::Endpoint;

const POINTS_PER_WEIGHT: u32 = 64;
const POINTS_MAX: u32 = 1024;

pub struct Ring(Vec<(u64, u32)>);

/// The hash of a key's bytes.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x706f_7274_6375_6c6c, 0x6973_2d72_696e_6731);
    hasher.write(bytes);
    hasher.finish()
}

impl Ring {
    pub fn new<'e>(endpoints: impl Iterator<Item = (usize, &'e Endpoint)>) -> Self {
        let mut points = Vec::new();
        for (index, endpoint) in endpoints {
            let name = endpoint.address.shown();
            let count = endpoint.weight.saturating_mul(POINTS_PER_WEIGHT).min(POINTS_MAX);
            for number in 0..count {
                let at = hash(format!("{name}#{number}").as_bytes());
                points.push((at, u32::try_from(index).unwrap_or(u32::MAX)));
            }
        }
        points.sort_unstable();
        Self(points)
    }

    /// Indices from the key's point on, once around; an endpoint comes many times.
    pub fn from(&self, key: u64) -> impl Iterator<Item = usize> + '_ {
        let first = self.0.partition_point(|(at, _)| *at < key);
        let around = self.0.iter().cycle().skip(first).take(self.0.len());
        around.map(|(_, index)| *index as usize)
    }
}
