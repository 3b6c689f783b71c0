//! Finishing what a dead run left behind: from its journal where that is at hand, from labels on the cluster where not.

use super::before::{self, Compared};
use super::endpoints::{is_data, take_away};
use super::journals::{self, Journals, Saved};
use super::undo_log::leaves_no_trace;
use crate::agent::Inside;
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError, RunMark};
use crate::fault::{self, Tools};
use crate::lease::{Lease, LeaseError};
use crate::process::Progress;
use firedrill_core::event::Undo;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// How long one undo may take.
const UNDO_WITHIN: Duration = Duration::from_secs(90);
/// How long the objects of one run may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(120);
/// How long the cluster may take to be as before, once everything is undone.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// How long what a sweep makes itself may live.
const SWEEP_EXPIRES: Duration = Duration::from_secs(600);

/// What remains to be done about a cluster that nobody can put right.
const ACCEPT: &str = "or have the next run take it as it is: --accept-current-state";

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// What was done, a line each.
    pub done: Vec<String>,
    /// The run that lives, because of which nothing was touched: what is left may be its own.
    pub alive: Option<String>,
    /// What is still left behind, with why.
    pub left: Vec<String>,
    /// What could not be known, a line each.
    pub warnings: Vec<String>,
}

/// Sweeps one dead run, or all. Then it waits until the cluster is as it was before the first run that left it changed and is
/// not settled. A run that lives is never touched.
///
/// # Errors
/// Where the cluster does not answer, or is not marked for drills.
pub async fn sweep(
    cluster: &Cluster,
    runs: &Path,
    only: Option<&str>,
    agent_image: Option<&str>,
    progress: Progress<'_>,
) -> Result<Swept, ClusterError> {
    if !cluster.is_allowed().await? {
        return Err(ClusterError::Other(format!(
            "cluster {} is not marked as one that drills may break",
            cluster.name
        )));
    }
    let mut swept = Swept::default();
    let mut undos: BTreeMap<String, Vec<Undo>> = BTreeMap::new();
    let journals = Journals::read(runs, &cluster.info().await?.uid);
    for (run, why) in &journals.unread {
        match only == Some(run) {
            true => swept.left.push(format!("run {run}: what it left cannot be known: {why}")),
            false => swept.warnings.push(format!("{why}; what it left is known from the cluster alone")),
        }
    }
    for saved in journals.runs.iter().filter(|saved| !saved.open.is_empty()) {
        undos.entry(saved.run_id.clone()).or_default().extend(saved.open.iter().cloned());
    }
    for held in fault::find_held(cluster).await? {
        undos.entry(held.run_id).or_default().extend(held.undos);
    }
    for leftover in cluster.objects_of_runs().await? {
        undos.entry(leftover.run_id).or_default();
    }
    for (run, mut noted) in cluster.noted_undos().await? {
        // What its journal says is undone must not be undone again, over what was installed since.
        noted.retain(|undo| journals.of(&run).is_none_or(|saved| !saved.done.contains(undo)));
        undos.entry(run).or_default().extend(noted);
    }
    let asked = |run: &str| only.is_none_or(|only| only == run);
    undos.retain(|run, _| asked(run));
    let first = journals.unsettled().next();
    let unsettled = first.filter(|saved| asked(&saved.run_id));
    if let Some(run) = only.and_then(|only| journals.of(only))
        && let Some(first) = first
        && run.unsettled
        && first.run_id != run.run_id
    {
        swept.warnings.push(format!(
            "run {}: it began with what run {} had left, so the cluster is not compared with what it was before it",
            run.run_id, first.run_id
        ));
    }
    if undos.is_empty() && unsettled.is_none() {
        return Ok(swept);
    }
    let lease = match Lease::acquire(cluster, "sweep", progress).await {
        Ok(lease) => lease,
        Err(LeaseError::Cluster(error)) => return Err(error),
        Err(LeaseError::Held { holder }) => {
            swept.alive = Some(holder);
            let first = unsettled.map(|saved| saved.run_id.clone());
            let runs: BTreeSet<String> = undos.into_keys().chain(first).collect();
            swept.left = runs.into_iter().map(|run| format!("run {run}")).collect();
            return Ok(swept);
        }
    };
    // The newest first: what it is to restore may be what an older one's fault had made.
    for (run_id, undos) in undos.into_iter().rev() {
        let left = swept.left.len();
        one_run(cluster, &run_id, undos, agent_image, &mut swept).await;
        let saved = journals.of(&run_id).filter(|_| swept.left.len() == left);
        let noted = saved.map_or(Ok(()), |saved| journals::note_swept(&saved.folder, &swept.done));
        if let Err(error) = noted {
            swept.left.push(format!("run {run_id}: all is undone, but {error}"));
        }
    }
    // What is still to be undone makes it differ.
    if let Some(first) = unsettled.filter(|_| swept.left.is_empty()) {
        settle(cluster, &journals, first, &mut swept, progress).await;
    }
    // One that cannot be given back runs out by itself, and what was done and what is left must be said.
    if let Err(error) = lease.release().await {
        tracing::warn!("the lease runs out by itself: {error}");
    }
    Ok(swept)
}

/// Waits until the cluster is as before its first unsettled run, which settles all later ones too: what differs still is
/// beyond what a sweep can undo.
async fn settle(cluster: &Cluster, journals: &Journals, first: &Saved, swept: &mut Swept, progress: Progress<'_>) {
    let run = format!("run {}", first.run_id);
    let irreversible = journals.irreversible_since(first);
    match before::wait_until_as(cluster, &first.folder, irreversible, SETTLED_WITHIN, progress).await {
        Compared::Same => {
            swept.done.push(format!("{run}: the cluster is as before it"));
            for saved in journals.unsettled() {
                if let Err(error) = journals::note_settled(&saved.folder) {
                    swept.left.push(format!("run {}: the cluster is as before it, but {error}", saved.run_id));
                }
            }
        }
        Compared::Differs(what) => swept.left.push(format!(
            "{run}: not as before, and nothing is left to undo: {what}; put it right, make the cluster anew, {ACCEPT}"
        )),
        Compared::Unknown(why) => swept.left.push(format!(
            "{run}: whether the cluster is as before it is not known: {why}; make the cluster anew, {ACCEPT}"
        )),
    }
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
    let needs_pod = undos.iter().any(|undo| is_data(undo) || needs_node_agent(undo));
    if needs_pod && agent_image.is_none() {
        swept.left.push(format!("run {run_id}: the agent's image is not known; give --agent-image"));
        return;
    }
    let noted: Vec<Undo> = undos.iter().filter(|undo| leaves_no_trace(undo)).cloned().collect();
    if needs_pod || !noted.is_empty() {
        // It has the note anew, so that a sweep that dies, or leaves something, is followed by one that knows.
        let there = async {
            cluster.wait_out_namespace(&tools.mark.namespace(), GONE_WITHIN).await?;
            cluster.create_namespace(&tools.mark).await?;
            cluster.note_undos(&tools.mark, &noted).await
        };
        // One that is stuck may wait for a node that is off: what needs no pod in it is undone all the same.
        if let Err(error) = there.await {
            swept.left.push(format!("run {run_id}: {error}"));
        }
    }
    let may_act = swept.left.len() == before;
    // Faults first: the service that they hold down is needed for the rest.
    let is_machine = |undo: &Undo| matches!(undo, Undo::RemoveNode { .. });
    let (faults, machines) = (undos.iter().filter(|undo| is_fault(undo)), undos.iter().filter(|undo| is_machine(undo)));
    for undo in faults.chain(machines).filter(|undo| may_act || !needs_node_agent(undo)) {
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
    if may_act && !data.is_empty() {
        take_data_away(cluster, &tools, run_id, &data, swept).await;
    }
    if swept.left.len() > before {
        if !may_act {
            return;
        }
        // What is undone by now must not be undone again, over what somebody did since.
        let done = |undo: &Undo| swept.done.contains(&format!("run {run_id}: {undo}"));
        let open: Vec<Undo> = noted.into_iter().filter(|undo| !done(undo)).collect();
        if let Err(error) = cluster.note_undos(&tools.mark, &open).await {
            swept.warnings.push(format!("run {run_id}: {error}"));
        }
        swept.left.push(format!("run {run_id}: its namespace stays until then: it says how the rest is undone"));
        return;
    }
    match cluster.delete_by_label(run_id, GONE_WITHIN).await {
        Ok(gone) => swept.done.extend(gone.iter().map(|object| format!("run {run_id}: delete {object}"))),
        Err(error) => swept.left.push(format!("run {run_id}: {error}")),
    }
}

fn needs_node_agent(undo: &Undo) -> bool {
    matches!(undo, Undo::Thaw { .. } | Undo::MendFiles { .. } | Undo::RemoveFiller { .. } | Undo::EmptyStream { .. })
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
