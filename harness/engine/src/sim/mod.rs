//! A cluster in virtual time behind the ports of a run, so that every path of a run is tested without a cluster.
//!
//! A [`Script`] is drawn from one seed: when the service fails and heals, and what goes wrong with the runner, the API server, the
//! undo and the run's files. The [`World`] knows what is true. A run, and a sweep after a run that died, act on it through the
//! ports; [`check`] then holds their journal, verdict and leftovers against the truth.
//!
//! A seed that fails prints the command that repeats it.

mod check;
mod cluster;
mod drive;
mod faults;
mod observer;
mod probes;
mod rng;
mod script;
mod shell;
mod store;
mod tests;
mod world;

pub(crate) use script::Script;
pub(crate) use world::World;

use crate::clock::{Clock, simulated};
use crate::cluster::ClusterError;
use crate::port::Ports;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// One process that acts on the world. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sim {
    world: Arc<Mutex<World>>,
    /// The number of this process; a lease names it.
    process: u32,
    /// The one clock of this process.
    clock: Clock,
    /// Told once the process is to die.
    death: Arc<Notify>,
}

impl Sim {
    /// Another process on the same world, in whose time it begins.
    pub(crate) fn process(world: &Arc<Mutex<World>>, number: u32) -> Self {
        Self { world: world.clone(), process: number, clock: simulated::clock(), death: Arc::new(Notify::new()) }
    }

    /// Its ports.
    pub(crate) fn ports(&self) -> Ports {
        let this = Arc::new(self.clone());
        Ports {
            clock: self.clock,
            cluster: this.clone(),
            faults: this.clone(),
            observer: this.clone(),
            probes: this.clone(),
            shell: this.clone(),
            deployer: this.clone(),
            store: this,
        }
    }

    /// The world, as it is now.
    fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance(simulated::elapsed());
        world
    }

    /// One request of the API server: it takes a while, may fail, may get no answer, and the process may die in it.
    async fn ask(&self, what: &str) -> Result<(), ClusterError> {
        let (latency, fails, silent, dies) = {
            let mut world = self.world();
            (world.latency(), world.request_fails(), world.silence_left(), world.dies_in_request(self.process))
        };
        if dies {
            self.die().await;
        }
        if let Some(left) = silent {
            // As the real client: no answer within its limit is an error.
            tokio::time::sleep(left.min(Duration::from_secs(15))).await;
            if left > Duration::from_secs(15) {
                let (what, silent) = (what.to_owned(), Duration::from_secs(15));
                return Err(ClusterError::Unreachable { what, silent, last: None });
            }
        }
        tokio::time::sleep(latency).await;
        match fails {
            true => Err(ClusterError::Other(format!("{what}: refused (simulated)"))),
            false => Ok(()),
        }
    }

    /// A request that changes an object: another writer may have changed it meanwhile. Then nothing is changed.
    async fn update(&self, what: &str) -> Result<(), ClusterError> {
        self.ask(what).await?;
        match self.world().update_conflicts() {
            true => Err(ClusterError::Other(format!("{what}: conflict: the object was modified (simulated)"))),
            false => Ok(()),
        }
    }

    /// The process is killed: nothing after this happens in it.
    async fn die(&self) {
        self.death.notify_one();
        std::future::pending().await
    }

    /// Returns once the process is to die.
    pub(crate) async fn death(&self) {
        self.death.notified().await;
    }
}
