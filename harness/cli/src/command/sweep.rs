//! `firedrill sweep`: finishes what a dead run left behind.

use super::common::open_cluster;
use super::run::CtrlC;
use super::up::shown;
use crate::args::SweepArgs;
use crate::error::CliError;
use crate::printer::Printer;
use crate::report::text::one_line;
use firedrill_core::exit::ExitCode;
use firedrill_engine::provider;
use firedrill_engine::run::{self, SweepOptions};
use firedrill_engine::world;

/// Sweeps, and says what was done.
///
/// # Errors
/// Where the cluster does not answer or is in use, or something is still left behind afterwards.
pub(crate) async fn sweep(args: &SweepArgs, printer: &mut Printer) -> Result<ExitCode, CliError> {
    if args.expired {
        return expired(printer).await;
    }
    let cluster = open_cluster(&args.cluster).await?;
    let interrupted = CtrlC::listen();
    let options = SweepOptions {
        runs: &args.folders.runs,
        only: args.run.as_deref(),
        agent_image: args.agent_image.as_deref(),
        trust_annotations: args.trust_annotations,
        dry_run: args.dry_run,
        interrupts: &interrupted.interrupts,
    };
    let ports = world::ports(&cluster, None, None, args.agent_image.as_deref().unwrap_or_default());
    let swept = run::sweep(&ports, options, &mut |text| printer.status(&one_line(&text))).await;
    let swept = swept.map_err(CliError::environment)?;
    for warning in &swept.warnings {
        printer.status(&format!("warning: {}", one_line(warning)));
    }
    for line in &swept.planned {
        printer.line(&format!("  would: {}", one_line(line)));
    }
    for line in &swept.done {
        printer.line(&format!("  ✓ {}", one_line(line)));
    }
    if let Some(holder) = &swept.alive {
        let message = format!(
            "{} is in use by {holder}: nothing was changed; still left: {}",
            cluster.name,
            one_line(&swept.left.join(", "))
        );
        return Err(CliError::environment(message).with_hint("sweep again after it has ended"));
    }
    let mut message = Vec::new();
    if !swept.left.is_empty() {
        let left: Vec<_> = swept.left.iter().map(|left| one_line(left)).collect();
        message.push(format!("left behind on {}:\n  {}", cluster.name, left.join("\n  ")));
    }
    if !swept.not_obeyed.is_empty() {
        let lines: Vec<_> = swept.not_obeyed.iter().map(|line| one_line(line)).collect();
        let lines = lines.join("\n  ");
        message.push(format!("not trusted on {}, so something may be left behind:\n  {lines}", cluster.name));
    }
    if !message.is_empty() {
        let error = CliError::dirty(message.join("\n"));
        return Err(match swept.not_obeyed.is_empty() {
            true => error,
            false => error.with_hint(
                "if you know that firedrill wrote them: firedrill sweep --trust-annotations (see docs/safety.md)",
            ),
        });
    }
    if swept.done.is_empty() && swept.planned.is_empty() {
        printer.line(&format!("nothing to sweep on {}", cluster.name));
    }
    Ok(ExitCode::Pass)
}

/// Deletes the clusters whose lifetime has passed.
async fn expired(printer: &mut Printer) -> Result<ExitCode, CliError> {
    let swept = shown(printer, async |say| {
        let swept = provider::sweep_expired(say).await;
        swept.map_err(|error| CliError::dirty(format!("what has expired may still be there: {error}")))
    });
    let swept = swept.await?;
    for line in &swept {
        printer.line(&format!("  ✓ {}", one_line(line)));
    }
    if swept.is_empty() {
        printer.line("no cluster has expired");
    }
    Ok(ExitCode::Pass)
}
