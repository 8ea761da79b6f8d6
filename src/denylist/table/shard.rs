//! One shard: a hash table of 20-byte entries, and the rare folds that do not fit into one.

use hashbrown::HashTable;

use crate::denylist::{ConditionKind, Fingerprint, Fold, Marks};

use super::packed::{Packed, Slot, Unpacked};

/// 20 bytes without padding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    at: Fingerprint,
    packed: [u8; 8],
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    table: HashTable<Entry>,
    /// Each with the fingerprint of the entry that points to it. Dense.
    complex: Vec<(Fingerprint, Fold)>,
}

/// What a shard holds for one fingerprint.
pub(super) struct Found<'s> {
    packed: Packed,
    complex: &'s [(Fingerprint, Fold)],
}

/// The fingerprint is random already: its first eight bytes are the hash.
#[inline]
fn hash(at: &Fingerprint) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = at.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

impl Shard {
    #[inline]
    pub(super) fn find(&self, at: &Fingerprint) -> Option<Found<'_>> {
        let entry = self.table.find(hash(at), |entry| entry.at == *at)?;
        Some(Found { packed: Packed::from_bytes(entry.packed), complex: &self.complex })
    }

    /// The next new entry would make the table grow or tidy itself in place.
    pub(super) fn is_full(&self) -> bool {
        self.table.len() == self.table.capacity()
    }

    /// The table takes far more than its entries need.
    pub(super) fn is_wasteful(&self) -> bool {
        let (length, buckets) = (self.table.len(), self.table.num_buckets());
        (length == 0 && self.table.capacity() > 0) || (buckets > 16 && length < buckets / 8)
    }

    /// A copy of the table with room for `more` and an eighth, without the marks of removed
    /// entries.
    pub(super) fn rebuilt(&self, more: usize) -> HashTable<Entry> {
        let length = self.table.len();
        let mut table = HashTable::with_capacity(length + length / 8 + more);
        for entry in &self.table {
            table.insert_unique(hash(&entry.at), *entry, |entry| hash(&entry.at));
        }
        table
    }

    pub(super) fn swap_table(&mut self, table: &mut HashTable<Entry>) {
        std::mem::swap(&mut self.table, table);
    }

    pub(super) fn set(&mut self, at: Fingerprint, slot: Slot, fold: &Fold) {
        let index = self.complex_index(&at);
        let what = match (Packed::simple(fold), index) {
            (Some(simple), None) => simple,
            (Some(simple), Some(index)) => {
                self.drop_complex(index);
                simple
            }
            (None, Some(index)) => {
                if let Some(place) = self.complex.get_mut(index) {
                    place.1 = fold.clone();
                }
                Unpacked::Complex(index)
            }
            (None, None) => {
                self.complex.push((at, fold.clone()));
                Unpacked::Complex(self.complex.len() - 1)
            }
        };
        self.put(at, Packed::new(slot, what));
    }

    /// Removes an entry and says of which kind it was.
    pub(super) fn remove(&mut self, at: &Fingerprint) -> Option<Slot> {
        if let Some(index) = self.complex_index(at) {
            self.drop_complex(index);
        }
        let entry = self.table.find_entry(hash(at), |entry| entry.at == *at).ok()?;
        let (removed, _) = entry.remove();
        Some(Packed::from_bytes(removed.packed).slot())
    }

    pub(super) fn bytes(&self) -> usize {
        self.table.allocation_size()
            + self.complex.capacity() * std::mem::size_of::<(Fingerprint, Fold)>()
            + self
                .complex
                .iter()
                .map(|(_, fold)| {
                    fold.cutoffs.capacity() * std::mem::size_of::<crate::denylist::Cutoff>()
                })
                .sum::<usize>()
    }

    fn complex_index(&self, at: &Fingerprint) -> Option<usize> {
        match self.find(at)?.packed.unpack() {
            Unpacked::Complex(index) => Some(index),
            Unpacked::Always | Unpacked::IssuedBefore(_) | Unpacked::VersionBelow(_) => None,
        }
    }

    /// Removes a complex fold; the last one takes its place, and its entry learns of that.
    fn drop_complex(&mut self, index: usize) {
        if index >= self.complex.len() {
            return;
        }
        self.complex.swap_remove(index);
        if let Some((moved, _)) = self.complex.get(index) {
            let moved = *moved;
            if let Some(entry) = self.table.find_mut(hash(&moved), |entry| entry.at == moved) {
                let slot = Packed::from_bytes(entry.packed).slot();
                entry.packed = Packed::new(slot, Unpacked::Complex(index)).to_bytes();
            }
        }
    }

    fn put(&mut self, at: Fingerprint, packed: Packed) {
        let packed = packed.to_bytes();
        match self.table.find_mut(hash(&at), |entry| entry.at == at) {
            Some(entry) => entry.packed = packed,
            None => {
                self.table.insert_unique(hash(&at), Entry { at, packed }, |entry| hash(&entry.at));
            }
        }
    }
}

impl Found<'_> {
    pub(super) fn slot(&self) -> Slot {
        self.packed.slot()
    }

    #[inline]
    pub(super) fn denies(&self, marks: &Marks) -> Option<ConditionKind> {
        match self.packed.unpack() {
            Unpacked::Complex(index) => match self.complex.get(index) {
                Some((_, fold)) => fold.denies(marks),
                // Cannot be; refusing is the safe side.
                None => Some(ConditionKind::Always),
            },
            simple @ (Unpacked::Always | Unpacked::IssuedBefore(_) | Unpacked::VersionBelow(_)) => {
                simple.denies(marks)
            }
        }
    }

    pub(super) fn fold(&self) -> Fold {
        match self.packed.unpack() {
            Unpacked::Complex(index) => match self.complex.get(index) {
                Some((_, fold)) => fold.clone(),
                None => Fold { always: true, ..Fold::default() },
            },
            simple @ (Unpacked::Always | Unpacked::IssuedBefore(_) | Unpacked::VersionBelow(_)) => {
                simple.fold()
            }
        }
    }
}
