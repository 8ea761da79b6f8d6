//! What the cores have seen up to now. They report ten times a second; whoever is about to say how
//! many tokens a denial hits asks for the rest first.
//!
//! What always holds: those who ask together are one question to each core; a core that does not
//! report in time is done without, so that its stall holds up nobody; and nothing that a denial needs
//! to come into force is waited for here.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::telemetry::AskToReport;

/// Far longer than a core's turn takes, and too short for a person to notice.
const PATIENCE: Duration = Duration::from_millis(50);

/// See the module.
pub struct Observed {
    cores: Vec<AskToReport>,
    /// Who waits for a question that has not been asked yet.
    waiting: Mutex<Vec<oneshot::Sender<()>>>,
}

impl Observed {
    pub fn new(cores: Vec<AskToReport>) -> Self {
        Self { cores, waiting: Mutex::default() }
    }

    /// Returns when all that the cores saw until now is remembered, or was dropped as it is when the
    /// control plane is behind.
    pub async fn up_to_now(self: &Arc<Self>) {
        let (reported, all) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting.lock();
            waiting.push(reported);
            waiting.len() == 1
        };
        if is_first {
            let observed = Arc::clone(self);
            tokio::spawn(async move {
                // Whoever else asks at this moment comes first.
                tokio::task::yield_now().await;
                observed.ask().await;
            });
        }
        // It is dropped when the gateway ends.
        all.await.ok();
    }

    async fn ask(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        let mut reports = Vec::with_capacity(self.cores.len());
        for core in &self.cores {
            let (remembered, report) = oneshot::channel();
            if core(remembered) {
                reports.push(report);
            }
        }
        let all = async {
            for report in reports {
                // One that was dropped does not come any more.
                report.await.ok();
            }
        };
        tokio::time::timeout(PATIENCE, all).await.ok();
        for reported in waiting {
            // Whoever asked may have gone.
            reported.send(()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    /// A core that reports at once, and how often it was asked.
    fn core(asked: &Arc<AtomicUsize>) -> AskToReport {
        let asked = Arc::clone(asked);
        Box::new(move |remembered| {
            asked.fetch_add(1, Ordering::Relaxed);
            remembered.send(()).is_ok()
        })
    }

    #[tokio::test]
    async fn who_asks_together_is_one_question_to_each_core_and_the_next_is_another() {
        let asked = Arc::new(AtomicUsize::new(0));
        let ended: AskToReport = Box::new(|_| false);
        let busy: AskToReport = Box::new(|remembered| {
            drop(remembered);
            true
        });
        let observed = Arc::new(Observed::new(vec![core(&asked), ended, busy, core(&asked)]));
        let all: Vec<_> = (0..20)
            .map(|_| {
                let observed = Arc::clone(&observed);
                tokio::spawn(async move { observed.up_to_now().await })
            })
            .collect();
        for one in all {
            one.await.unwrap();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        observed.up_to_now().await;
        assert_eq!(asked.load(Ordering::Relaxed), 4);
    }

    #[tokio::test]
    async fn a_report_is_waited_for_and_a_core_that_never_reports_is_not() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keeping = Arc::clone(&kept);
        let slow: AskToReport = Box::new(move |remembered| {
            keeping.lock().push(remembered);
            true
        });
        let observed = Arc::new(Observed::new(vec![slow]));
        for _ in 0..2 {
            let since = Instant::now();
            observed.up_to_now().await;
            let took = since.elapsed();
            assert!(took >= PATIENCE && took < PATIENCE * 400, "{took:?}");
        }
        let reported = AtomicUsize::new(0);
        let reports = async {
            while kept.lock().len() < 3 {
                tokio::task::yield_now().await;
            }
            reported.store(1, Ordering::Relaxed);
            kept.lock().pop().unwrap().send(()).unwrap();
        };
        let waits = async {
            observed.up_to_now().await;
            reported.load(Ordering::Relaxed)
        };
        assert_eq!(tokio::join!(waits, reports).0, 1, "what is on its way is waited for");
    }
}
