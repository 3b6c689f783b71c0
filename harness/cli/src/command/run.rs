//! `firedrill run`: one drill, from preflight to verdict.

use super::common::{SavedRun, open_cluster};
use super::plan::drill;
use super::stack_file::Definition;
use crate::args::{Output, RunArgs};
use crate::error::CliError;
use crate::printer::Printer;
use crate::report;
use crate::report::terminal::LiveView;
use firedrill_core::exit::ExitCode;
use firedrill_core::verdict::Verdict;
use firedrill_engine::run::{self, InterruptSource, Interrupts, Progress};
use firedrill_engine::world;
use std::future::poll_fn;
use std::task::Poll;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Progress that may wait for the terminal; a run has some hundred records.
const PROGRESS_MAX: usize = 16_384;

/// Interrupts by a signal that ends programs, counted from now on, until this is dropped.
pub(crate) struct CtrlC {
    pub(crate) interrupts: Interrupts,
    counting: JoinHandle<()>,
}

impl CtrlC {
    /// Begins to count.
    pub(crate) fn listen() -> Self {
        let (source, interrupts) = InterruptSource::new();
        let mut signals: Vec<Signal> =
            ending_signals(is_ignored).into_iter().filter_map(|kind| signal(kind).ok()).collect();
        let counting = tokio::spawn(async move {
            loop {
                let next = poll_fn(|context| match signals.iter_mut().any(|one| one.poll_recv(context).is_ready()) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                });
                next.await;
                source.interrupt();
            }
        });
        Self { interrupts, counting }
    }
}

/// The signals by which people, terminals, `timeout` and service managers end a program: none may leave a fault behind.
fn ending_signals(is_ignored: impl Fn(SignalKind) -> bool) -> Vec<SignalKind> {
    let always = [SignalKind::interrupt(), SignalKind::terminate()];
    // `nohup` says to go on when the terminal is closed, and a script's `&` to go on when its keys are pressed.
    let unless_ignored = [SignalKind::hangup(), SignalKind::quit()];
    always.into_iter().chain(unless_ignored.into_iter().filter(|kind| !is_ignored(*kind))).collect()
}

/// Whether this process was started with a signal ignored (`SigIgn` of proc(5), bit number less one).
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

impl Drop for CtrlC {
    fn drop(&mut self) {
        self.counting.abort();
    }
}

/// A run that ended, judged and with its reports written.
pub(crate) struct Judged {
    pub(crate) saved: SavedRun,
    pub(crate) verdict: Verdict,
    /// Why the cluster could not be drilled, where it was not as it must be and nothing was broken.
    pub(crate) environment: Option<String>,
    /// Why its reports are not whole, where they are not: what the cluster was left like must be said all the same.
    pub(crate) unwritten: Option<CliError>,
}

impl Judged {
    /// What a process that runs this drill alone ends with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.verdict.exit_code {
            ExitCode::Dirty => ExitCode::Dirty,
            _ if self.environment.is_some() => ExitCode::Environment,
            ExitCode::Pass if self.unwritten.is_some() => ExitCode::Environment,
            code => code,
        }
    }
}

/// Runs a drill, shows it, judges it, writes its reports and prints its verdict.
///
/// # Errors
/// Where the cluster is not as it must be before anything was made, or what the run left cannot be read.
pub(crate) async fn drive(
    options: run::Options,
    interrupts: &Interrupts,
    printer: &mut Printer,
) -> Result<Judged, CliError> {
    let runs = options.runs.clone();
    let (progress, mut incoming) = mpsc::channel(PROGRESS_MAX);
    let mut running = std::pin::pin!(run::run(options, progress, interrupts.clone()));
    let mut view = LiveView::new(printer);
    let mut shows = true;
    // A panic in here must not take the run along before it has undone its fault: the run sees it, and ends by itself.
    let mut show = |progress: Progress| {
        let shown = std::panic::AssertUnwindSafe(|| match progress {
            Progress::Record(record) => view.record(&record),
            Progress::Live(live) => view.live(&live),
            Progress::Waiting(text) => view.waiting(&text),
        });
        shows = shows && std::panic::catch_unwind(shown).is_ok();
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
    let unread = |error: CliError| match ran.clean {
        true => CliError::environment(error),
        false => CliError::dirty(error).with_hint("finish with: firedrill sweep"),
    };
    let saved = SavedRun::open(&runs, &ran.folder.to_string_lossy()).map_err(unread)?;
    let verdict = saved.judge(None).map_err(unread)?;
    let written = report::write_all(&saved.folder, &verdict, &saved.journal, &saved.samples_path());
    let text = report::terminal::verdict_text_with_report(
        &verdict,
        &printer.progress_style(),
        &saved.folder.join("report.html"),
    );
    printer.status(&text);
    let unwritten = written.err().map(CliError::environment);
    Ok(Judged { saved, verdict, environment: ran.environment, unwritten })
}

/// Runs the drill and prints its verdict.
///
/// # Errors
/// Where the scenario has mistakes or the cluster is not as it must be.
pub(crate) async fn run(args: RunArgs, printer: &mut Printer) -> Result<ExitCode, CliError> {
    let definition = Definition::load(&args.drill.folders.stack)?;
    let drill = drill(&args.drill, &definition)?;
    if args.up {
        super::up::ensure_up(&args.drill.cluster, &drill.scenario.needs, (&definition, &args.stack), printer).await?;
    }
    let cluster = open_cluster(&args.drill.cluster).await?;
    let options = run::Options {
        ports: world::ports(
            &cluster,
            Some(&drill.stack),
            Some(&definition.chart(args.stack.chart.as_deref())),
            &drill.agent_image,
        ),
        drill,
        runs: args.drill.folders.runs.clone(),
        accept_current_state: args.accept_current_state,
        flags: args.drill.folders.flags(&args.drill.cluster),
    };
    let ctrl_c = CtrlC::listen();
    let judged = drive(options, &ctrl_c.interrupts, printer).await?;
    drop(ctrl_c);
    if args.output == Output::Json {
        printer.line(&report::json::verdict_json(&judged.verdict));
    }
    let environment = judged.environment.as_ref().map(CliError::environment);
    for error in environment.iter().chain(&judged.unwritten) {
        printer.error(&error.to_string(), error.hint());
    }
    Ok(judged.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_said_to_ignore_is_ignored() {
        let all = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
        assert_eq!(ending_signals(|_| false), all);
        assert_eq!(ending_signals(|kind| kind == SignalKind::hangup()), [all[0], all[1], all[3]], "as nohup does");
        assert_eq!(ending_signals(|_| true), all[..2]);
    }
}
