//! The connections that a series keeps.
//!
//! A connection serves one attempt at a time. An attempt that finds none idle opens another one rather than wait behind one
//! that hangs, so a black hole on old connections does not hide that new ones work again. In the steady state one
//! connection is used over and over; surplus ones are closed once they have been idle for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// After how long without use a surplus connection is closed.
const IDLE_MAX: Duration = Duration::from_secs(10);

pub(super) struct Pool<C> {
    clock: crate::clock::Clock,
    idle: Mutex<Vec<(C, firedrill_core::time::At)>>,
    slots: Semaphore,
}

/// The right to one connection. Dropped without [`Lease::give_back`] - the attempt failed or timed out - it closes every idle
/// connection as well: they are as old as the one that failed, and suspect.
pub(super) struct Lease<'p, C> {
    pool: &'p Pool<C>,
    _slot: Option<SemaphorePermit<'p>>,
    returned: bool,
}

/// A lease with the connection that was idle, where there was one.
pub(super) struct Taken<'p, C> {
    lease: Lease<'p, C>,
    kept: Option<C>,
}

impl<C> Pool<C> {
    /// At most `limit` connections at a time.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            clock: crate::clock::Clock::start(),
            idle: Mutex::new(Vec::new()),
            slots: Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)),
        }
    }

    /// The most recently used idle connection, or the right to open one. Waits while `limit` are in use.
    pub(super) async fn lease(&self) -> Taken<'_, C> {
        // The semaphore is never closed; without a permit the limit would merely not hold.
        let slot = self.slots.acquire().await.ok();
        let kept = self.lock().pop().map(|(connection, _)| connection);
        Taken { lease: Lease { pool: self, _slot: slot, returned: false }, kept }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(C, firedrill_core::time::At)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'p, C> Taken<'p, C> {
    pub(super) fn take(self) -> (Lease<'p, C>, Option<C>) {
        (self.lease, self.kept)
    }
}

impl<C> Lease<'_, C> {
    /// The connection works and may be used again.
    pub(super) fn give_back(mut self, connection: C) {
        self.returned = true;
        let now = self.pool.clock.now();
        let mut idle = self.pool.lock();
        idle.push((connection, now));
        // Used last in, first out: the first is the one that has been idle longest.
        if idle.len() > 1 && now.since(idle[0].1) > IDLE_MAX {
            idle.remove(0);
        }
    }

    /// The service ended the connection in good order: the others are not suspect.
    pub(super) fn ended(mut self) {
        self.returned = true;
    }
}

impl<C> Drop for Lease<'_, C> {
    fn drop(&mut self) {
        if !self.returned {
            let suspects = std::mem::take(&mut *self.pool.lock());
            drop(suspects);
        }
    }
}
