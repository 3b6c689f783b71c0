//! Interrupts, by their count: the first undoes everything, the second skips the settling, the third leaves.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the run was interrupted. Cheap to clone.
#[derive(Clone)]
pub struct Interrupts {
    count: watch::Receiver<u32>,
}

/// The side that counts.
pub struct InterruptSource {
    count: watch::Sender<u32>,
}

impl InterruptSource {
    /// None so far.
    pub fn new() -> (Self, Interrupts) {
        let (sender, receiver) = watch::channel(0);
        (Self { count: sender }, Interrupts { count: receiver })
    }

    /// One more.
    pub fn interrupt(&self) {
        self.count.send_modify(|count| *count += 1);
    }
}

impl Interrupts {
    /// How many so far.
    pub fn count(&self) -> u32 {
        *self.count.borrow()
    }

    /// Returns once there are at least `count`; never where the source is gone before.
    pub async fn at_least(&self, count: u32) {
        let mut receiver = self.count.clone();
        if receiver.wait_for(|now| *now >= count).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A token that is cancelled once there are at least `count`.
    pub fn token(&self, count: u32) -> CancellationToken {
        let token = CancellationToken::new();
        let (mine, interrupts) = (token.clone(), self.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = interrupts.at_least(count) => mine.cancel(),
                () = mine.cancelled() => {}
            }
        });
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn interrupts_are_counted() {
        let (source, interrupts) = InterruptSource::new();
        let token = interrupts.token(2);
        source.interrupt();
        interrupts.at_least(1).await;
        assert!(!token.is_cancelled());
        source.interrupt();
        token.cancelled().await;
        assert_eq!(interrupts.count(), 2);
    }
}
