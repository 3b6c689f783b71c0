//! Finishing what a dead run left behind: from its journal where that is at hand, and from the undo records on the cluster.

use super::before::{self, Comparison};
use super::dirty;
use super::interrupt::Interrupts;
use super::journals::{self, Journals, SavedRun};
use super::leftovers::{self, Trust, Work};
use super::undo_log::RunRecords;
use crate::port::{Agent, Cluster, ClusterError, LeaseError, Ports, Progress, RunMark, shown, while_held};
use firedrill_core::event::Undo;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How long one undo may take.
const UNDO_WITHIN: Duration = Duration::from_secs(90);
/// Time between two attempts of an undo that failed.
const AGAIN_EVERY: Duration = Duration::from_secs(1);
/// How long the objects of one run may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(120);
/// How long the cluster may take to be as before, once everything is undone.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// How long what a sweep makes itself may live.
const SWEEP_EXPIRES: Duration = Duration::from_secs(600);
/// The number of the record of what a sweep makes itself.
const SWEEP_ID: u32 = u32::MAX;

/// What to sweep.
#[derive(Clone, Copy)]
pub struct SweepOptions<'a> {
    /// The folder of saved runs.
    pub runs: &'a Path,
    /// This run alone.
    pub only: Option<&'a str>,
    /// The image that holds this program.
    pub agent_image: Option<&'a str>,
    /// Whether what anybody may have forged is obeyed too: annotations and labels of older versions, and undo records that others can
    /// write.
    pub trust_annotations: bool,
    /// Whether nothing is done, and what would be is said.
    pub dry_run: bool,
    /// The first one ends the sweep after the undo under way, the second one at once. Either is said to leave something.
    pub interrupts: &'a Interrupts,
}

/// What an interrupted sweep leaves.
const INTERRUPTED: &str =
    "the sweep was interrupted before it compared the cluster with the snapshot taken before the run";
/// What a message offers last.
const ACCEPT: &str = "or accept it in the next run with --accept-current-state";

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// What was done, a line each.
    pub done: Vec<String>,
    /// What would be done, a line each, where nothing was to be.
    pub planned: Vec<String>,
    /// The run that lives, because of which nothing was touched: what is left may be its own.
    pub alive: Option<String>,
    /// What is still left behind, with why.
    pub left: Vec<String>,
    /// What tells of something left behind and was not obeyed, since it may be forged, with why.
    pub not_obeyed: Vec<String>,
    /// What could not be known, a line each.
    pub warnings: Vec<String>,
}

/// Sweeps one dead run, or all. Then it waits until the cluster is as it was before the first run that left it changed and is
/// not settled. A run that lives is never touched.
///
/// # Errors
/// Where the cluster does not answer, or is not marked for drills.
pub async fn sweep(ports: &Ports, options: SweepOptions<'_>, progress: Progress<'_>) -> Result<Swept, ClusterError> {
    let cluster = &*ports.cluster;
    if !cluster.is_allowed().await? {
        return Err(ClusterError::Other(format!("cluster {} is not marked for drills", cluster.name())));
    }
    let mut swept = Swept::default();
    let only = options.only;
    let cluster_uid = cluster.uid().await?;
    let journals = Journals::read(&*ports.store, options.runs, &cluster_uid);
    for (run, why) in &journals.unread {
        match only == Some(run) {
            true => swept.left.push(format!("run {run}: what it left is unknown: {why}")),
            false => swept.warnings.push(format!("{why}; what it left is known only from the cluster")),
        }
    }
    let mut found = leftovers::look(cluster, &cluster_uid, &journals, only).await?;
    let asked = |run: &str| only.is_none_or(|only| only == run);
    let first = journals.unsettled().next();
    let unsettled = first.filter(|saved| asked(&saved.run_id));
    if let Some(run) = only.and_then(|only| journals.of(only))
        && let Some(first) = first
        && run.unsettled
        && first.run_id != run.run_id
    {
        swept.warnings.push(format!(
            "run {}: it began on the cluster that run {} had left changed, so the cluster is not compared with the snapshot taken before it",
            run.run_id, first.run_id
        ));
    }
    if found.is_nothing() && unsettled.is_none() {
        return Ok(swept);
    }
    let dirty = std::mem::take(&mut found.dirty);
    if options.dry_run {
        let work = found.judge(cluster, Trust::of(&options), &mut swept).await;
        swept.planned = leftovers::planned(&work);
        swept.warnings.extend(dirty.unsettled());
        return Ok(swept);
    }
    let lease = match cluster.lease("sweep", progress).await {
        Ok(lease) => lease,
        Err(LeaseError::Cluster(error)) => return Err(error),
        Err(LeaseError::Held { holder }) => {
            swept.alive = Some(holder);
            let first = unsettled.map(|saved| saved.run_id.clone());
            let runs: BTreeSet<String> = found.runs().into_iter().chain(first).collect();
            swept.left = runs.into_iter().map(|run| format!("run {run}")).chain(dirty.unsettled()).collect();
            return Ok(swept);
        }
    };
    let undoing = async {
        let work = found.judge(cluster, Trust::of(&options), &mut swept).await;
        // The newest first: what it is to restore may be what an older one's fault had made.
        for (run_id, work) in work.into_iter().rev() {
            let left = swept.left.len();
            let mark = mark_of(ports, &run_id);
            let records = RunRecords { cluster: ports.cluster.clone(), uid: cluster_uid.clone(), mark: mark.clone() };
            let has_image = options.agent_image.is_some_and(|image| !image.is_empty());
            let swept = &mut swept;
            let interrupts = options.interrupts;
            Sweeping { ports, mark, has_image, records, run_id: &run_id, interrupts, swept }.one_run(work).await;
            let saved = journals.of(&run_id).filter(|_| swept.left.len() == left);
            let noted = saved.map_or(Ok(()), |saved| journals::note_swept(&*ports.store, &saved.folder, &swept.done));
            if let Err(error) = noted {
                swept.left.push(format!("run {run_id}: all is undone, but {error}"));
            }
        }
        if options.interrupts.count() > 0 {
            swept.left.push(INTERRUPTED.to_owned());
            return;
        }
        if let Err(error) = leftovers::labelled(cluster, &options, GONE_WITHIN, &mut swept).await {
            swept.left.push(format!("objects that carry the label of a run may be left: {error}"));
        }
        // What is still to be undone makes it differ.
        if let Some(first) = unsettled.filter(|_| swept.left.is_empty()) {
            let interrupted = tokio::select! {
                biased;
                () = settle(ports, &cluster_uid, &journals, first, &mut swept, progress) => false,
                () = options.interrupts.at_least(1) => true,
            };
            if interrupted {
                swept.left.push(INTERRUPTED.to_owned());
            }
        }
        for run in &dirty.settled {
            delete_dirty_end(cluster, run, &mut swept).await;
        }
    };
    let ended = tokio::select! {
        biased;
        ended = while_held(lease.lost(), undoing) => ended,
        () = options.interrupts.at_least(2) => Err("the sweep was interrupted twice".to_owned()),
    };
    if let Err(reason) = ended {
        swept.left.push(format!("the sweep is not complete: {reason}"));
    }
    // However far it came: nothing here settles them.
    swept.left.extend(dirty.unsettled());
    // One that cannot be given back runs out by itself, and what was done and what is left must be said.
    if let Err(error) = lease.release().await {
        tracing::warn!("the lease was not released and expires by itself: {error}");
    }
    Ok(swept)
}

/// Waits until the cluster is as before its first unsettled run, which settles all later ones too: what differs still is
/// beyond what a sweep can undo.
async fn settle(
    ports: &Ports,
    cluster_uid: &str,
    journals: &Journals,
    first: &SavedRun,
    swept: &mut Swept,
    progress: Progress<'_>,
) {
    let run = format!("run {}", first.run_id);
    let irreversible = journals.irreversible_since(first);
    let compared = before::wait_until_as(ports, &first.folder, irreversible, SETTLED_WITHIN, progress);
    let left = match compared.await {
        Comparison::Same => {
            swept.done.push(format!("{run}: the cluster matches the snapshot taken before it"));
            for saved in journals.unsettled() {
                match journals::note_settled(&*ports.store, &saved.folder) {
                    Ok(()) => delete_dirty_end(&*ports.cluster, &saved.run_id, swept).await,
                    Err(error) => {
                        swept.left.push(format!(
                            "run {}: the cluster matches the snapshot taken before it, but {error}",
                            saved.run_id
                        ));
                    }
                }
            }
            return;
        }
        Comparison::Differs(what) => {
            swept.left.push(format!(
                "{run}: the cluster differs from the snapshot taken before it, and nothing is left to undo: {what}; fix it, recreate the cluster, {ACCEPT}"
            ));
            what
        }
        Comparison::Unknown(why) => {
            swept.left.push(format!(
                "{run}: the cluster could not be compared with the snapshot taken before it: {why}; recreate the cluster, {ACCEPT}"
            ));
            why
        }
    };
    let mark = mark_of(ports, &first.run_id);
    swept.warnings.extend(dirty::write(ports, &mark, cluster_uid, &first.folder, &[left]).await);
}

/// The mark of what a sweep makes for a run.
fn mark_of(ports: &Ports, run_id: &str) -> RunMark {
    let expires_unix = ports.clock.unix_seconds(ports.clock.now().plus(SWEEP_EXPIRES));
    RunMark { run_id: run_id.to_owned(), expires_unix }
}

/// A record that is not deleted keeps runs of other machines away.
async fn delete_dirty_end(cluster: &dyn Cluster, run: &str, swept: &mut Swept) {
    if let Err(error) = cluster.delete_dirty_end(run).await {
        swept.left.push(format!("run {run}: the cluster matches the snapshot taken before it, but {error}"));
    }
}

/// The sweep of one run.
struct Sweeping<'a> {
    ports: &'a Ports,
    mark: RunMark,
    /// Whether the image of the agents is known.
    has_image: bool,
    records: RunRecords,
    run_id: &'a str,
    interrupts: &'a Interrupts,
    swept: &'a mut Swept,
}

impl Sweeping<'_> {
    async fn one_run(&mut self, mut work: Work) {
        let run_id = self.run_id;
        let needs_pod = work.undos.iter().any(|undo| undo.is_data() || undo.needs_node_agent());
        if needs_pod && !self.has_image {
            self.swept
                .left
                .push(format!("run {run_id}: the image of the agent is unknown; name it with --agent-image"));
            return;
        }
        let mut may_act = true;
        if needs_pod {
            let made = self.make_namespace(&mut work).await;
            // One that is stuck may wait for a node that is off: what needs no pod in it is undone all the same.
            if let Err(error) = made {
                self.swept.left.push(format!("run {run_id}: {error}"));
                may_act = false;
            }
        }
        let undos = std::mem::take(&mut work.undos);
        let rank = |undo: &Undo| match undo {
            // Faults first: the service that they hold down is needed for the rest.
            undo if undo.is_of_a_fault() => 0,
            Undo::RemoveNode { .. } => 1,
            undo if undo.is_data() => 2,
            // Last the namespace that the agents are in.
            Undo::DeleteObject { kind, .. } if kind == "Namespace" => 4,
            _ => 3,
        };
        let mut ordered: Vec<&Undo> = undos.iter().filter(|undo| !matches!(undo, Undo::HealsItself { .. })).collect();
        ordered.sort_by_key(|undo| rank(undo));
        let mut agent = None;
        for undo in ordered {
            if !may_act && (undo.needs_node_agent() || undo.is_data()) {
                self.swept.left.push(format!("run {run_id}: {undo}: the sweep has no pod for it"));
                continue;
            }
            let what = shown(&undo.to_string());
            if self.interrupts.count() > 0 {
                self.swept.left.push(format!("run {run_id}: {what}: the sweep was interrupted"));
                continue;
            }
            if let Some(why) = undo.unchecked() {
                self.swept.warnings.push(format!("run {run_id}: {what}: not checked: {why}"));
            }
            match self.undo(undo, &mut agent).await {
                Ok(()) => {
                    self.swept.done.push(format!("run {run_id}: {what}"));
                    self.delete_record_of(undo, &work).await;
                }
                Err(error) => self.swept.left.push(format!("run {run_id}: {what}: {}", shown(&error))),
            }
        }
        for undo in &work.undone {
            self.delete_record_of(undo, &work).await;
        }
    }

    /// Makes the run's namespace again, for the pods of the sweep. How it is deleted is recorded before.
    async fn make_namespace(&self, work: &mut Work) -> Result<(), ClusterError> {
        let (cluster, mark) = (&self.ports.cluster, &self.mark);
        cluster.wait_out_namespace(&mark.namespace(), GONE_WITHIN).await?;
        let namespace = own_namespace(mark);
        if !work.undos.contains(&namespace) {
            self.records.write(SWEEP_ID, &namespace).await?;
            work.records.push((SWEEP_ID, namespace.clone()));
            work.undos.push(namespace);
        }
        cluster.create_namespace(mark).await
    }

    /// Carries one out, and looks whether it is.
    async fn undo(&self, undo: &Undo, agent: &mut Option<Box<dyn Agent>>) -> Result<(), String> {
        let ports = self.ports;
        if undo.is_data() {
            if agent.is_none() {
                // The dead run's own agent may still be there, with its probes: a fresh one takes its place.
                let fresh = ports.probes.replace(&self.mark, UNDO_WITHIN).await;
                *agent = Some(fresh.map_err(|error| error.to_string())?);
            }
            return match agent {
                Some(agent) => self.take_away(&**agent, undo).await,
                None => Err("the agent for it is gone".to_owned()),
            };
        }
        let within = if matches!(undo, Undo::DeleteObject { .. }) { GONE_WITHIN } else { UNDO_WITHIN };
        ports.faults.undo(&self.mark, undo, within).await.map_err(|error| error.to_string())?;
        self.wait_clean(undo).await
    }

    /// Takes away what a probe wrote. The service that holds it may need a while after its fault was undone.
    async fn take_away(&self, agent: &dyn Agent, undo: &Undo) -> Result<(), String> {
        let again_until = self.ports.clock.now().plus(UNDO_WITHIN);
        let mut tick = tokio::time::interval(AGAIN_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match agent.take_away(undo).await {
                Err(_) if self.ports.clock.now() < again_until => {}
                done => return done,
            }
        }
    }

    async fn wait_clean(&self, undo: &Undo) -> Result<(), String> {
        let ports = self.ports;
        let deadline = ports.clock.deadline(ports.clock.now().plus(UNDO_WITHIN));
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        let mut last = "not looked".to_owned();
        loop {
            let round = async {
                tick.tick().await;
                ports.faults.is_clean(&self.mark, undo, UNDO_WITHIN).await
            };
            match tokio::time::timeout_at(deadline, round).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) => last = "still in place".to_owned(),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => return Err(last),
            }
        }
    }

    /// A record that is not deleted has its undo repeated by the next sweep, which is harmless, and keeps runs away until then.
    async fn delete_record_of(&mut self, undo: &Undo, work: &Work) {
        for (id, _) in work.records.iter().filter(|(_, recorded)| recorded == undo) {
            if let Err(error) = self.records.delete(*id).await {
                self.swept.left.push(format!("run {}: {undo}: done, but {error}", self.run_id));
            }
        }
    }
}

fn own_namespace(mark: &RunMark) -> Undo {
    let (api_version, kind) = ("v1".to_owned(), "Namespace".to_owned());
    Undo::DeleteObject { api_version, kind, namespace: None, name: mark.namespace() }
}
