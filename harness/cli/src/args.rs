//! The command line.

use crate::command;
use clap::{Args, Parser, Subcommand, ValueEnum};
use firedrill_core::suite::Shard;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Proves whether a Kubernetes stack recovers as its runbook says.
///
/// Exit codes: 0 pass; 1 an objective failed, a runbook has findings, or `watch --fail-on outage` saw an outage; 2 unknown; 3 bad input, and
/// nothing was changed; 4 the environment does not meet a requirement; 5 the cluster was left changed (takes precedence over 0 to 2); 130
/// interrupted, and the cluster is clean.
#[derive(Debug, Parser)]
#[command(name = "firedrill", version, propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    /// The level of firedrill's own log on standard error: error, warn, info, debug, trace, or a filter.
    #[arg(long, global = true, value_name = "FILTER", default_value = "error,kube_client=off", env = "FIREDRILL_LOG")]
    pub(crate) log: String,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a drill: inject the fault, recover by the runbook, measure and judge.
    Run(RunArgs),
    /// Run a suite: several drills in order, with repeats, a time budget and shards.
    Suite(SuiteArgs),
    /// Merge the results of all shards of a suite. Needs no cluster.
    Merge(MergeArgs),
    /// Show what a run would do, without changing anything.
    Plan(PlanArgs),
    /// Judge a saved run again, optionally with other objectives. Needs no cluster.
    Judge(JudgeArgs),
    /// Write a saved run's reports again. Needs no cluster.
    Report(ReportArgs),
    /// Undo what a dead run left on the cluster. A run that is still alive is never touched.
    Sweep(SweepArgs),
    /// Measure the outages of any endpoint with the probes of drills. Needs no cluster.
    ///
    /// Exit codes: 0 every endpoint was measured, whether up or down; 1 an outage was seen (only with --fail-on outage); 2 an endpoint was not
    /// measured, or not the whole time (only with --fail-on outage); 3 bad arguments.
    Watch(command::watch::WatchArgs),
    /// Create a cluster with the stack on it, or use the one that is running.
    Up(command::up::UpArgs),
    /// Delete a cluster that firedrill created.
    Down(command::down::DownArgs),
    /// Check runbooks against a cluster.
    Runbook(command::runbook::RunbookArgs),
    /// List clusters or scenarios.
    List(ListArgs),
    /// Check that this machine has what drills need, and print how to install what is missing.
    Doctor(command::doctor::DoctorArgs),
    /// Print the JSON Schema of scenario, suite or stack files.
    Schema {
        /// The kind of file.
        #[arg(value_enum, default_value = "scenario")]
        of: SchemaOf,
    },
    /// Print shell completions.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// The programs that run in the pods of a drill; not for people.
    #[command(hide = true)]
    Agent(AgentArgs),
}

/// The cluster.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ClusterArgs {
    /// The name of a cluster that firedrill created; needed only if there are several.
    #[arg(long, value_name = "NAME", env = "FIREDRILL_CLUSTER", conflicts_with = "context")]
    pub(crate) cluster: Option<String>,
    /// The kubeconfig context of a cluster that firedrill did not create. The cluster must have the ConfigMap
    /// kube-system/firedrill-allowed.
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub(crate) context: Option<String>,
    /// The kubeconfig file for --context. No kubeconfig is read by default.
    #[arg(long, value_name = "FILE", requires = "context")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

const DEFAULT_SCENARIOS: &str = "scenarios";
const DEFAULT_RUNS: &str = "runs";
const DEFAULT_STACK: &str = "fixtures/stack/ironflow/stack.toml";

impl Folders {
    /// The flags that name something else than the default, without their dashes, for the journal.
    pub(crate) fn flags(&self, cluster: &ClusterArgs) -> BTreeMap<String, String> {
        let named = |name: &str, value: Option<String>| value.map(|value| (name.to_owned(), value));
        let path =
            |path: &Path, default: &str| (path != Path::new(default)).then(|| path.to_string_lossy().into_owned());
        let flags = [
            named("context", cluster.context.clone()),
            named("kubeconfig", cluster.kubeconfig.as_ref().map(|path| path.to_string_lossy().into_owned())),
            named("runs", path(&self.runs, DEFAULT_RUNS)),
            named("scenarios", path(&self.scenarios, DEFAULT_SCENARIOS)),
            named("stack", path(&self.stack.path, DEFAULT_STACK)),
        ];
        flags.into_iter().flatten().collect()
    }
}

/// Where scenarios and runs are.
#[derive(Clone, Debug, Args)]
pub(crate) struct Folders {
    /// The folder with the scenarios.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_SCENARIOS, env = "FIREDRILL_SCENARIOS")]
    pub(crate) scenarios: PathBuf,
    /// The folder with the saved runs.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNS, env = "FIREDRILL_RUNS")]
    pub(crate) runs: PathBuf,
    /// The stack.
    #[command(flatten)]
    pub(crate) stack: StackFile,
}

/// The stack.
#[derive(Clone, Debug, Args)]
pub(crate) struct StackFile {
    /// The definition of the stack: a stack.toml file, or its folder.
    #[arg(
        id = "stack_file",
        long = "stack",
        value_name = "PATH",
        default_value = DEFAULT_STACK,
        env = "FIREDRILL_STACK"
    )]
    pub(crate) path: PathBuf,
}

/// The drill.
#[derive(Clone, Debug, Args)]
pub(crate) struct DrillArgs {
    /// The scenario and the variant: NAME/VARIANT, or NAME for the first variant. A path to a scenario folder works too.
    #[arg(value_name = "NAME[/VARIANT]")]
    pub(crate) name: String,
    /// The cluster.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Folders.
    #[command(flatten)]
    pub(crate) folders: Folders,
    /// The seed of the run's random choices [default: taken from the clock]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Replace the fault: `noop` breaks nothing, and the run must end as unknown.
    #[arg(long, value_name = "FAULT")]
    pub(crate) fault: Option<FaultOverride>,
    /// Skip the runbook section whose title begins with this text. The drill must then stay broken, which proves that the section is
    /// needed.
    #[arg(long, value_name = "SECTION", conflicts_with = "fault")]
    pub(crate) without: Option<String>,
    /// The image of the agent, which contains firedrill.
    #[arg(long, value_name = "IMAGE", env = "FIREDRILL_AGENT_IMAGE")]
    pub(crate) agent_image: Option<String>,
}

/// A replacement for the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FaultOverride {
    /// Break nothing (no-op run).
    Noop,
}

/// `run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The drill.
    #[command(flatten)]
    pub(crate) drill: DrillArgs,
    /// Create a cluster first if none is running.
    #[arg(long)]
    pub(crate) up: bool,
    /// How to create it.
    #[command(flatten)]
    pub(crate) stack: command::up::StackArgs,
    /// Start although an earlier run left the cluster changed. The differences are recorded and reported. Pending undos are left to
    /// `sweep`.
    #[arg(long)]
    pub(crate) accept_current_state: bool,
    /// With `json`, also print the verdict as JSON on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// `suite`
#[derive(Debug, Args)]
pub(crate) struct SuiteArgs {
    /// The suite file.
    #[arg(value_name = "FILE", required_unless_present = "all")]
    pub(crate) file: Option<PathBuf>,
    /// Run every variant of every scenario once, and one no-op run.
    #[arg(long, conflicts_with = "file")]
    pub(crate) all: bool,
    /// Run only this shard, such as 1/4. Drills are distributed by their expected duration, in the same way on every machine.
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// The folder for the results of the suite [default: a new folder in --runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
    /// The cluster.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Folders.
    #[command(flatten)]
    pub(crate) folders: Folders,
    /// The image of the agent, which contains firedrill.
    #[arg(long, value_name = "IMAGE", env = "FIREDRILL_AGENT_IMAGE")]
    pub(crate) agent_image: Option<String>,
    /// Create a cluster first if none is running. If a drill leaves this cluster dirty or permanently changed, the suite replaces it. A
    /// cluster that the suite did not create is never replaced: the suite stops.
    #[arg(long)]
    pub(crate) up: bool,
    /// How to create it.
    #[command(flatten)]
    pub(crate) stack: command::up::StackArgs,
    /// Start although an earlier run left the cluster changed. The differences are recorded and reported. Pending undos are left to
    /// `sweep`.
    #[arg(long)]
    pub(crate) accept_current_state: bool,
    /// The format of the table on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// `merge`
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The result folders of all shards (each has a suite.json).
    #[arg(value_name = "DIR", required = true)]
    pub(crate) shards: Vec<PathBuf>,
    /// The folder for the merged results.
    #[arg(long, value_name = "DIR")]
    pub(crate) into: PathBuf,
    /// The format of the table on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// The kind of file that a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// `scenario.toml`.
    Scenario,
    /// A suite file.
    Suite,
    /// `stack.toml`.
    Stack,
}

/// `plan`
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The drill.
    #[command(flatten)]
    pub(crate) drill: DrillArgs,
    /// The output format.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
    /// Print the manifests that an administrator must apply before this drill can run on a cluster that firedrill did not create. Needs
    /// no cluster.
    #[arg(long)]
    pub(crate) rbac: bool,
}

/// `judge`
#[derive(Debug, Args)]
pub(crate) struct JudgeArgs {
    /// The ID or the folder of the run.
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Folders.
    #[command(flatten)]
    pub(crate) folders: Folders,
    /// Take objectives, accepted losses and minimum load from this scenario file instead of the saved run. It must be the same
    /// scenario.
    #[arg(long, value_name = "FILE")]
    pub(crate) objectives: Option<PathBuf>,
    /// The output format.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// `report`
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The ID or the folder of the run.
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Folders.
    #[command(flatten)]
    pub(crate) folders: Folders,
}

/// `sweep`
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// Instead, delete the clusters whose lifetime has passed, of all providers that rent machines: for a nightly job. What firedrill did
    /// not make is never touched.
    #[arg(long, conflicts_with_all = ["run", "dry_run", "trust_annotations"])]
    pub(crate) expired: bool,
    /// Sweep only this run [default: every dead run]
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// The cluster.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Folders.
    #[command(flatten)]
    pub(crate) folders: Folders,
    /// The image of the agent, needed if an undo runs in a pod.
    #[arg(long, value_name = "IMAGE", env = "FIREDRILL_AGENT_IMAGE")]
    pub(crate) agent_image: Option<String>,
    /// Show what would be undone and what each undo may touch, without changing anything.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also trust data that other users of the cluster could have forged: annotations and labels of older versions, and undo records
    /// that users other than the runner can write.
    #[arg(long)]
    pub(crate) trust_annotations: bool,
}

/// `list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The kind of things to list.
    #[arg(value_enum, default_value = "clusters")]
    pub(crate) what: ListWhat,
    /// Folders.
    #[command(flatten)]
    pub(crate) folders: Folders,
}

/// What to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListWhat {
    /// Clusters that firedrill created.
    Clusters,
    /// Scenarios and their variants.
    Scenarios,
}

/// How to print a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs: one JSON object on standard output.
    Json,
}

/// `agent`
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The program.
    #[command(subcommand)]
    pub(crate) command: AgentCommand,
}

/// A program in the pods of a drill.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Run the probes inside the cluster.
    Probe {
        /// The address to listen on.
        #[arg(long, default_value = "127.0.0.1:9200")]
        listen: std::net::SocketAddr,
        /// Seconds until it exits by itself.
        #[arg(long)]
        expires_after: u64,
    },
    /// Inject faults into processes and volumes of the node.
    Node {
        /// The address to listen on.
        #[arg(long, default_value = "127.0.0.1:9201")]
        listen: std::net::SocketAddr,
        /// Seconds until it undoes its faults and exits by itself.
        #[arg(long)]
        expires_after: u64,
        /// A container to thaw at start, or POD_UID/VOLUME/FILE to delete, in case an earlier agent was killed while it held that
        /// fault.
        #[arg(long, value_name = "CONTAINER_ID")]
        guard: Vec<String>,
    },
}
