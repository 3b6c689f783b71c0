//! The command line.

use crate::command;
use clap::{Args, Parser, Subcommand, ValueEnum};
use firedrill_core::suite::Shard;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Proves whether a Kubernetes stack recovers as its runbook says.
///
/// Exit codes: 0 pass; 1 an objective failed, a runbook has findings, or `watch --fail-on` saw it; 2 unknown; 3 bad input, nothing touched; 4 the
/// environment is not as it must be; 5 something was left dirty (wins over 0 to 2); 130 interrupted and clean.
#[derive(Debug, Parser)]
#[command(name = "firedrill", version, propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    /// Log what firedrill itself does to standard error: error, warn, info, debug, trace, or a filter.
    #[arg(long, global = true, value_name = "FILTER", default_value = "error,kube_client=off", env = "FIREDRILL_LOG")]
    pub(crate) log: String,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a drill: break it, recover it by its runbook, measure and judge.
    Run(RunArgs),
    /// Run a suite: drills in an order, with repeats, a time budget and shards. One cluster is used as long as it is clean.
    Suite(SuiteArgs),
    /// Make one result of those of all shards of a suite. Needs no cluster.
    Merge(MergeArgs),
    /// Show what a run would do, without changing anything.
    Plan(PlanArgs),
    /// Judge a saved run again, with other objectives if wanted. Needs no cluster.
    Judge(JudgeArgs),
    /// Write a saved run's reports again. Needs no cluster.
    Report(ReportArgs),
    /// Finish what a dead run left behind: thaw, power on, delete. Never touches a run that lives.
    Sweep(SweepArgs),
    /// Measure the outages of any endpoint with the drills' own probes and judge. Needs no cluster.
    ///
    /// Exit codes: 0 every endpoint was measured, up or down; 1 an outage was seen (with --fail-on outage); 2 not measured, or not all
    /// the time (with --fail-on outage); 3 bad arguments.
    Watch(command::watch::WatchArgs),
    /// Bring up a cluster of firedrill's own with the stack on it, or use the one that is up.
    Up(command::up::UpArgs),
    /// Take down a cluster that firedrill made.
    Down(command::down::DownArgs),
    /// Look into a runbook: what of it cannot work.
    Runbook(command::runbook::RunbookArgs),
    /// List what there is: clusters or scenarios.
    List(ListArgs),
    /// Check this machine, and say what to do about what is missing.
    Doctor(command::doctor::DoctorArgs),
    /// Print the JSON Schema of scenario or suite files.
    Schema {
        /// Of which.
        #[arg(value_enum, default_value = "scenario")]
        of: SchemaOf,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// What runs in the pods that a drill makes; not for people.
    #[command(hide = true)]
    Agent(AgentArgs),
}

/// Which cluster.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ClusterArgs {
    /// The cluster of firedrill's own, by name; needed only where there are several.
    #[arg(long, value_name = "NAME", env = "FIREDRILL_CLUSTER", conflicts_with = "context")]
    pub(crate) cluster: Option<String>,
    /// A cluster that firedrill did not make: its context, with --kubeconfig. It must carry the ConfigMap
    /// kube-system/firedrill-allowed.
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub(crate) context: Option<String>,
    /// The kubeconfig that holds --context. None is ever read by default.
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
    /// The folder of scenarios.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_SCENARIOS, env = "FIREDRILL_SCENARIOS")]
    pub(crate) scenarios: PathBuf,
    /// The folder of runs.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNS, env = "FIREDRILL_RUNS")]
    pub(crate) runs: PathBuf,
    /// Which stack.
    #[command(flatten)]
    pub(crate) stack: StackFile,
}

/// Which stack.
#[derive(Clone, Debug, Args)]
pub(crate) struct StackFile {
    /// The stack's definition: its stack.toml, or the folder of that.
    #[arg(
        id = "stack_file",
        long = "stack",
        value_name = "PATH",
        default_value = DEFAULT_STACK,
        env = "FIREDRILL_STACK"
    )]
    pub(crate) path: PathBuf,
}

/// Which drill.
#[derive(Clone, Debug, Args)]
pub(crate) struct DrillArgs {
    /// The scenario and its variant: NAME/VARIANT, or NAME for its first variant. A path to a scenario's folder works too.
    #[arg(value_name = "NAME[/VARIANT]")]
    pub(crate) name: String,
    /// Which cluster.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Folders.
    #[command(flatten)]
    pub(crate) folders: Folders,
    /// What the run's random choices are drawn from; from the clock where it is not given.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Put this in place of the fault: `noop` breaks nothing and must end as unknown.
    #[arg(long, value_name = "FAULT")]
    pub(crate) fault: Option<FaultOverride>,
    /// Leave this section out of the runbook, by its title or how that begins: the drill must stay broken then, which shows that
    /// it needs the section.
    #[arg(long, value_name = "SECTION", conflicts_with = "fault")]
    pub(crate) without: Option<String>,
    /// The image of the agent, which holds this program.
    #[arg(long, value_name = "IMAGE", env = "FIREDRILL_AGENT_IMAGE")]
    pub(crate) agent_image: Option<String>,
}

/// What replaces a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FaultOverride {
    /// Nothing is broken: the control.
    Noop,
}

/// `run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The drill.
    #[command(flatten)]
    pub(crate) drill: DrillArgs,
    /// Bring a cluster up first where none is.
    #[arg(long)]
    pub(crate) up: bool,
    /// How to bring it up.
    #[command(flatten)]
    pub(crate) stack: command::up::StackArgs,
    /// Begin on the cluster as it is, though an earlier run left it changed. What differed is journalled and reported. What is
    /// still to be undone on the cluster is for `sweep`.
    #[arg(long)]
    pub(crate) accept_current_state: bool,
    /// Also print the verdict as JSON on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// `suite`
#[derive(Debug, Args)]
pub(crate) struct SuiteArgs {
    /// The suite's file.
    #[arg(value_name = "FILE", required_unless_present = "all")]
    pub(crate) file: Option<PathBuf>,
    /// Every variant of every scenario once, and a control.
    #[arg(long, conflicts_with = "file")]
    pub(crate) all: bool,
    /// Only this part of it, such as 1/4. Drills are dealt out by their expected minutes, on every machine alike.
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Where the suite's results go; a new folder among the runs where it is not given.
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
    /// Which cluster.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Folders.
    #[command(flatten)]
    pub(crate) folders: Folders,
    /// The image of the agent, which holds this program.
    #[arg(long, value_name = "IMAGE", env = "FIREDRILL_AGENT_IMAGE")]
    pub(crate) agent_image: Option<String>,
    /// Bring a cluster up first where none is. One that the suite brought up is replaced where a drill leaves it dirty or
    /// changed for good; any other is left as it is, and the suite ends there.
    #[arg(long)]
    pub(crate) up: bool,
    /// How to bring it up.
    #[command(flatten)]
    pub(crate) stack: command::up::StackArgs,
    /// Begin on the cluster as it is, though an earlier run left it changed. What differed is journalled and reported. What is
    /// still to be undone on the cluster is for `sweep`.
    #[arg(long)]
    pub(crate) accept_current_state: bool,
    /// Table or JSON on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// `merge`
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The folders of all shards: those that hold suite.json.
    #[arg(value_name = "DIR", required = true)]
    pub(crate) shards: Vec<PathBuf>,
    /// Where the merged results go.
    #[arg(long, value_name = "DIR")]
    pub(crate) into: PathBuf,
    /// Table or JSON on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// What a schema is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// `scenario.toml`.
    Scenario,
    /// A suite's file.
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
    /// Text or JSON.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
    /// Print the manifests that an administrator applies before this drill can run on a cluster that firedrill did not make. Needs
    /// no cluster.
    #[arg(long)]
    pub(crate) rbac: bool,
}

/// `judge`
#[derive(Debug, Args)]
pub(crate) struct JudgeArgs {
    /// The run: its id, or its folder.
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Folders.
    #[command(flatten)]
    pub(crate) folders: Folders,
    /// Judge by the objectives, accepted losses and demanded load of this file instead of the run's own. It must be of the same
    /// scenario; what was run stays what it was.
    #[arg(long, value_name = "FILE")]
    pub(crate) objectives: Option<PathBuf>,
    /// Text or JSON.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// `report`
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The run: its id, or its folder.
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
    /// Only this run; every dead one where it is not given.
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Which cluster.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Folders.
    #[command(flatten)]
    pub(crate) folders: Folders,
    /// The image of the agent, for thawing where no pod of the dead run is left.
    #[arg(long, value_name = "IMAGE", env = "FIREDRILL_AGENT_IMAGE")]
    pub(crate) agent_image: Option<String>,
    /// Show what would be undone and what each undo may touch, without changing anything.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also obey what anybody who can write to the cluster may have forged: annotations and labels of older versions, and undo
    /// records that others than the runner can write.
    #[arg(long)]
    pub(crate) trust_annotations: bool,
}

/// `list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// What.
    #[arg(value_enum, default_value = "clusters")]
    pub(crate) what: ListWhat,
    /// Folders.
    #[command(flatten)]
    pub(crate) folders: Folders,
}

/// What to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListWhat {
    /// Clusters that firedrill made.
    Clusters,
    /// Scenarios with their variants.
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
    /// Which.
    #[command(subcommand)]
    pub(crate) command: AgentCommand,
}

/// What runs in the pods of a drill.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Probes from inside the cluster.
    Probe {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:9200")]
        listen: std::net::SocketAddr,
        /// Seconds until it ends by itself.
        #[arg(long)]
        expires_after: u64,
    },
    /// Acts on processes of the node.
    Node {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:9201")]
        listen: std::net::SocketAddr,
        /// Seconds until it undoes what it holds and ends by itself.
        #[arg(long)]
        expires_after: u64,
        /// Container that is let go at the start, or POD_UID/VOLUME/FILE that is removed, in case an agent before this one was
        /// killed while it held it.
        #[arg(long, value_name = "CONTAINER_ID")]
        guard: Vec<String>,
    },
}
