//! A change of browser sessions, in the same transaction as the denials of its group: a login costs
//! no sync of its own.

use crate::clock::UnixMs;

use super::super::rows::Fault;
use super::super::sessions::{SessionJob, SessionRows};
use super::Batch;

impl Batch<'_> {
    pub(in super::super) fn session(
        &mut self,
        job: &mut dyn SessionJob,
        clock: UnixMs,
    ) -> Result<(), Fault> {
        let mut rows = SessionRows::open(self.transaction, self.index_key)?;
        job.work(&mut rows, clock)?;
        self.changed |= rows.is_changed();
        Ok(())
    }
}
