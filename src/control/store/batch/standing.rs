//! Is it there already? A denial that says what another in force says, for no longer, is that one.

use std::time::Duration;

use crate::clock::UnixMs;
use crate::control::store::index::{self, Facts, Rank};
use crate::control::store::rows::{self, Fault};
use crate::control::store::{NewDenial, Record};
use crate::denylist::{Denial, SelectorKind, canonical};

use super::{Batch, PURGE_DELAY};

/// Records that are looked at: beyond that the denial is made once more, which does no harm.
const LOOKED_AT_MAX: usize = 256;
/// Places in the index, which cost less.
const PLACES_MAX: usize = 4096;

impl Batch<'_> {
    /// The unlifted record that says already what `new` says, for at least as long. Kept times are
    /// compared with the hour by which purging is late, so that a call that is sent again finds
    /// its record, and one much later gets its full time.
    ///
    /// The index has those that say the same side by side, so that it costs the same however many
    /// others stand.
    pub(super) fn standing(&mut self, new: &NewDenial) -> Result<Option<Record>, Fault> {
        let form = canonical::of_selector(&new.issuer, &new.selector);
        let at = self.denylist.fingerprinter().form(&form);
        if !self.pending.contains(&at) && self.denylist.fold(&at).is_empty() {
            return Ok(None);
        }
        let rank = Rank::of(&Facts::of_new(new), self.index_key);
        let range = self.hash(&form).as_strict(rank);
        let places = rows::keys(&self.by_selector, &range)?;
        let mut looked_at = 0;
        for key in places.take(PLACES_MAX) {
            let key = key?;
            if !index::rank_of(&key).may_stand_for(rank) {
                continue;
            }
            looked_at += 1;
            if looked_at > LOOKED_AT_MAX {
                break;
            }
            let id = index::id_of(&key);
            let record = rows::record(&self.records, &self.lifts, id)?.ok_or(Fault::Missing(id))?;
            self.reads.set(self.reads.get() + 1);
            if stands_for(&record.denial, new) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

fn stands_for(old: &Denial, new: &NewDenial) -> bool {
    // Who registered it first makes no difference to what passes.
    let is_registration = old.selector.kind() == SelectorKind::Registration;
    let same = old.selector == new.selector
        && old.issuer == new.issuer
        && old.condition == new.condition
        && old.except == new.except
        && (is_registration
            || (old.reference == new.reference && old.created_by.name == new.created_by.name));
    let delay = if is_registration { Duration::ZERO } else { PURGE_DELAY };
    let kept = old.kept_until.map(|until| until.plus(delay));
    same && lasts(kept, new.kept_until) && lasts(old.ends_at, new.ends_at)
}

/// Does an end (`None`: never) reach another?
pub(super) fn lasts(old: Option<UnixMs>, new: Option<UnixMs>) -> bool {
    match (old, new) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(old), Some(new)) => old >= new,
    }
}
