//! Clients that ask at the same time, without pause, and must all be served: one that is refused, or
//! whose connection ends in a way that it may not, fails the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::eventually;

/// See the module.
#[derive(Default)]
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<Client>,
}

struct Client {
    what: &'static str,
    served: Arc<AtomicUsize>,
    /// Ends with the number of connections that it opened.
    thread: JoinHandle<usize>,
}

/// What became of a client's turn.
pub enum Turn<C> {
    /// It was served, and goes on with the connection.
    Served(C),
    /// It was served, and told to connect anew.
    ServedLast,
    /// Its connection had been ended in good form before it asked; it asks again on another.
    Again,
}

impl Load {
    /// Another client: how it connects, and how it asks once.
    pub fn client<C>(
        &mut self,
        what: &'static str,
        mut open: impl FnMut() -> C + Send + 'static,
        mut ask: impl FnMut(C) -> Turn<C> + Send + 'static,
    ) {
        let (stop, served) = (Arc::clone(&self.stop), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&served);
        let thread = std::thread::spawn(move || {
            let (mut kept, mut opened) = (None, 0);
            while !stop.load(Ordering::Acquire) {
                let connection = kept.take().unwrap_or_else(|| {
                    opened += 1;
                    open()
                });
                match ask(connection) {
                    Turn::Served(connection) => kept = Some(connection),
                    Turn::ServedLast => {}
                    Turn::Again => continue,
                }
                counted.fetch_add(1, Ordering::AcqRel);
            }
            opened
        });
        self.clients.push(Client { what, served, thread });
    }

    /// Each client is served so many times more.
    #[track_caller]
    pub fn go_on(&self, times: usize) {
        let served = |client: &Client| client.served.load(Ordering::Acquire);
        let goals: Vec<usize> = self.clients.iter().map(|client| served(client) + times).collect();
        for (client, goal) in self.clients.iter().zip(goals) {
            eventually(client.what, || {
                let failed = client.thread.is_finished();
                assert!(!failed, "{}: failed after {}", client.what, served(client));
                (served(client) >= goal).then_some(())
            });
        }
    }

    /// Ends; how many connections each client opened.
    #[track_caller]
    pub fn end(self) -> Vec<(&'static str, usize)> {
        self.stop.store(true, Ordering::Release);
        let ended = self.clients.into_iter();
        ended.map(|client| (client.what, client.thread.join().expect(client.what))).collect()
    }
}
