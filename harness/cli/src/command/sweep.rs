//! `firedrill sweep`: finishes what a dead run left behind.

use super::common::open_cluster;
use crate::args::SweepArgs;
use crate::error::CliError;
use crate::printer::Printer;
use crate::report::text::one_line;
use firedrill_engine::run;

/// Sweeps, and says what was done.
///
/// # Errors
/// Where the cluster does not answer or is in use, or something is still left behind afterwards.
pub(crate) async fn sweep(args: &SweepArgs, printer: &mut Printer) -> Result<u8, CliError> {
    let cluster = open_cluster(&args.cluster).await?;
    let (runs, only, image) = (&args.folders.runs, args.run.as_deref(), args.agent_image.as_deref());
    let swept = run::sweep(&cluster, runs, only, image, &mut |text| printer.status(&one_line(&text))).await;
    let swept = swept.map_err(CliError::environment)?;
    for warning in &swept.warnings {
        printer.status(&format!("warning: {}", one_line(warning)));
    }
    for line in &swept.done {
        printer.line(&format!("  ✓ {}", one_line(line)));
    }
    if let Some(holder) = &swept.alive {
        let message = format!(
            "{} is in use by {holder}: nothing was touched; left there: {}",
            cluster.name,
            one_line(&swept.left.join(", "))
        );
        return Err(CliError::environment(message).with_hint("sweep again once that has ended"));
    }
    if !swept.left.is_empty() {
        let left: Vec<_> = swept.left.iter().map(|left| one_line(left)).collect();
        return Err(CliError::dirty(format!("left behind on {}:\n  {}", cluster.name, left.join("\n  "))));
    }
    if swept.done.is_empty() {
        printer.line(&format!("nothing to sweep on {}", cluster.name));
    }
    Ok(0)
}
