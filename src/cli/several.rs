//! One act on several things, each of which is tried, whatever became of those before it.

use super::arguments::Global;
use super::exit::Exit;
use super::failure::{self, Failure};

/// The failure of a sole one is the command's own. Of several, each failure is told, and the exit says
/// how it went: as the last failure where nothing was done, in part where something was.
pub fn each(
    ids: &[String],
    global: &Global,
    mut act: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    if let [only] = ids {
        return act(only).map(|()| Exit::Done);
    }
    let mut failed = 0;
    let mut last = Exit::Done;
    for id in ids {
        if let Err(failure) = act(id) {
            failed += 1;
            last = failure::report(&failure, global);
        }
    }
    Ok(if failed == 0 || failed == ids.len() { last } else { Exit::InPart })
}
