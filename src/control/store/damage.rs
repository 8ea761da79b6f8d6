//! Reading what may be damaged: over some kinds of damage the library panics, and here that is an
//! error like others. It is not told as a panic as well, which would read like a fault of ours, above
//! the sentence that says what to do.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// The library panicked: the structure is damaged.
pub(super) struct Panicked;

/// Does this and catches its panic.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let told = take_hook();
        set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                told(panic);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    done.map_err(|_| Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_guards_end_with_their_work() {
        assert!(matches!(guarded(|| 7), Ok(7)));
        let nested = guarded(|| guarded(|| panic!("damage")).is_err() && GUARDED.get());
        assert!(matches!(nested, Ok(true)));
        assert!(!GUARDED.get());
    }
}
