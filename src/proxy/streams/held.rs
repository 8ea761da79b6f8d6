//! The tokens that a stream stands on: the one that opened it, and the last one that was handed in
//! for it since.
//!
//! The last decides when it expires and which key must be published. A denial of either ends it:
//! the backend saw the claims of the first, and a new token does not take back what was denied of
//! the old one, so that no cutoff is laundered by a fresh `iat`.

use std::cell::RefCell;
use std::sync::Arc;

use crate::clock::UnixMs;
use crate::denylist::{Denylist, Fingerprint, Fold, Hit, Marks};
use crate::verify::Signed;

/// See the module.
pub struct Held {
    first: RefCell<Option<Arc<Signed>>>,
    last: RefCell<Option<Arc<Signed>>>,
}

impl Held {
    pub fn new(first: Option<Arc<Signed>>) -> Self {
        Self { first: RefCell::new(first), last: RefCell::new(None) }
    }

    /// The one that counts for times and keys.
    pub fn current(&self) -> Option<Arc<Signed>> {
        let last = self.last.borrow();
        last.as_ref().map(Arc::clone).or_else(|| self.first.borrow().as_ref().map(Arc::clone))
    }

    pub fn first(&self) -> Option<Arc<Signed>> {
        self.first.borrow().as_ref().map(Arc::clone)
    }

    pub fn last(&self) -> Option<Arc<Signed>> {
        self.last.borrow().as_ref().map(Arc::clone)
    }

    /// A new token takes the place of the last; the first stays.
    pub fn follow(&self, token: Arc<Signed>) {
        *self.last.borrow_mut() = Some(token);
    }

    /// The same tokens as another configuration reads them.
    pub fn replace(&self, first: Option<Arc<Signed>>, last: Option<Arc<Signed>>) {
        *self.first.borrow_mut() = first;
        *self.last.borrow_mut() = last;
    }

    /// The last instant at which it counts.
    pub fn expires_at(&self) -> Option<UnixMs> {
        let current = self.current()?;
        Some(current.expires_at().plus(current.policy().leeway))
    }

    pub fn denied_by(&self, denylist: &Denylist) -> Option<Hit> {
        let ask = |token: &Option<Arc<Signed>>| denylist.check(token.as_ref()?.marks());
        ask(&self.first.borrow()).or_else(|| ask(&self.last.borrow()))
    }

    /// Would this, in force for a selector that marks it, deny it?
    pub fn would_be_denied(&self, mark: &Fingerprint, fold: &Fold) -> bool {
        let ask = |token: &Option<Arc<Signed>>| {
            token.as_ref().is_some_and(|token| {
                let marks = token.marks();
                all_of(marks).any(|one| one == mark) && fold.denies(marks).is_some()
            })
        };
        ask(&self.first.borrow()) || ask(&self.last.borrow())
    }

    pub fn key_is_published(&self) -> bool {
        self.current().is_none_or(|token| token.key_is_published())
    }

    pub fn is_marked(&self, mark: &Fingerprint) -> bool {
        let bears = |token: &Option<Arc<Signed>>| {
            token.as_ref().is_some_and(|token| all_of(token.marks()).any(|one| one == mark))
        };
        bears(&self.first.borrow()) || bears(&self.last.borrow())
    }

    /// Every mark of both; some come twice.
    pub fn each_mark(&self, mut tell: impl FnMut(&Fingerprint)) {
        for token in [&self.first, &self.last] {
            if let Some(token) = token.borrow().as_ref() {
                all_of(token.marks()).for_each(&mut tell);
            }
        }
    }
}

fn all_of(marks: &Marks) -> impl Iterator<Item = &Fingerprint> {
    [&marks.token, &marks.key, &marks.issuer]
        .into_iter()
        .chain(&marks.session)
        .chain(&marks.subject)
        .chain(&marks.client)
        .chain(&*marks.claims)
}
