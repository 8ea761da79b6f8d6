//! The denylist: which tokens are refused although they are genuine.
//!
//! Pure and synchronous. A [`Denial`] is an immutable record; a [`Lift`] is the tombstone that
//! takes one back; the state is the records without their tombstones. What a request meets is the
//! hot table ([`Denylist`]): for each selector the fold of its unlifted records, found by a keyed
//! fingerprint. The reader half ([`Denylist`]) is all that the data plane ever sees; the writer
//! half ([`Writer`]) belongs to the store's thread.

pub(crate) mod canonical;
mod denial;
mod fingerprint;
mod fold;
mod follow;
mod marks;
mod retention;
mod selector;
mod table;

pub use denial::{Actor, Denial, DenialId, IdSource, Lift, NotAnId, Via};
pub use fingerprint::{Fingerprint, Fingerprinter};
pub use fold::{Cutoff, Fold};
pub use follow::{Follower, Step};
pub use marks::{Admission, Identity, Marks};
pub use retention::{Retention, kept_until, registered_until};
pub use selector::{Condition, ConditionKind, Except, IssuerId, Selector, SelectorKind, TokenId};
pub(crate) use table::Addition;
pub use table::{Denylist, Hit, Writer};

#[cfg(test)]
pub(crate) mod tests;
