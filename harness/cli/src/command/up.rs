//! `firedrill up`: a cluster with the stack on it.

use super::common::each;
use super::run::CtrlC;
use crate::args::ClusterArgs;
use crate::error::CliError;
use crate::printer::Printer;
use crate::report::text::one_line;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use firedrill_core::scenario::{Layout, Needs};
use firedrill_core::time::{At, human};
use firedrill_engine::clock::Clock;
use firedrill_engine::cluster::Cluster;
use firedrill_engine::lease::{Lease, while_held};
use firedrill_engine::process::Progress;
use firedrill_engine::provider::{self, ClusterOptions, FoundCluster, NAME_PREFIX, ProviderError, VolumesDriver};
use firedrill_engine::stack::{self, Installed, StackError, StackOptions};
use std::fs;
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
    /// Where the stack's parts are; without it as they are there, or bundled. A stack that is there in another layout is
    /// deleted first, with its volumes.
    #[arg(long, value_name = "LAYOUT", value_parser = layouts())]
    pub(crate) layout: Option<Layout>,
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
    /// The provider of a new cluster.
    #[arg(long, value_name = "PROVIDER", default_value = provider::makers()[0], value_parser = provider::makers())]
    pub(crate) provider: String,
    /// The image of new nodes; the provider's own default without it.
    #[arg(long, value_name = "IMAGE", env = "FIREDRILL_NODE_IMAGE")]
    pub(crate) node_image: Option<String>,
    /// The stack's chart.
    #[arg(long, value_name = "DIR", default_value = "fixtures/chart/ironflow")]
    pub(crate) chart: PathBuf,
    /// The chart's template: its values-TEMPLATE.yaml. Without it what the scenario needs, or the layout's usual one.
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) template: Option<String>,
    /// Values files after the template's, the last one wins; fixtures/stack/TEMPLATE.yaml where none is given.
    #[arg(long, value_name = "FILE")]
    pub(crate) values: Vec<PathBuf>,
    /// Ironflow's image; the chart's own without it.
    #[arg(long, value_name = "IMAGE", env = "FIREDRILL_IRONFLOW_IMAGE")]
    pub(crate) ironflow_image: Option<String>,
    /// The image of the driver of volumes with a size, whose class becomes the default; without it a new cluster has none.
    #[arg(long, value_name = "IMAGE", env = "FIREDRILL_VOLUMES_IMAGE")]
    pub(crate) volumes_image: Option<String>,
    /// That driver's manifest.
    #[arg(long, value_name = "FILE", default_value = "fixtures/volumes/deploy/driver.yaml")]
    pub(crate) volumes_manifest: PathBuf,
    /// The release manifest of the CloudNativePG operator.
    #[arg(long, value_name = "FILE", env = "FIREDRILL_CNPG_MANIFEST")]
    pub(crate) cnpg_manifest: Option<PathBuf>,
    /// The folder of Prometheus with its alert rules, and of metrics-server.
    #[arg(long, value_name = "DIR", default_value = "fixtures/monitoring")]
    pub(crate) monitoring: PathBuf,
}

/// Where the values for drills are, one file a template.
const STACK_VALUES: &str = "fixtures/stack";
/// Among them those of the release that holds the separate layout's NATS and PostgreSQL.
const DEPENDENCY_VALUES: &str = "separate-system";

fn layouts() -> impl TypedValueParser<Value = Layout> {
    PossibleValuesParser::new(Layout::ALL.map(Layout::name)).map(|name| Layout::of_name(&name).unwrap_or_default())
}

/// What the stack is to be: its layout and, where that is known, its template.
#[derive(Clone, Debug, Default)]
struct Wanted {
    layout: Option<Layout>,
    template: Option<String>,
}

impl StackArgs {
    fn driver(&self) -> Option<VolumesDriver> {
        let manifest = self.volumes_manifest.clone();
        self.volumes_image.clone().map(|image| VolumesDriver { image, manifest })
    }

    fn driver_is_there(&self) -> Result<(), CliError> {
        let Some(driver) = self.driver() else { return Ok(()) };
        let unread = |error| CliError::input(format!("{}: {error}", driver.manifest.display()));
        fs::read(&driver.manifest).map(drop).map_err(|error| unread(error).with_hint("name it with --volumes-manifest"))
    }

    fn options(&self, layout: Layout, needed: Option<&str>) -> Result<StackOptions, CliError> {
        let mut wrong = Vec::new();
        if self.cnpg_manifest.is_none() {
            let error = CliError::input("the manifest of the CloudNativePG operator is not known");
            let hint = "run ci/setup, then: eval \"$(ci/setup --env)\"; or name it with --cnpg-manifest";
            wrong.push(error.with_hint(hint));
        }
        let templates = layout.templates();
        let template = self.template.as_deref().or(needed).unwrap_or(templates[0]).to_owned();
        if !templates.contains(&template.as_str())
            && Layout::ALL.iter().any(|of| of.templates().contains(&template.as_str()))
        {
            let error = CliError::input(format!("template {template} is not of the {layout} layout"));
            wrong.push(error.with_hint(format!("it has: {}", templates.join(", "))));
        }
        let usual =
            |name: &str| Some(PathBuf::from(format!("{STACK_VALUES}/{name}.yaml"))).filter(|file| file.is_file());
        let mut values = self.values.clone();
        if values.is_empty() {
            values.extend(usual(&template));
        }
        let options = StackOptions {
            layout,
            template,
            chart: self.chart.clone(),
            values,
            dependency_values: usual(DEPENDENCY_VALUES).into_iter().collect(),
            ironflow_image: self.ironflow_image.clone(),
            cnpg_manifest: self.cnpg_manifest.clone().unwrap_or_default(),
            monitoring: self.monitoring.clone(),
        };
        wrong.extend(options.unreadable().into_iter().map(unreadable));
        match CliError::together(wrong) {
            None => Ok(options),
            Some(error) => Err(error),
        }
    }
}

/// A file that the stack is made from and that cannot be read.
fn unreadable(error: StackError) -> CliError {
    CliError::input(error)
        .with_hint("run from the repository's root, or name it: --chart, --values, --cnpg-manifest, --monitoring")
}

/// Brings a cluster up, or uses the one that is up.
///
/// # Errors
/// Where it does not come up, with what to do about it.
pub(crate) async fn up(args: &UpArgs, printer: &mut Printer) -> Result<u8, CliError> {
    let wanted = (!args.no_stack).then_some(Wanted { layout: args.layout, template: None });
    let cluster = bring_up(args.name.as_deref(), args.workers, wanted, &args.stack, printer).await?;
    printer.line(&cluster.name);
    Ok(0)
}

/// Brings a cluster with the stack up where none is, as a scenario needs it; what `run --up` begins with.
///
/// # Errors
/// Where it does not come up, or the user names a cluster that is not firedrill's own.
pub(crate) async fn ensure_up(
    args: &ClusterArgs,
    needs: &Needs,
    stack: &StackArgs,
    printer: &mut Printer,
) -> Result<Cluster, CliError> {
    if args.context.is_some() {
        return Err(CliError::input("--up brings up clusters of firedrill's own; leave it out with --context"));
    }
    let wanted = Wanted { layout: Some(needs.layout), template: Some(needs.template.clone()) };
    bring_up(args.cluster.as_deref(), 3, Some(wanted), stack, printer).await
}

async fn bring_up(
    name: Option<&str>,
    workers: u32,
    wanted: Option<Wanted>,
    args: &StackArgs,
    printer: &mut Printer,
) -> Result<Cluster, CliError> {
    let options = |layout: Layout, wanted: &Wanted| args.options(layout, wanted.template.as_deref());
    // What is wrong is said before a cluster is made.
    let named = name.map_or(Ok(()), is_own_name);
    let wanted_options = wanted.as_ref().map(|wanted| options(wanted.layout.unwrap_or_default(), wanted).map(drop));
    each([Some(named), wanted_options, Some(args.driver_is_there())].into_iter().flatten())?;
    shown(printer, async move |say| {
        let cluster = cluster_for(name, workers, args, say).await?;
        if let Some(wanted) = &wanted {
            let there = stack::installed(&cluster).await.map_err(CliError::environment)?;
            let layout = wanted.layout.or(there.map(|there| there.layout)).unwrap_or_default();
            let options = options(layout, wanted)?;
            let lease = Lease::acquire(&cluster, "up", say).await.map_err(CliError::environment)?;
            let installed = while_held(lease.lost(), stack::install(&cluster, &options, say)).await;
            let released = lease.release().await;
            let hint = format!("look into it: kubectl --kubeconfig {} get pods -A", cluster.kubeconfig.display());
            let installed = installed.map_err(CliError::environment)?.map_err(|error| match error {
                StackError::Input { .. } => unreadable(error),
                error => CliError::environment(error).with_hint(hint),
            })?;
            released.map_err(CliError::environment)?;
            let how = if installed.reused { "was there" } else { "is there" };
            let Installed { layout, template, .. } = installed;
            say(format!("the stack {how}: {layout} layout, template {template}, healthy"));
        }
        Ok(cluster)
    })
    .await
}

async fn cluster_for(
    name: Option<&str>,
    workers: u32,
    args: &StackArgs,
    say: Progress<'_>,
) -> Result<Cluster, CliError> {
    let found = provider::find().await.map_err(failed)?;
    let existing = match (name, found.as_slice()) {
        (Some(name), all) => all.iter().find(|cluster| cluster.name == name),
        (None, []) => None,
        (None, [one]) => Some(one),
        (None, all) => {
            let names: Vec<_> = all.iter().map(|cluster| cluster.name.as_str()).collect();
            return Err(
                CliError::input(format!("several clusters are there: {}", names.join(", "))).with_hint("name one")
            );
        }
    };
    let (node_image, volumes) = (args.node_image.clone(), args.driver());
    let options = |name: String| ClusterOptions { name, workers, node_image, volumes };
    if let Some(FoundCluster { name, provider, .. }) = existing {
        say(format!("using cluster {name}"));
        let provider = provider::named(provider).map_err(failed)?;
        let ready = provider.ensure_ready(&options(name.clone()), say).await;
        return ready.map_err(|error| half_made(name, error));
    }
    let provider = provider::named(&args.provider).map_err(failed)?;
    let options = options(name.map_or_else(provider::random_name, str::to_owned));
    match provider.create(&options, say).await {
        Ok(cluster) => Ok(cluster),
        Err(error) => {
            let is_there = provider.find_named(&options.name).await.is_ok();
            Err(if is_there { half_made(&options.name, error) } else { failed(error) })
        }
    }
}

fn is_own_name(name: &str) -> Result<(), CliError> {
    if name.starts_with(NAME_PREFIX) {
        return Ok(());
    }
    let hint = format!("{NAME_PREFIX}{name} would do");
    Err(CliError::input(format!("a cluster's name begins with {NAME_PREFIX}")).with_hint(hint))
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
    let ctrl_c = CtrlC::listen();
    let mut latest: Option<(At, String)> = None;
    let result = loop {
        tokio::select! {
            biased;
            Some((at, text)) = told.recv() => {
                printer.status(&format!("{:>7.1} s  {}", at.ms() / 1_000.0, one_line(&text)));
                latest = Some((at, text));
            }
            result = &mut work => break result,
            () = ctrl_c.interrupts.at_least(1) => {
                break Err(CliError::dirty("interrupted; what was begun is still there")
                    .with_hint("firedrill up goes on with it, firedrill down --all takes it away"));
            }
            _ = ticks.tick() => {
                if let Some((since, text)) = &latest {
                    printer.frame(&[format!("           {} … {}", one_line(text), human(clock.now().since(*since)))]);
                }
            }
        }
    };
    while let Ok((at, text)) = told.try_recv() {
        printer.status(&format!("{:>7.1} s  {}", at.ms() / 1_000.0, one_line(&text)));
    }
    printer.clear_frame();
    result
}
