//! What a connection takes of the limits: a place on its core, one of its listener's, and a seat of
//! its address. It is held by the connection, and by a tunnel that outlives the serving of it.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::entrance::Entrance;
use super::seats::Seat;

/// See the module.
pub struct Place {
    of_core: Arc<AtomicUsize>,
    entrance: Arc<Entrance>,
    seat: OnceCell<Seat>,
}

/// Counts a connection that is on its way to a core, whose [`Place`] it will be.
pub fn take(of_core: &AtomicUsize, entrance: &Entrance) {
    of_core.fetch_add(1, Ordering::Relaxed);
    entrance.open.fetch_add(1, Ordering::Relaxed);
}

/// It did not get there.
pub fn give_back(of_core: &AtomicUsize, entrance: &Entrance) {
    of_core.fetch_sub(1, Ordering::Relaxed);
    entrance.open.fetch_sub(1, Ordering::Relaxed);
}

impl Place {
    /// Of a connection that was counted.
    pub fn taken(of_core: &Arc<AtomicUsize>, entrance: &Arc<Entrance>) -> Self {
        let (of_core, entrance) = (Arc::clone(of_core), Arc::clone(entrance));
        Self { of_core, entrance, seat: OnceCell::new() }
    }

    pub fn sit(&self, seat: Seat) {
        self.seat.set(seat).ok();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        give_back(&self.of_core, &self.entrance);
    }
}
