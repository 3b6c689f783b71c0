//! `firedrill run`: one drill, from preflight to verdict.

use super::common::{SavedRun, open_cluster};
use super::plan::drill;
use crate::args::{Output, RunArgs};
use crate::error::{CliError, exit};
use crate::printer::Printer;
use crate::report;
use crate::report::terminal::LiveView;
use firedrill_engine::run::{self, InterruptSource, Progress};
use tokio::sync::mpsc;

/// Progress that may wait for the terminal; a run has some hundred records.
const PROGRESS_MAX: usize = 16_384;

/// Runs the drill and prints its verdict.
///
/// # Errors
/// Where the scenario has mistakes or the cluster is not as it must be.
pub(crate) async fn run(args: RunArgs, printer: &mut Printer) -> Result<u8, CliError> {
    let drill = drill(&args.drill)?;
    if args.up {
        super::up::ensure_up(&args.drill.cluster, &drill.scenario.needs, &args.stack, printer).await?;
    }
    let cluster = open_cluster(&args.drill.cluster).await?;

    let (source, interrupts) = InterruptSource::new();
    let signals = tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            source.interrupt();
        }
    });
    let (progress, mut incoming) = mpsc::channel(PROGRESS_MAX);
    let options =
        run::Options { drill, cluster, runs: args.drill.folders.runs.clone(), chart: args.stack.chart.clone() };
    let mut running = std::pin::pin!(run::run(options, progress, interrupts));
    let mut view = LiveView::new(printer);
    let mut show = |progress: Progress| match progress {
        Progress::Record(record) => view.record(&record),
        Progress::Live(live) => view.live(&live),
        Progress::Waiting(text) => view.waiting(&text),
    };
    let ran = loop {
        tokio::select! {
            biased;
            Some(progress) = incoming.recv() => show(progress),
            ran = &mut running => break ran,
        }
    };
    while let Ok(progress) = incoming.try_recv() {
        show(progress);
    }
    view.finish();
    signals.abort();
    let ran = match ran {
        Ok(ran) => ran,
        Err(run::RunError::Environment { message, hint, dirty }) => {
            let error = if dirty { CliError::dirty(message) } else { CliError::environment(message) };
            return Err(match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            });
        }
    };
    let saved = SavedRun::open(&args.drill.folders.runs, &ran.folder.to_string_lossy())?;
    let verdict = saved.judge(None)?;
    let written = report::write_all(&saved.folder, &verdict, &saved.journal, &saved.samples_path());
    let text = report::terminal::verdict_text_with_report(
        &verdict,
        &printer.progress_style(),
        &saved.folder.join("report.html"),
    );
    printer.status(&text);
    if args.output == Output::Json {
        printer.line(&report::json::verdict_json(&verdict));
    }
    if ran.environment.is_some() && verdict.exit_code != exit::DIRTY {
        let message = ran.environment.unwrap_or_default();
        return Err(CliError::environment(message));
    }
    match written {
        Err(error) if verdict.exit_code == exit::PASS => Err(CliError::environment(error)),
        Err(error) => {
            printer.error(&error.to_string(), None);
            Ok(verdict.exit_code)
        }
        Ok(()) => Ok(verdict.exit_code),
    }
}
