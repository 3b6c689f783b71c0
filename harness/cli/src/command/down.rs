//! `firedrill down`: takes clusters away that firedrill made.

use super::up::{failed, shown};
use crate::error::CliError;
use crate::printer::Printer;
use clap::Args;
use firedrill_core::exit::ExitCode;
use firedrill_engine::lease::Lease;
use firedrill_engine::provider::{self, ProviderError};

/// `down`
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// The cluster; needed only where there are several.
    #[arg(value_name = "NAME", conflicts_with = "all")]
    pub(crate) name: Option<String>,
    /// All clusters that firedrill made.
    #[arg(long)]
    pub(crate) all: bool,
    /// Also clusters in which a run is alive.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Takes one cluster away, or all of them.
///
/// # Errors
/// Where there is no such cluster, firedrill did not make it, or it does not go.
pub(crate) async fn down(args: &DownArgs, printer: &mut Printer) -> Result<ExitCode, CliError> {
    let found = provider::find().await.map_err(failed)?;
    let all: Vec<_> = found.into_iter().map(|cluster| cluster.name).collect();
    let names = match (&args.name, all.as_slice()) {
        (Some(name), _) => vec![name.clone()],
        (None, several) if several.len() > 1 && !args.all => {
            let message = format!("several clusters are there: {}", several.join(", "));
            return Err(CliError::input(message).with_hint("name one, or give --all"));
        }
        (None, _) => all,
    };
    if names.is_empty() {
        printer.line("there is no firedrill cluster");
        return Ok(ExitCode::Pass);
    }
    take_down(&names, args.force, printer).await?;
    Ok(ExitCode::Pass)
}

/// Takes clusters away, by name; without `force` none in which a run is alive.
///
/// # Errors
/// Where there is no such cluster, firedrill did not make it, it is in use, or it does not go.
pub(crate) async fn take_down(names: &[String], force: bool, printer: &mut Printer) -> Result<(), CliError> {
    shown(printer, async |say| {
        for name in names {
            if !force {
                refuse_in_use(name).await?;
            }
            say(format!("taking {name} away"));
            provider::delete(name, say).await.map_err(|error| match error {
                ProviderError::NotFound { .. } | ProviderError::NotOurs { .. } => CliError::input(error),
                error => failed(error),
            })?;
            say(format!("{name} is gone"));
        }
        Ok(())
    })
    .await
}

/// A cluster that does not answer is in nobody's use: that it can be taken away is what `down` is for.
async fn refuse_in_use(name: &str) -> Result<(), CliError> {
    let Ok(cluster) = provider::open(name).await else { return Ok(()) };
    match Lease::in_use_by(&cluster).await {
        Ok(Some(holder)) => Err(CliError::environment(format!("{name} is in use by {holder}"))
            .with_hint("wait for its end, or give --force")),
        Ok(None) | Err(_) => Ok(()),
    }
}
