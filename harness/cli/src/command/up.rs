//! `firedrill up`: a cluster with the stack on it.

use crate::args::ClusterArgs;
use crate::error::CliError;
use crate::printer::Printer;
use clap::Args;
use firedrill_core::time::{At, human};
use firedrill_engine::clock::Clock;
use firedrill_engine::cluster::Cluster;
use firedrill_engine::lease::Lease;
use firedrill_engine::process::Progress;
use firedrill_engine::provider::{ProviderError, kind};
use firedrill_engine::stack::{self, StackError, StackOptions};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// Lines about progress that may wait for the terminal.
const LINES_MAX: usize = 256;
const TICK: Duration = Duration::from_secs(1);

/// `up`
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// The cluster's name, firedrill-...; without it the one that is up, or a new one.
    #[arg(value_name = "NAME", env = "FIREDRILL_CLUSTER")]
    pub(crate) name: Option<String>,
    /// Workers of a new cluster.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub(crate) workers: u32,
    /// The cluster alone, without the stack.
    #[arg(long)]
    pub(crate) no_stack: bool,
    /// What it is made from.
    #[command(flatten)]
    pub(crate) stack: StackArgs,
}

/// What a cluster and the stack on it are made from.
#[derive(Clone, Debug, Args)]
pub(crate) struct StackArgs {
    /// The image of new nodes; kind's own default without it.
    #[arg(long, value_name = "IMAGE", env = "FIREDRILL_NODE_IMAGE")]
    pub(crate) node_image: Option<String>,
    /// The stack's chart.
    #[arg(long, value_name = "DIR", default_value = "fixtures/chart/ironflow")]
    pub(crate) chart: PathBuf,
    /// The chart's template: its values-TEMPLATE.yaml.
    #[arg(long, value_name = "TEMPLATE", default_value = "medium")]
    pub(crate) template: String,
    /// Values files after the template's, the last one wins; fixtures/stack/TEMPLATE.yaml where none is given.
    #[arg(long, value_name = "FILE")]
    pub(crate) values: Vec<PathBuf>,
    /// Ironflow's image; the chart's own without it.
    #[arg(long, value_name = "IMAGE", env = "FIREDRILL_IRONFLOW_IMAGE")]
    pub(crate) ironflow_image: Option<String>,
    /// The release manifest of the CloudNativePG operator.
    #[arg(long, value_name = "FILE", env = "FIREDRILL_CNPG_MANIFEST")]
    pub(crate) cnpg_manifest: Option<PathBuf>,
}

impl StackArgs {
    fn options(&self) -> Result<StackOptions, CliError> {
        let cnpg_manifest = self.cnpg_manifest.clone().ok_or_else(|| {
            CliError::environment("the manifest of the CloudNativePG operator is not known")
                .with_hint("run ci/setup, then: eval \"$(ci/setup --env)\"; or name it with --cnpg-manifest")
        })?;
        let mut values = self.values.clone();
        let usual = PathBuf::from(format!("fixtures/stack/{}.yaml", self.template));
        if values.is_empty() && usual.is_file() {
            values.push(usual);
        }
        Ok(StackOptions {
            template: self.template.clone(),
            chart: self.chart.clone(),
            values,
            ironflow_image: self.ironflow_image.clone(),
            cnpg_manifest,
        })
    }
}

/// Brings a cluster up, or uses the one that is up.
///
/// # Errors
/// Where it does not come up, with what to do about it.
pub(crate) async fn up(args: &UpArgs, printer: &mut Printer) -> Result<u8, CliError> {
    let cluster = bring_up(args.name.as_deref(), args.workers, !args.no_stack, &args.stack, printer).await?;
    printer.line(&cluster.name);
    Ok(0)
}

/// Brings a cluster with the stack up where none is; what `run --up` begins with.
///
/// # Errors
/// Where it does not come up, or the user names a cluster that is not firedrill's own.
pub(crate) async fn ensure_up(args: &ClusterArgs, stack: &StackArgs, printer: &mut Printer) -> Result<(), CliError> {
    if args.context.is_some() {
        return Err(CliError::input("--up brings up clusters of firedrill's own; leave it out with --context"));
    }
    bring_up(args.cluster.as_deref(), 3, true, stack, printer).await.map(drop)
}

async fn bring_up(
    name: Option<&str>,
    workers: u32,
    with_stack: bool,
    args: &StackArgs,
    printer: &mut Printer,
) -> Result<Cluster, CliError> {
    let options = with_stack.then(|| args.options()).transpose()?;
    shown(printer, async move |say| {
        let cluster = cluster_for(name, workers, args.node_image.as_deref(), say).await?;
        if let Some(options) = &options {
            let lease = Lease::acquire(&cluster, "up", say).await.map_err(CliError::environment)?;
            let installed = stack::install(&cluster, options, say).await;
            let released = lease.release().await;
            let hint = format!("look into it: kubectl --kubeconfig {} get pods -A", cluster.kubeconfig.display());
            let installed = installed.map_err(|error| match error {
                StackError::Input { .. } => {
                    CliError::input(error).with_hint("run from the repository's root, or name it with --chart")
                }
                error => CliError::environment(error).with_hint(hint),
            })?;
            released.map_err(CliError::environment)?;
            let how = if installed.reused { "was there" } else { "is there" };
            say(format!("the stack {how}: template {}, healthy", installed.template));
        }
        Ok(cluster)
    })
    .await
}

async fn cluster_for(
    name: Option<&str>,
    workers: u32,
    node_image: Option<&str>,
    say: Progress<'_>,
) -> Result<Cluster, CliError> {
    let found = kind::find().await.map_err(failed)?;
    let existing = match (name, found.as_slice()) {
        (Some(name), all) => all.iter().find(|cluster| cluster.name == name).map(|cluster| cluster.name.clone()),
        (None, []) => None,
        (None, [one]) => Some(one.name.clone()),
        (None, all) => {
            let names: Vec<_> = all.iter().map(|cluster| cluster.name.as_str()).collect();
            return Err(
                CliError::input(format!("several clusters are there: {}", names.join(", "))).with_hint("name one")
            );
        }
    };
    if let Some(existing) = existing {
        say(format!("using cluster {existing}"));
        return kind::ensure_ready(&existing, node_image, say).await.map_err(|error| half_made(&existing, error));
    }
    let name = name.map_or_else(kind::random_name, str::to_owned);
    if !name.starts_with(kind::NAME_PREFIX) {
        let hint = format!("{}{name} would do", kind::NAME_PREFIX);
        return Err(CliError::input(format!("a cluster's name begins with {}", kind::NAME_PREFIX)).with_hint(hint));
    }
    let mut options = kind::KindOptions::named(&name);
    options.workers = workers;
    options.node_image = node_image.map(str::to_owned);
    kind::create(&options, say).await.map_err(|error| half_made(&name, error))
}

fn half_made(name: &str, error: ProviderError) -> CliError {
    match error {
        ProviderError::Process(firedrill_engine::process::ProcessError::NotStarted { .. }) => failed(error),
        error => CliError::environment(error).with_hint(format!("take away what is there: firedrill down {name}")),
    }
}

/// A provider's error with the hint that always helps.
pub(crate) fn failed(error: ProviderError) -> CliError {
    CliError::environment(error).with_hint("firedrill doctor says what is missing")
}

/// Does something that takes long: each step is a line with the time since the beginning, and on a terminal the step under
/// way counts its seconds. An interrupt breaks it off.
///
/// # Errors
/// Those of the work, and the interrupt.
pub(crate) async fn shown<T>(
    printer: &mut Printer,
    work: impl AsyncFnOnce(Progress<'_>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let clock = Clock::start();
    let (tell, mut told) = mpsc::channel(LINES_MAX);
    let mut say = move |text: String| {
        // A terminal that does not keep up loses lines, not the work.
        let _ = tell.try_send((clock.now(), text));
    };
    let mut work = std::pin::pin!(work(&mut say));
    let mut ticks = tokio::time::interval(TICK);
    let mut latest: Option<(At, String)> = None;
    let result = loop {
        tokio::select! {
            biased;
            Some((at, text)) = told.recv() => {
                printer.status(&format!("{:>7.1} s  {text}", at.ms() / 1_000.0));
                latest = Some((at, text));
            }
            result = &mut work => break result,
            interrupt = tokio::signal::ctrl_c() => {
                interrupt.map_err(CliError::environment)?;
                break Err(CliError::dirty("interrupted; what was begun is still there")
                    .with_hint("firedrill up goes on with it, firedrill down --all takes it away"));
            }
            _ = ticks.tick() => {
                if let Some((since, text)) = &latest {
                    printer.frame(&[format!("           {text} … {}", human(clock.now().since(*since)))]);
                }
            }
        }
    };
    while let Ok((at, text)) = told.try_recv() {
        printer.status(&format!("{:>7.1} s  {text}", at.ms() / 1_000.0));
    }
    printer.clear_frame();
    result
}
