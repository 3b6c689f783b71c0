//! The ports: everything that a run asks of the world, as traits. [`run`](crate::run) knows the world through these alone.
//!
//! [`world`](crate::world) implements them on a real cluster. Tests of a run have a cluster in virtual time behind them.

pub use crate::agent::AgentError;
pub use crate::cluster::{ClusterError, DigestKey, Inventory, Leftover, MARKER, ObjectKey, RunMark, differences};
pub use crate::fault::{FaultError, Injected, Proof};
pub use crate::lease::{LeaseError, while_held};
pub use crate::observe::{AtRisk, Baseline, NotHeld};
pub use crate::process::Progress;
pub use crate::record::annotations::{ANNOTATION_UNDO, Annotated};
pub use crate::record::dirty_end::{DirtyEnd, FoundDirtyEnd};
pub use crate::record::writers::Writers;
pub use crate::record::{Found, FoundRecords, UndoRecord, is_recorded, is_run_id, shown};
pub use crate::redact::Redactor;
pub use crate::runbook::{CommandEnd, PlannedStep, plan_steps};

use crate::clock::Clock;
use async_trait::async_trait;
use firedrill_core::event::{ClusterInfo, ContainerRestarts, Event, FileSystem, Observation, PageCache, Place, Undo};
use firedrill_core::judge::ledger;
use firedrill_core::plan::{PlannedFault, Series, Target};
use firedrill_core::sample::Sample;
use firedrill_core::scenario::{
    Condition, Detector, ExpectedAlert, Fault, Layout, PodSelector, ProviderStep, Scenario, Symptom, Variant,
};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Why a drill cannot be run on this cluster. Nothing was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is lacking, and what needs it.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// All ports of a run. Cheap to clone.
#[derive(Clone)]
pub struct Ports {
    /// The one clock that everything is stamped with.
    pub clock: Clock,
    /// The cluster under test.
    pub cluster: Arc<dyn Cluster>,
    /// What breaks and mends it.
    pub faults: Arc<dyn Faults>,
    /// What looks at it.
    pub observer: Arc<dyn Observer>,
    /// The clients that measure it.
    pub probes: Arc<dyn Probes>,
    /// Where a runbook's commands run.
    pub shell: Arc<dyn Shell>,
    /// What knows the stack's releases.
    pub deployer: Arc<dyn Deployer>,
    /// Where the files of runs are written and read.
    pub store: Arc<dyn Store>,
}

/// What a run asks of the cluster itself. Each request has a limit of its own.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Its name, for people.
    fn name(&self) -> &str;
    /// Its context in the kubeconfig.
    fn context(&self) -> &str;
    /// Whether firedrill made it.
    fn is_own(&self) -> bool;
    /// Takes the secrets that were read from the cluster out of texts.
    fn redactor(&self) -> Arc<Redactor>;
    /// What programs see of the caller's environment because of a credential plugin, where the kubeconfig has one.
    fn credential_plugin_note(&self) -> Option<String>;
    /// Whether kubectl can get credentials from the plugin.
    async fn check_credential_plugin(&self) -> Result<(), ClusterError>;
    /// Whether the cluster carries the mark that drills may break it.
    async fn is_allowed(&self) -> Result<bool, ClusterError>;
    /// Makes the namespace of leases and undo records where it is missing.
    async fn ensure_system_namespace(&self) -> Result<(), ClusterError>;
    /// Name, provider, UID, version and number of nodes.
    async fn info(&self) -> Result<ClusterInfo, ClusterError>;
    /// What becomes of a node's page cache when the node is powered off; `None` if the provider does not say.
    fn page_cache(&self) -> Option<PageCache>;
    /// The UID of the cluster: that of its namespace `kube-system`.
    async fn uid(&self) -> Result<String, ClusterError>;
    /// Takes the lock on the cluster. `holder` is the run's id, or `sweep`.
    async fn lease(&self, holder: &str, say: Progress<'_>) -> Result<Box<dyn Lease>, LeaseError>;
    /// Whether the API server answers now.
    async fn answers(&self) -> bool;
    /// Lists the objects. The contents of Secrets are digested with `key`.
    async fn inventory(&self, key: &DigestKey) -> Result<Inventory, ClusterError>;
    /// The objects that carry the label of a run.
    async fn objects_of_runs(&self) -> Result<Vec<Leftover>, ClusterError>;
    /// Deletes the objects that carry the label of that run, and waits until they are gone.
    async fn delete_by_label(&self, run_id: &str, within: Duration) -> Result<Vec<ObjectKey>, ClusterError>;
    /// Makes the run's own namespace.
    async fn create_namespace(&self, mark: &RunMark) -> Result<(), ClusterError>;
    /// Waits until a namespace that is being deleted is gone.
    async fn wait_out_namespace(&self, name: &str, within: Duration) -> Result<(), ClusterError>;
    /// Writes an undo record of the run on the cluster with that UID.
    async fn write_record(&self, uid: &str, mark: &RunMark, id: u32, undo: &Undo) -> Result<(), ClusterError>;
    /// Deletes an undo record; it may be gone already.
    async fn delete_record(&self, mark: &RunMark, id: u32) -> Result<(), ClusterError>;
    /// All undo records and dirty ends on the cluster with that UID, those that cannot be read or must not be obeyed included.
    async fn records(&self, uid: &str) -> Result<FoundRecords, ClusterError>;
    /// Writes on the cluster that a run left it changed.
    async fn write_dirty_end(&self, mark: &RunMark, end: &DirtyEnd) -> Result<(), ClusterError>;
    /// Deletes what was written of that run's end; it may be gone already.
    async fn delete_dirty_end(&self, run_id: &str) -> Result<(), ClusterError>;
    /// Who else can write undo records.
    async fn record_writers(&self) -> Writers;
    /// Undo annotations of older versions.
    async fn annotations(&self) -> Result<Vec<Annotated>, ClusterError>;
    /// The restarts of the scenario's containers, and why some could not be seen.
    async fn restarts(&self, scenario: &Scenario) -> (Vec<ContainerRestarts>, Vec<String>);
    /// Deletes the pods that a kubelet would start with a delay, and waits until others serve in their place.
    async fn replace_crashed(&self, scenario: &Scenario, variant: &Variant, say: Progress<'_>) -> Option<Event>;
    /// Has pods that wait in `CrashLoopBackOff`, and sets that lack pods, start at once. Returns a line for each.
    async fn restart_crashed(&self, scenario: &Scenario, run_id: &str) -> Vec<String>;
}

/// The lock on a cluster, renewed until it is released or dropped.
#[async_trait]
pub trait Lease: Send + Sync {
    /// Becomes `Some(reason)` when the lock is lost.
    fn lost(&self) -> watch::Receiver<Option<String>>;
    /// Gives the lock back.
    async fn release(self: Box<Self>) -> Result<(), ClusterError>;
}

/// Faults and their undos.
#[async_trait]
pub trait Faults: Send + Sync {
    /// Refuses faults, and steps of a runbook by their numbers, that the cluster's provider cannot do. `drill` is the drill's name.
    fn check(&self, drill: &str, faults: &[Fault], steps: &[(u32, ProviderStep)]) -> Result<(), Refusal>;
    /// Refuses targets on which the fault cannot act.
    async fn check_targets(&self, fault: &Fault, targets: &[Target]) -> Result<(), Refusal>;
    /// Chooses what a fault acts on, by the seed. An empty choice is an error.
    async fn choose_targets(&self, fault: &Fault, seed: u64) -> Result<Vec<Target>, FaultError>;
    /// Makes faults ready for their targets. Nothing is broken yet.
    async fn prepare(
        &self,
        mark: &RunMark,
        faults: &[PlannedFault],
        within: Duration,
    ) -> Result<Box<dyn ArmedFaults>, FaultError>;
    /// The undo with the UID of what it acts on.
    async fn identify(&self, mark: &RunMark, undo: Undo) -> Result<Undo, FaultError>;
    /// Carries an undo out. Repeating it is harmless, and so is undoing what was never done.
    async fn undo(&self, mark: &RunMark, undo: &Undo, within: Duration) -> Result<(), FaultError>;
    /// Whether nothing is left of it, by a fresh look.
    async fn is_clean(&self, mark: &RunMark, undo: &Undo, within: Duration) -> Result<bool, FaultError>;
    /// The command by which a person finishes an undo that did not work.
    fn finish_with(&self, mark: &RunMark, undo: &Undo) -> Option<String>;
    /// Makes a node, and has one of the pods start there.
    async fn make_node(
        &self,
        mark: &RunMark,
        node: &str,
        pods: &PodSelector,
        because_of: &str,
    ) -> Result<(), FaultError>;
    /// The name of the node that replaces a lost one.
    fn replacement_of(&self, lost: &str) -> String;
    /// Makes a node as the lost one was, under another name.
    async fn replace_node(&self, mark: &RunMark, lost: &str, node: &str) -> Result<(), FaultError>;
    /// Detaches the targets' volumes from nodes that are gone. Returns what was done, a line each.
    async fn detach_by_force(&self, mark: &RunMark, targets: &[Target]) -> Result<String, FaultError>;
}

/// Faults that are ready to be injected.
#[async_trait]
pub trait ArmedFaults: Send + Sync {
    /// Opens the connections that an injection needs.
    async fn connect(&self, targets: &[Target]) -> Result<(), FaultError>;
    /// How the fault in that target is undone.
    fn undo_of(&self, fault: &Fault, target: &Target) -> Result<Undo, FaultError>;
    /// Injects the fault into one target.
    async fn inject(&self, fault: &Fault, target: &Target) -> Result<Injected, FaultError>;
    /// Looks for the fault at the target itself, by other means than the injection used.
    async fn prove(&self, fault: &Fault, injected: &Injected, within: Duration) -> Result<Vec<Proof>, FaultError>;
}

/// What can be seen of the cluster and of this machine.
#[async_trait]
pub trait Observer: Send + Sync {
    /// How things are before the fault.
    async fn baseline(&self, variant: &Variant) -> Result<Baseline, ClusterError>;
    /// Whether a condition holds, with what shows it.
    async fn holds(&self, condition: &Condition, baseline: &Baseline) -> Result<String, NotHeld>;
    /// What shows that the system has noticed the fault.
    async fn detected(&self, detector: &Detector, targets: &[Target], baseline: &Baseline) -> Option<String>;
    /// What shows a symptom that was not there before.
    async fn symptom_since(&self, symptom: &Symptom, baseline: &Baseline) -> Result<Option<String>, ClusterError>;
    /// How much work waits in the stack's queue; `None` where it has none.
    async fn backlog(&self, scenario: &Scenario) -> Result<Option<u64>, ClusterError>;
    /// Why these alerts cannot be waited for.
    async fn not_quiet(&self, expected: &[ExpectedAlert]) -> Vec<String>;
    /// The volumes whose file systems the fault may harm, and the claims of drivers that cannot be checked.
    async fn at_risk(&self, targets: &[Target]) -> Result<(Vec<AtRisk>, Vec<String>), ClusterError>;
    /// On which nodes the stack, the operators and the run's own pods are.
    async fn placement(&self, targets: &[Target], mark: &RunMark) -> Result<Vec<Place>, ClusterError>;
    /// Checks the file system of a volume.
    async fn check_file_system(&self, volume: &AtRisk) -> FileSystem;
    /// Keeps logs and states in a folder. Returns what is missing.
    async fn bundle(&self, folder: &Path, scenario: &Scenario, within: Duration) -> Vec<String>;
    /// Sends every change that the watchers see, until `stop`.
    fn watch(&self, scenario: &Scenario, to: mpsc::Sender<Observation>, stop: CancellationToken) -> JoinHandle<()>;
    /// For how long something waited for a processor of this machine since it was booted (PSI `some`).
    fn cpu_stalled(&self) -> Option<Duration>;
}

/// Clients that measure, inside the cluster and outside.
#[async_trait]
pub trait Probes: Send + Sync {
    /// Refuses series that cannot be measured on this cluster.
    async fn check(&self, series: &[Series]) -> Result<(), Refusal>;
    /// How to take away what [`Probes::deploy`] makes outside the run's own namespace.
    fn undos(&self, series: &[Series]) -> Vec<Undo>;
    /// Starts the agents, away from the nodes of victims.
    async fn deploy(
        &self,
        mark: &RunMark,
        series: &[Series],
        victims: &[String],
        within: Duration,
    ) -> Result<Box<dyn Vantages>, AgentError>;
    /// Starts an agent in the place of the one that was lost.
    async fn replace(&self, mark: &RunMark, within: Duration) -> Result<Box<dyn Agent>, AgentError>;
}

/// An agent inside the cluster.
#[async_trait]
pub trait Agent: Send + Sync {
    /// Whether it answers.
    async fn answers(&self) -> Result<(), AgentError>;
    /// Takes away what a probe wrote.
    async fn take_away(&self, undo: &Undo) -> Result<(), String>;
}

/// All places that a run measures from.
#[async_trait]
pub trait Vantages: Send + Sync {
    /// The agent in the run's own namespace.
    fn agent(&self) -> &dyn Agent;
    /// Whether that agent may still write: it was not heard to have stopped its probes.
    fn may_write(&self) -> bool;
    /// The node of that agent.
    fn node(&self) -> &str;
    /// How many series are measured from outside.
    fn outside(&self) -> usize;
    /// Finds out where everything is measured.
    async fn resolve(&mut self) -> Result<Resolved, String>;
    /// Makes the ports from outside and the probes' tables. Their undos are recorded by now.
    async fn make(&mut self) -> Result<(), String>;
    /// Starts the probes.
    async fn start(&mut self, sink: mpsc::Sender<Sample>) -> Result<(), String>;
    /// Each becomes `Some(reason)` once samples are lost.
    fn failures(&self) -> Vec<watch::Receiver<Option<AgentError>>>;
    /// How far the clocks of the agents can be off, by vantage.
    fn clocks(&self) -> Vec<(String, Duration)>;
    /// Stops all probes and waits for the attempts in flight. It can be asked again.
    async fn stop(&mut self, within: Duration) -> Stopped;
    /// Where the writes of each probe are looked for: the probe and the store's name.
    fn stores(&self) -> Vec<(String, &'static str)>;
    /// Reads back what a probe wrote.
    async fn read_back(&self, probe: &str, within: Duration) -> Result<ledger::Found, AgentError>;
}

/// What was found out of where to measure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The undos of what [`Vantages::make`] and the probes will make.
    pub undos: Vec<Undo>,
    /// What the journal should say of it, a line each.
    pub notes: Vec<String>,
}

/// How stopping the probes ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// How far the clocks of the agents that stopped now can be off, by vantage.
    pub clocks: Vec<(String, Duration)>,
    /// Which samples are missing, a line for each vantage.
    pub missing: Vec<String>,
}

/// Where a runbook's commands run.
#[async_trait]
pub trait Shell: Send + Sync {
    /// Makes the folder that commands run in, below that of the run.
    fn prepare(&self, folder: &Path) -> Result<(), String>;
    /// Runs one command there. `exit` is the code that counts as done; `expect` must stand in its output.
    async fn run(
        &self,
        folder: &Path,
        command: &str,
        (exit, expect): (Option<i32>, Option<&str>),
        limit: Duration,
        stop: &CancellationToken,
    ) -> CommandEnd;
}

/// What knows the releases of the stack.
#[async_trait]
pub trait Deployer: Send + Sync {
    /// The layout of the stack that firedrill installed, where it did.
    async fn layout(&self) -> Result<Option<Layout>, String>;
    /// How to undo an upgrade of the layout's releases that is not finished when a run ends.
    async fn unfinished_upgrades(&self, layout: &Layout) -> Result<Vec<Undo>, FaultError>;
}

/// Where the files of runs are written and read.
pub trait Store: Send + Sync {
    /// Makes a folder, for this user alone.
    fn create_dir_all(&self, folder: &Path) -> io::Result<()>;
    /// Makes a file that must not exist, to be appended to.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Appender>>;
    /// Writes a file whole, in the place of one that is there. It is on disk when this returns.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Opens a file to be read from its beginning.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;
    /// Whether there is a file or a folder.
    fn exists(&self, path: &Path) -> bool;
    /// The paths of what is in a folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// The text of a file.
    fn read_to_string(&self, path: &Path) -> io::Result<String> {
        let mut text = String::new();
        self.open(path)?.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// A file that is only appended to.
pub trait Appender: Write + Send {
    /// Returns once everything written is on disk.
    fn sync(&mut self) -> io::Result<()>;
}
