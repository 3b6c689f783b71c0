//! `firedrill up`: a cluster with the stack on it.

use super::cloud::CloudArgs;
use super::common::each;
use super::run::CtrlC;
use super::stack_file::Definition;
use crate::args::{ClusterArgs, StackFile};
use crate::error::CliError;
use crate::printer::Printer;
use crate::report::text::one_line;
use clap::Args;
use firedrill_core::exit::ExitCode;
use firedrill_core::scenario::{Layout, Needs};
use firedrill_core::time::{At, human};
use firedrill_engine::clock::Clock;
use firedrill_engine::cluster::Cluster;
use firedrill_engine::env;
use firedrill_engine::lease::{Lease, while_held};
use firedrill_engine::process::Progress;
use firedrill_engine::provider::{self, ClusterOptions, FoundCluster, NAME_PREFIX, ProviderError, VolumesDriver};
use firedrill_engine::stack::{self, Installed, StackError, StackOptions};
use std::collections::BTreeMap;
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
    #[arg(long, value_name = "LAYOUT", value_parser = layout)]
    pub(crate) layout: Option<Layout>,
    /// The cluster alone, without the stack.
    #[arg(long)]
    pub(crate) no_stack: bool,
    /// Which stack.
    #[command(flatten)]
    pub(crate) file: StackFile,
    /// What it is made from.
    #[command(flatten)]
    pub(crate) stack: StackArgs,
}

/// What a cluster and the stack on it are made from.
#[derive(Clone, Debug, Args)]
pub(crate) struct StackArgs {
    /// The provider of a new cluster. With it, clusters of other providers are not used; without it a new cluster is of kind.
    #[arg(long, value_name = "PROVIDER", value_parser = provider::makers())]
    pub(crate) provider: Option<String>,
    /// The image of new nodes: for kind a node image, FIREDRILL_NODE_IMAGE or kind's own without it; for hetzner the name of an image,
    /// debian-13 without it.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) node_image: Option<String>,
    /// What rented machines need.
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    /// The folder of the stack's chart; the one that its definition names without it.
    #[arg(long, value_name = "DIR")]
    pub(crate) chart: Option<PathBuf>,
    /// The stack's template. Without it what the scenario needs, or the layout's usual one.
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) template: Option<String>,
    /// Values files in the place of those that the stack adds to a template, the last one wins.
    #[arg(long, value_name = "FILE")]
    pub(crate) values: Vec<PathBuf>,
    /// An image of the stack, by its name there. Without it FIREDRILL_NAME_IMAGE, or the chart's own.
    #[arg(long, value_name = "NAME=IMAGE", value_parser = named)]
    pub(crate) image: Vec<(String, String)>,
    /// The image of the driver of volumes with a size, whose class becomes the default; without it a new cluster has none.
    #[arg(long, value_name = "IMAGE", env = "FIREDRILL_VOLUMES_IMAGE")]
    pub(crate) volumes_image: Option<String>,
    /// That driver's manifest.
    #[arg(long, value_name = "FILE", default_value = "fixtures/volumes/deploy/driver.yaml")]
    pub(crate) volumes_manifest: PathBuf,
    /// The release manifest of an operator of the stack, by its name there. Without it FIREDRILL_NAME_MANIFEST.
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    pub(crate) manifest: Vec<(String, String)>,
    /// The folder of what watches the stack; the one that its definition names without it.
    #[arg(long, value_name = "DIR")]
    pub(crate) monitoring: Option<PathBuf>,
}

#[allow(clippy::unnecessary_wraps, reason = "clap asks for a result")]
fn layout(name: &str) -> Result<Layout, String> {
    Ok(Layout::named(name))
}

/// `NAME=VALUE`
fn named(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// What the stack is to be: its layout and, where that is known, its template.
#[derive(Clone, Debug, Default)]
struct Wanted {
    layout: Option<Layout>,
    template: Option<String>,
}

impl StackArgs {
    /// The provider of a new cluster.
    fn provider_name(&self) -> &str {
        self.provider.as_deref().unwrap_or(provider::makers()[0])
    }

    fn driver(&self) -> Option<VolumesDriver> {
        let manifest = self.volumes_manifest.clone();
        self.volumes_image.clone().map(|image| VolumesDriver { image, manifest })
    }

    fn driver_is_there(&self) -> Result<(), CliError> {
        let Some(driver) = self.driver() else { return Ok(()) };
        let unread = |error| CliError::input(format!("{}: {error}", driver.manifest.display()));
        fs::read(&driver.manifest).map(drop).map_err(|error| unread(error).with_hint("name it with --volumes-manifest"))
    }

    fn options(
        &self,
        definition: &Definition,
        layout: &Layout,
        needed: Option<&str>,
    ) -> Result<StackOptions, CliError> {
        let stack = &definition.stack;
        let Some(of_layout) = stack.layout(layout) else {
            let known = stack.layout_names().collect::<Vec<_>>().join(", ");
            let error = CliError::input(format!("stack {} has no layout `{layout}`", stack.name));
            return Err(error.with_hint(format!("it has: {known}")));
        };
        let mut wrong = Vec::new();
        let templates = &of_layout.templates;
        let usual = templates.first().map(String::as_str);
        let template = self.template.as_deref().or(needed).or(usual).unwrap_or_default().to_owned();
        if !templates.contains(&template) {
            let error = CliError::input(format!("template {template} is not of the {layout} layout"));
            wrong.push(error.with_hint(format!("it has: {}", templates.join(", "))));
        }
        let images = stack.images.keys().map(String::as_str);
        wrong.extend(unknown("image", &self.image, images.clone()));
        let images = images.filter_map(|name| Some((name, given(&self.image, name, || env::of_image(name))?)));
        let operators = || stack.operators.iter().map(|operator| operator.name.as_str());
        wrong.extend(unknown("manifest", &self.manifest, operators()));
        let mut manifests = BTreeMap::new();
        for operator in &stack.operators {
            match given(&self.manifest, &operator.name, || env::of_manifest(&operator.name)) {
                Some(file) => {
                    manifests.insert(operator.name.clone(), PathBuf::from(file));
                }
                None => wrong.push(no_manifest(&operator.name, &operator.title)),
            }
        }
        let monitoring = stack.monitoring.as_ref().map(|monitoring| definition.folder.join(&monitoring.folder));
        let options = StackOptions {
            stack: (**stack).clone(),
            folder: definition.folder.clone(),
            layout: layout.clone(),
            template,
            chart: definition.chart(self.chart.as_deref()),
            values: self.values.clone(),
            images: images.map(|(name, image)| (name.to_owned(), image)).collect(),
            manifests,
            monitoring: monitoring.map(|usual| self.monitoring.clone().unwrap_or(usual)),
        };
        // The files of a template that is not the layout's are no other mistake.
        if templates.contains(&options.template) {
            wrong.extend(options.unreadable().into_iter().map(unreadable));
        }
        match CliError::together(wrong) {
            None => Ok(options),
            Some(error) => Err(error),
        }
    }
}

/// What was given by a name, on the command line or in the environment.
fn given(pairs: &[(String, String)], name: &str, variable: impl Fn() -> String) -> Option<String> {
    let pair = pairs.iter().rev().find(|(of, _)| of == name).map(|(_, value)| value.clone());
    pair.or_else(|| env::text(&variable()))
}

/// What was given by names that the stack does not have.
fn unknown<'a>(
    option: &str,
    pairs: &[(String, String)],
    known: impl Iterator<Item = &'a str> + Clone,
) -> Vec<CliError> {
    let strange = pairs.iter().filter(|(name, _)| !known.clone().any(|known| known == name));
    let error = |(name, _): &(String, String)| {
        let error = CliError::input(format!("--{option} {name}=...: the stack has none of that name"));
        error.with_hint(format!("it has: {}", known.clone().collect::<Vec<_>>().join(", ")))
    };
    strange.map(error).collect()
}

fn no_manifest(operator: &str, title: &str) -> CliError {
    let hint = format!("run ci/setup, then: eval \"$(ci/setup --env)\"; or name it with --manifest {operator}=FILE");
    CliError::input(format!("the manifest of {title} is not known")).with_hint(hint)
}

/// A file that the stack is made from and that cannot be read.
fn unreadable(error: StackError) -> CliError {
    CliError::input(error)
        .with_hint("run from the repository's root, or name it: --chart, --values, --manifest, --monitoring")
}

/// Brings a cluster up, or uses the one that is up.
///
/// # Errors
/// Where it does not come up, with what to do about it.
pub(crate) async fn up(args: &UpArgs, printer: &mut Printer) -> Result<ExitCode, CliError> {
    let definition = if args.no_stack { None } else { Some(Definition::load(&args.file)?) };
    let wanted = Wanted { layout: args.layout.clone(), template: None };
    let wanted = definition.as_ref().map(|definition| (definition, wanted));
    let cluster = bring_up(args.name.as_deref(), args.workers, wanted, &args.stack, printer).await?;
    printer.line(&cluster.name);
    Ok(ExitCode::Pass)
}

/// Brings a cluster with the stack up where none is, as a scenario needs it; what `run --up` begins with.
///
/// # Errors
/// Where it does not come up, or the user names a cluster that is not firedrill's own.
pub(crate) async fn ensure_up(
    args: &ClusterArgs,
    needs: &Needs,
    (definition, stack): (&Definition, &StackArgs),
    printer: &mut Printer,
) -> Result<Cluster, CliError> {
    if args.context.is_some() {
        return Err(CliError::input("--up brings up clusters of firedrill's own; leave it out with --context"));
    }
    let wanted = Wanted { layout: Some(needs.layout.clone()), template: Some(needs.template.clone()) };
    bring_up(args.cluster.as_deref(), 3, Some((definition, wanted)), stack, printer).await
}

async fn bring_up(
    name: Option<&str>,
    workers: u32,
    wanted: Option<(&Definition, Wanted)>,
    args: &StackArgs,
    printer: &mut Printer,
) -> Result<Cluster, CliError> {
    let options = |definition: &Definition, layout: Option<Layout>, wanted: &Wanted| {
        let layout = layout.unwrap_or_else(|| definition.stack.default_layout());
        args.options(definition, &layout, wanted.template.as_deref())
    };
    // What is wrong is said before a cluster is made.
    let named = name.map_or(Ok(()), is_own_name);
    let wanted_options =
        wanted.as_ref().map(|(definition, wanted)| options(definition, wanted.layout.clone(), wanted).map(drop));
    each([Some(named), wanted_options, Some(args.driver_is_there())].into_iter().flatten())?;
    shown(printer, async move |say| {
        let cluster = cluster_for(name, workers, args, say).await?;
        if let Some((definition, wanted)) = &wanted {
            let there = stack::installed(&cluster, &definition.stack).await.map_err(CliError::environment)?;
            let layout = wanted.layout.clone().or(there.map(|there| there.layout));
            let options = options(definition, layout, wanted)?;
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
    let mut found = provider::find().await.map_err(failed)?;
    let made_by_other = |found: &FoundCluster| args.provider.as_ref().is_some_and(|wanted| wanted != found.provider);
    if let Some(other) = found.iter().find(|found| Some(found.name.as_str()) == name && made_by_other(found)) {
        let error = CliError::input(format!("cluster {} is of provider {}", other.name, other.provider));
        return Err(error.with_hint("leave --provider out, or give another name"));
    }
    found.retain(|found| !made_by_other(found));
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
    let cloud = args.cloud.options();
    let options = |name: String| ClusterOptions { name, workers, node_image, volumes, cloud };
    if let Some(FoundCluster { name, provider, .. }) = existing {
        say(format!("using cluster {name}"));
        let provider = provider::named(provider).map_err(failed)?;
        let ready = provider.ensure_ready(&options(name.clone()), say).await;
        return ready.map_err(|error| half_made(name, error));
    }
    let provider = provider::named(args.provider_name()).map_err(failed)?;
    let options = options(name.map_or_else(provider::random_name, str::to_owned));
    provider.check(&options).map_err(failed)?;
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
        ProviderError::Option { .. } => failed(error),
        ProviderError::Process(firedrill_engine::process::ProcessError::NotStarted { .. }) => failed(error),
        error => CliError::environment(error).with_hint(format!("take away what is there: firedrill down {name}")),
    }
}

/// A provider's error with the hint that always helps.
pub(crate) fn failed(error: ProviderError) -> CliError {
    if let ProviderError::Option { message, hint } = error {
        return CliError::input(message).with_hint(hint);
    }
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
