//! Finishing what a dead run left behind: from its journal where that is at hand, from labels on the cluster where not.

use super::endpoints::{is_data, take_away};
use crate::agent::Inside;
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError, RunMark};
use crate::fault::{self, Tools};
use crate::lease::{Lease, LeaseError};
use firedrill_core::event::{Event, Undo};
use firedrill_core::journal::Journal;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// In a dead run's folder: what a sweep did, once nothing was left.
const SWEPT_FILE: &str = "swept.txt";
/// How long one undo may take.
const UNDO_WITHIN: Duration = Duration::from_secs(90);
/// How long the objects of one run may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(120);
/// How long what a sweep makes itself may live.
const SWEEP_EXPIRES: Duration = Duration::from_secs(600);

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// What was done, a line each.
    pub done: Vec<String>,
    /// The run that lives, because of which nothing was touched: what is left may be its own.
    pub alive: Option<String>,
    /// What is still left behind, with why.
    pub left: Vec<String>,
}

/// Sweeps one dead run, or all. A run that lives is never touched.
///
/// # Errors
/// Where the cluster does not answer, or is not marked for drills.
pub async fn sweep(
    cluster: &Cluster,
    runs: &Path,
    only: Option<&str>,
    agent_image: Option<&str>,
) -> Result<Swept, ClusterError> {
    if !cluster.is_allowed().await? {
        return Err(ClusterError::Other(format!(
            "cluster {} is not marked as one that drills may break",
            cluster.name
        )));
    }
    let mut swept = Swept::default();
    let mut undos: BTreeMap<String, Vec<Undo>> = BTreeMap::new();
    let journals = from_journals(cluster, runs, only).await?;
    for (run, journal) in &journals {
        if !journal.open.is_empty() {
            undos.entry(run.clone()).or_default().extend(journal.open.iter().cloned());
        }
    }
    for held in fault::find_held(cluster).await? {
        undos.entry(held.run_id).or_default().extend(held.undos);
    }
    for leftover in cluster.objects_of_runs().await? {
        undos.entry(leftover.run_id).or_default();
    }
    for (run, mut noted) in cluster.noted_undos().await? {
        // Noted before the fault, and not taken back: what its journal says is undone must not be undone again, over what was
        // installed since.
        noted.retain(|undo| journals.get(&run).is_none_or(|journal| !journal.done.contains(undo)));
        undos.entry(run).or_default().extend(noted);
    }
    undos.retain(|run, _| only.is_none_or(|only| only == run));
    if undos.is_empty() {
        return Ok(swept);
    }
    let lease = match Lease::acquire(cluster, "sweep", &mut |text| tracing::warn!("{text}")).await {
        Ok(lease) => lease,
        Err(LeaseError::Cluster(error)) => return Err(error),
        Err(LeaseError::Held { holder }) => {
            swept.alive = Some(holder);
            swept.left = undos.into_keys().map(|run| format!("run {run}")).collect();
            return Ok(swept);
        }
    };
    // The newest first: what it is to restore may be what an older one's fault had made.
    for (run_id, undos) in undos.into_iter().rev() {
        let left = swept.left.len();
        one_run(cluster, &run_id, undos, agent_image, &mut swept).await;
        // The dead run's journal stays as it ended; a file beside it says that what it names is done.
        let folder = runs.join(&run_id);
        if swept.left.len() == left && folder.is_dir() {
            let text = swept.done.join("\n") + "\n";
            if let Err(error) = std::fs::write(folder.join(SWEPT_FILE), text) {
                swept.left.push(format!("run {run_id}: all is undone, but {}: {error}", folder.display()));
            }
        }
    }
    // One that cannot be given back runs out by itself, and what was done and what is left must be said.
    if let Err(error) = lease.release().await {
        tracing::warn!("the lease runs out by itself: {error}");
    }
    Ok(swept)
}

/// The other runs of which something is on a cluster.
///
/// # Errors
/// Where the cluster does not answer.
pub(super) async fn left_behind(cluster: &Cluster, own: &str) -> Result<BTreeSet<String>, ClusterError> {
    let held = fault::find_held(cluster).await?.into_iter().map(|held| held.run_id);
    let objects = cluster.objects_of_runs().await?.into_iter().map(|left| left.run_id);
    Ok(held.chain(objects).filter(|run| run != own).map(|run| format!("run {run}")).collect())
}

/// What a saved run's journal says of its undos.
struct Recorded {
    /// Not undone, the last first.
    open: Vec<Undo>,
    /// Undone.
    done: Vec<Undo>,
}

/// What saved runs on this cluster have recorded.
async fn from_journals(
    cluster: &Cluster,
    runs: &Path,
    only: Option<&str>,
) -> Result<BTreeMap<String, Recorded>, ClusterError> {
    let uid = cluster.info().await?.uid;
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(runs).into_iter().flatten().flatten() {
        if entry.path().join(SWEPT_FILE).exists() {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(entry.path().join("events.jsonl")) else { continue };
        let Ok(journal) = Journal::parse(&text) else { continue };
        let Ok(start) = journal.start() else { continue };
        if start.cluster.uid != uid || only.is_some_and(|only| only != start.plan.run_id) {
            continue;
        }
        found.insert(start.plan.run_id.clone(), recorded(&journal));
    }
    Ok(found)
}

fn recorded(journal: &Journal) -> Recorded {
    let mut open: BTreeMap<u32, Undo> = BTreeMap::new();
    let mut done = Vec::new();
    for record in &journal.records {
        match &record.event {
            Event::UndoRecorded { id, undo } => {
                open.insert(*id, undo.clone());
            }
            Event::Undone { id, error: None, .. } => {
                done.extend(open.remove(id));
            }
            _ => {}
        }
    }
    Recorded { open: open.into_values().rev().collect(), done }
}

async fn one_run(cluster: &Cluster, run_id: &str, undos: Vec<Undo>, agent_image: Option<&str>, swept: &mut Swept) {
    let before = swept.left.len();
    let clock = Clock::start();
    let expires_unix = clock.unix_seconds(clock.now().plus(SWEEP_EXPIRES));
    let mark = RunMark { run_id: run_id.to_owned(), expires_unix };
    let tools = Tools {
        cluster: cluster.clone(),
        clock,
        mark,
        image: agent_image.unwrap_or_default().to_owned(),
        power: cluster.power.clone(),
    };
    let mut each: Vec<Undo> = Vec::new();
    for undo in undos {
        if !each.contains(&undo) {
            each.push(undo);
        }
    }
    let undos = each;
    let is_fault = |undo: &Undo| undo.is_of_a_fault() && !matches!(undo, Undo::HealsItself { .. });
    let needs_pod = undos.iter().any(|undo| {
        is_data(undo) || matches!(undo, Undo::Thaw { .. } | Undo::MendFiles { .. } | Undo::RemoveFiller { .. })
    });
    if needs_pod {
        if agent_image.is_none() {
            swept.left.push(format!("run {run_id}: the agent's image is not known; give --agent-image"));
            return;
        }
        let there = async {
            cluster.wait_out_namespace(&tools.mark.namespace(), GONE_WITHIN).await?;
            cluster.create_namespace(&tools.mark).await
        };
        if let Err(error) = there.await {
            swept.left.push(format!("run {run_id}: {error}"));
            return;
        }
    }
    // Faults first: the service that they hold down is needed for the rest.
    let is_machine = |undo: &Undo| matches!(undo, Undo::RemoveNode { .. });
    let (faults, machines) = (undos.iter().filter(|undo| is_fault(undo)), undos.iter().filter(|undo| is_machine(undo)));
    for undo in faults.chain(machines) {
        let undone = fault::undo(&tools, undo, UNDO_WITHIN).await;
        let clean = match undone {
            Ok(()) => wait_clean(&tools, undo).await,
            Err(error) => Err(error.to_string()),
        };
        match clean {
            Ok(()) => swept.done.push(format!("run {run_id}: {undo}")),
            Err(error) => swept.left.push(format!("run {run_id}: {undo}: {error}")),
        }
    }
    let data: Vec<&Undo> = undos.iter().filter(|undo| is_data(undo)).collect();
    if !data.is_empty() {
        take_data_away(cluster, &tools, run_id, &data, swept).await;
    }
    if swept.left.len() > before {
        swept.left.push(format!("run {run_id}: its namespace stays until then: it says how the rest is undone"));
        return;
    }
    match cluster.delete_by_label(run_id, GONE_WITHIN).await {
        Ok(gone) => swept.done.extend(gone.iter().map(|object| format!("run {run_id}: delete {object}"))),
        Err(error) => swept.left.push(format!("run {run_id}: {error}")),
    }
}

async fn wait_clean(tools: &Tools, undo: &Undo) -> Result<(), String> {
    let deadline = tools.clock.deadline(tools.clock.now().plus(UNDO_WITHIN));
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    let mut last = "not looked".to_owned();
    loop {
        let round = async {
            tick.tick().await;
            fault::is_clean(tools, undo, UNDO_WITHIN).await
        };
        match tokio::time::timeout_at(deadline, round).await {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => last = "still in place".to_owned(),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => return Err(last),
        }
    }
}

async fn take_data_away(cluster: &Cluster, tools: &Tools, run_id: &str, data: &[&Undo], swept: &mut Swept) {
    // The dead run's own agent may still be there, with its probes: a fresh one takes its place.
    let inside = match Inside::replace(cluster, &tools.mark, &tools.image, UNDO_WITHIN).await {
        Ok(inside) => inside,
        Err(error) => {
            swept.left.extend(data.iter().map(|undo| format!("run {run_id}: {undo}: {error}")));
            return;
        }
    };
    for undo in data {
        let done = take_away(cluster, &inside, undo).await;
        match done {
            Ok(()) => swept.done.push(format!("run {run_id}: {undo}")),
            Err(error) => swept.left.push(format!("run {run_id}: {undo}: {error}")),
        }
    }
}
