//! Probes by agents in a real cluster, and by this process from outside.

use super::endpoints::{self, Endpoints};
use crate::agent::Inside;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::port::{Agent, AgentError, Probes, Refusal, Resolved, RunMark, Stopped, Vantages};
use crate::probe;
use async_trait::async_trait;
use firedrill_core::event::Undo;
use firedrill_core::judge::ledger::Found;
use firedrill_core::plan::Series;
use firedrill_core::sample::Sample;
use futures::future::{join_all, try_join_all};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) struct RealProbes {
    pub(super) cluster: Cluster,
    pub(super) clock: Clock,
    pub(super) image: String,
}

#[async_trait]
impl Probes for RealProbes {
    async fn check(&self, series: &[Series]) -> Result<(), Refusal> {
        endpoints::check_outside(&self.cluster, series).await
    }

    fn undos(&self, series: &[Series]) -> Vec<Undo> {
        endpoints::agent_namespaces(series).iter().map(|namespace| Inside::undo(namespace)).collect()
    }

    async fn deploy(
        &self,
        mark: &RunMark,
        series: &[Series],
        victims: &[String],
        within: Duration,
    ) -> Result<Box<dyn Vantages>, AgentError> {
        let (cluster, image) = (&self.cluster, &self.image);
        let namespaces: Vec<String> = endpoints::agent_namespaces(series).into_iter().collect();
        let elsewhere =
            namespaces.iter().map(|namespace| Inside::deploy(cluster, mark, image, Some(namespace), victims, within));
        let own = Inside::deploy(cluster, mark, image, None, victims, within);
        let (own, elsewhere) = tokio::try_join!(own, try_join_all(elsewhere))?;
        let stop = CancellationToken::new();
        Ok(Box::new(RealVantages {
            cluster: self.cluster.clone(),
            clock: self.clock,
            mark: mark.clone(),
            series: series.to_vec(),
            own: InsideAgent { cluster: self.cluster.clone(), inside: own },
            elsewhere: namespaces.into_iter().zip(elsewhere).collect(),
            endpoints: None,
            outside: None,
            _end: stop.clone().drop_guard(),
            stop,
        }))
    }

    async fn replace(&self, mark: &RunMark, within: Duration) -> Result<Box<dyn Agent>, AgentError> {
        let inside = Inside::replace(&self.cluster, mark, &self.image, within).await?;
        Ok(Box::new(InsideAgent { cluster: self.cluster.clone(), inside }))
    }
}

struct InsideAgent {
    cluster: Cluster,
    inside: Inside,
}

#[async_trait]
impl Agent for InsideAgent {
    async fn answers(&self) -> Result<(), AgentError> {
        self.inside.answers().await
    }

    async fn take_away(&self, undo: &Undo) -> Result<(), String> {
        endpoints::take_away(&self.cluster, &self.inside, undo).await
    }
}

fn clock_of(agent: &Inside) -> (String, Duration) {
    (format!("probe agent on {}", agent.node()), agent.uncertainty())
}

/// Agents inside the cluster, and this process outside.
struct RealVantages {
    cluster: Cluster,
    clock: Clock,
    mark: RunMark,
    series: Vec<Series>,
    own: InsideAgent,
    /// Agents in namespaces of others.
    elsewhere: Vec<(String, Inside)>,
    endpoints: Option<Endpoints>,
    outside: Option<JoinHandle<()>>,
    stop: CancellationToken,
    /// However the run leaves, its probes end with this: otherwise the queue of their samples would stay open.
    _end: DropGuard,
}

impl RealVantages {
    fn resolved(&self) -> Result<&Endpoints, String> {
        self.endpoints.as_ref().ok_or_else(|| "the endpoints were not resolved".to_owned())
    }

    fn agents(&self) -> impl Iterator<Item = &Inside> {
        self.elsewhere.iter().map(|(_, agent)| agent).chain([&self.own.inside])
    }
}

#[async_trait]
impl Vantages for RealVantages {
    fn agent(&self) -> &dyn Agent {
        &self.own
    }

    fn may_write(&self) -> bool {
        self.own.inside.may_write()
    }

    fn node(&self) -> &str {
        self.own.inside.node()
    }

    fn outside(&self) -> usize {
        self.endpoints.as_ref().map_or(0, |endpoints| endpoints.outside.len())
    }

    async fn resolve(&mut self) -> Result<Resolved, String> {
        let endpoints = endpoints::resolve(&self.cluster, &self.mark, &self.series).await;
        let endpoints = endpoints.map_err(|error| error.to_string())?;
        let resolved = Resolved { undos: endpoints.undos(&self.mark), notes: endpoints.notes() };
        self.endpoints = Some(endpoints);
        Ok(resolved)
    }

    async fn make(&mut self) -> Result<(), String> {
        let endpoints = self.resolved()?;
        for (service, node_port) in endpoints.node_ports() {
            let name = endpoints::name_of_node_port(&self.mark, node_port);
            let made = self.cluster.make_node_port(&self.mark, service, &name, node_port).await;
            made.map_err(|error| error.to_string())?;
        }
        for table in &endpoints.tables {
            let made = self.own.inside.create_table(&table.url, &table.table).await;
            made.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn start(&mut self, sink: mpsc::Sender<Sample>) -> Result<(), String> {
        let endpoints = self.resolved()?;
        let outside = endpoints.outside.clone();
        let of = |namespace: Option<&String>| endpoints.inside.get(&namespace.cloned()).cloned().unwrap_or_default();
        let own = of(None);
        let elsewhere: Vec<_> = self.elsewhere.iter().map(|(namespace, _)| of(Some(namespace))).collect();
        self.outside = Some(probe::start(outside, self.clock, sink.clone(), self.stop.clone()));
        let text = |error: AgentError| error.to_string();
        for ((_, agent), specs) in self.elsewhere.iter_mut().zip(elsewhere) {
            agent.start(specs, self.clock, sink.clone()).await.map_err(text)?;
        }
        self.own.inside.start(own, self.clock, sink).await.map_err(text)
    }

    fn failures(&self) -> Vec<watch::Receiver<Option<AgentError>>> {
        self.agents().filter_map(Inside::failure).collect()
    }

    fn clocks(&self) -> Vec<(String, Duration)> {
        self.agents().map(clock_of).collect()
    }

    async fn stop(&mut self, within: Duration) -> Stopped {
        self.stop.cancel();
        let agents = self.elsewhere.iter_mut().map(|(_, agent)| agent).chain([&mut self.own.inside]);
        let agents = agents.filter(|agent| agent.is_measuring());
        let inside = join_all(agents.map(|agent| async move {
            let drained = agent.stop_and_drain(within).await;
            drained.map(|()| clock_of(agent)).map_err(|error| error.to_string())
        }));
        let outside = async {
            let Some(task) = &mut self.outside else { return Ok(()) };
            let ended = tokio::time::timeout(within, &mut *task).await;
            task.abort();
            self.outside = None;
            ended.map(drop).map_err(|_| "attempts from outside did not end".to_owned())
        };
        let (inside, outside) = tokio::join!(inside, outside);
        let mut stopped = Stopped::default();
        for ended in inside {
            match ended {
                Ok(clock) => stopped.clocks.push(clock),
                Err(error) => stopped.missing.push(error),
            }
        }
        stopped.missing.extend(outside.err());
        stopped
    }

    fn stores(&self) -> Vec<(String, &'static str)> {
        let stores = self.endpoints.iter().flat_map(|endpoints| &endpoints.stores);
        stores.map(|(probe, store)| (probe.clone(), store.store_name())).collect()
    }

    async fn read_back(&self, probe: &str, within: Duration) -> Result<Found, AgentError> {
        let store = self.endpoints.as_ref().and_then(|endpoints| endpoints.stores.get(probe));
        let store = store.ok_or_else(|| AgentError::Refused(format!("{probe} writes nothing")))?;
        self.own.inside.read_back(store, within).await
    }
}
