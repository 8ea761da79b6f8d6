//! Costly work, a bounded number at a time: those who come in one turn of the core's scheduler
//! beyond that wait for the next, in the order in which they came. In between the core looks after
//! its sockets, so a storm of handshakes delays neither requests nor cuts by more than a turn.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Semaphore;

/// See the module.
pub struct Turnstile {
    places: Semaphore,
    taken: Cell<usize>,
}

impl Turnstile {
    pub fn new(per_turn: usize) -> Rc<Self> {
        Rc::new(Self { places: Semaphore::new(per_turn), taken: Cell::new(0) })
    }

    /// Returns when this turn has room, and whether that took a wait. Inside the core's runtime only.
    pub async fn pass(self: &Rc<Self>) -> bool {
        let mut place = self.places.try_acquire().ok();
        let waits = place.is_none();
        if waits {
            // The semaphore is never closed.
            place = self.places.acquire().await.ok();
        }
        if let Some(place) = place {
            place.forget();
            if self.taken.replace(self.taken.get() + 1) == 0 {
                let turnstile = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    // A task that yields is run again after the sockets were looked at.
                    tokio::task::yield_now().await;
                    turnstile.places.add_permits(turnstile.taken.replace(0));
                });
            }
        }
        waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_pass_in_a_turn_and_everybody_passes_in_the_end() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(async {
            let turnstile = Turnstile::new(3);
            let passed = Rc::new(Cell::new(0));
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    let (turnstile, passed) = (Rc::clone(&turnstile), Rc::clone(&passed));
                    tokio::task::spawn_local(async move {
                        turnstile.pass().await;
                        passed.set(passed.get() + 1);
                    })
                })
                .collect();
            let mut before = 0;
            while passed.get() < 20 {
                tokio::task::yield_now().await;
                assert!(passed.get() - before <= 6, "{before} then {}", passed.get());
                before = passed.get();
            }
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
}
