//! `firedrill suite`: several drills one after the other, in this process, on one cluster as long as it is clean.

use super::common::{load_scenarios, open_cluster, read_text};
use super::down::take_down;
use super::plan::agent_image;
use super::run::{CtrlC, drive};
use super::stack_file::Definition;
use super::up::{ensure_up, failed};
use crate::args::{ClusterArgs, Output, SuiteArgs};
use crate::diagnostics;
use crate::error::CliError;
use crate::printer::Printer;
use crate::report;
use crate::report::text::one_line;
use firedrill_core::exit::ExitCode;
use firedrill_core::scenario::{Needs, Scenario};
use firedrill_core::suite::{self, Because, Catalog, Course, Entry, Next, Outcome, Ran, Suite, SuiteResult};
use firedrill_core::time::{At, human, millis};
use firedrill_engine::clock::Clock;
use firedrill_engine::files;
use firedrill_engine::provider;
use firedrill_engine::run::{Drill, Interrupts, Options};
use firedrill_engine::world;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file that makes a folder a suite's.
pub(crate) const SUITE_FILE: &str = "suite.json";

/// Runs the suite and prints its table. Whatever happens to one drill, the others are said to have run or not.
///
/// # Errors
/// Where the suite or a scenario has mistakes, or the folder of the results cannot be made. Nothing was run then.
pub(crate) async fn suite(args: &SuiteArgs, printer: &mut Printer) -> Result<ExitCode, CliError> {
    let definition = Definition::load(&args.folders.stack)?;
    let scenarios = load_scenarios(&args.folders, &definition.stack)?.into_iter();
    let scenarios: BTreeMap<_, _> = scenarios.map(|scenario| (scenario.name.clone(), scenario)).collect();
    let suite = load_suite(args, &scenarios)?;
    if let Some(shard) = args.shard
        && shard.of as usize > suite.drills.len()
    {
        let message = format!("{} shards of {} drills: some would be empty", shard.of, suite.drills.len());
        return Err(CliError::input(message).with_hint("a drill stays in one shard with all of its repeats"));
    }
    let agent_image = agent_image(args.agent_image.as_deref())?;
    let clock = Clock::start();
    let folder = new_folder(args, &suite, &clock)?;
    let mut result = SuiteResult::new(&suite, args.shard, clock.wall(At(0)));
    report::suite::write_all(&folder, &result).map_err(CliError::environment)?;

    let ctrl_c = CtrlC::listen();
    let mut stage = Stage { args, definition: definition.clone(), cluster: args.cluster.clone(), is_own: false };
    let drill_of = |entry: &Entry| {
        let mut scenario = scenarios[&entry.scenario].clone().for_variant(&entry.variant);
        if let Some(section) = &entry.without {
            scenario = scenario.without(&entry.variant, section).map_err(CliError::input)?;
        }
        let (variant, agent_image, stack) = (entry.variant.clone(), agent_image.clone(), definition.stack.clone());
        Ok(Drill { scenario, stack, variant, seed: None, noop: entry.control, agent_image })
    };
    let drills = suite.drills.iter().map(drill_of).collect::<Result<Vec<_>, CliError>>()?;
    let first = result.results.first().map(|first| &drills[first.slot.entry].scenario.needs);
    let set_up = stage.set_up(first, printer).await;
    let mut course = Course::new(suite.budget, stage.is_own);
    if let Err(error) = set_up {
        printer.error(&error.to_string(), error.hint());
        course.lost(&error.to_string(), error.exit_code());
    }
    let elapsed = || clock.now().since(At(0));
    let mut unwritten = None;
    for index in 0..result.results.len() {
        let number = result.results[index].slot.entry;
        let (entry, drill) = (&suite.drills[number], &drills[number]);
        let mut next = course.next(entry, elapsed(), ctrl_c.interrupts.count() > 0);
        if next == Next::RunOnFreshCluster {
            match stage.replace(&drill.scenario.needs, printer).await {
                Ok(()) => course.refreshed(),
                Err(error) => {
                    printer.error(&error.to_string(), error.hint());
                    course.lost(&error.to_string(), error.exit_code());
                }
            }
            next = course.next(entry, elapsed(), ctrl_c.interrupts.count() > 0);
        }
        let name = result.results[index].name();
        let outcome = match next {
            Next::Pass(because) => Outcome::NotRun(because),
            Next::Run | Next::RunOnFreshCluster => {
                let (number, all) = (index + 1, result.results.len());
                printer.status(&format!("\n[{number}/{all}] {name}, expected to take {}", human(entry.expected)));
                // What a suite that is killed now has left.
                let message = "started but not ended; if the suite was killed, finish with: firedrill sweep".to_owned();
                result.put(index, Outcome::Failed { exit_code: ExitCode::Dirty, message }, millis(elapsed()));
                report::suite::write_all(&folder, &result).ok();
                stage.run(drill.clone(), entry, &folder, &ctrl_c.interrupts, &mut course, printer).await
            }
        };
        if let Outcome::NotRun(because) = &outcome
            && !matches!(because, Because::NoCluster { .. })
        {
            printer.status(&one_line(&format!("{name}: {because}")));
        }
        result.put(index, outcome, millis(elapsed()));
        // Written after every run, so that a suite that is killed has left what it knew. That it cannot be written must not
        // hide what the cluster was left like.
        unwritten = report::suite::write_all(&folder, &result).err().map(CliError::environment);
    }
    drop(ctrl_c);
    show(&result, &folder, args.output, printer);
    match unwritten {
        Some(error) => {
            printer.error(&error.to_string(), error.hint());
            Ok(ExitCode::worst([result.exit_code, ExitCode::Environment]))
        }
        None => Ok(result.exit_code),
    }
}

/// Prints the table, and where wanted the JSON.
pub(crate) fn show(result: &SuiteResult, folder: &Path, output: Output, printer: &mut Printer) {
    match output {
        Output::Text => {
            let table = report::suite::table(result, folder, &printer.style());
            printer.line(&format!("\n{table}"));
        }
        Output::Json => {
            let table = report::suite::table(result, folder, &printer.progress_style());
            printer.status(&format!("\n{table}"));
            printer.line(&report::suite::suite_json(result));
        }
    }
}

/// The cluster that the suite runs on.
struct Stage<'a> {
    args: &'a SuiteArgs,
    definition: Definition,
    /// Once it was brought up, with its name.
    cluster: ClusterArgs,
    /// Whether this suite brought it up, so that it may take it away: one that was there before is somebody's.
    is_own: bool,
}

impl Stage<'_> {
    /// `needs` is what the first drill needs; a shard may have none.
    async fn set_up(&mut self, needs: Option<&Needs>, printer: &mut Printer) -> Result<(), CliError> {
        let Some(needs) = needs else { return Ok(()) };
        if !self.args.up {
            return open_cluster(&self.cluster).await.map(drop);
        }
        let before = provider::find().await.map_err(failed)?;
        let cluster = ensure_up(&self.cluster, needs, (&self.definition, &self.args.stack), printer).await?;
        self.is_own = before.iter().all(|known| known.name != cluster.name);
        self.cluster.cluster = Some(cluster.name);
        Ok(())
    }

    /// Takes the suite's own cluster away and brings up another one of that name.
    async fn replace(&mut self, needs: &Needs, printer: &mut Printer) -> Result<(), CliError> {
        let names: Vec<String> = self.cluster.cluster.iter().cloned().collect();
        take_down(&names, false, printer).await?;
        ensure_up(&self.cluster, needs, (&self.definition, &self.args.stack), printer).await.map(drop)
    }

    async fn run(
        &self,
        drill: Drill,
        entry: &Entry,
        folder: &Path,
        interrupts: &Interrupts,
        course: &mut Course,
        printer: &mut Printer,
    ) -> Outcome {
        let ran = async {
            if self.args.up {
                // The drill before may have needed another layout.
                ensure_up(&self.cluster, &drill.scenario.needs, (&self.definition, &self.args.stack), printer).await?;
            }
            let cluster = open_cluster(&self.cluster).await?;
            let runs = self.args.folders.runs.clone();
            let chart = self.definition.chart(self.args.stack.chart.as_deref());
            let ports = world::ports(&cluster, Some(&drill.stack), Some(&chart), &drill.agent_image);
            let accept_current_state = self.args.accept_current_state;
            let flags = self.args.folders.flags(&self.cluster);
            let options = Options { drill, ports, runs, accept_current_state, flags };
            let judged = drive(options, interrupts, printer).await?;
            if let Some(error) = &judged.unwritten {
                printer.error(&error.to_string(), error.hint());
            }
            let link = relative(folder, &judged.saved.folder).map_err(|error| match judged.verdict.exit_code {
                ExitCode::Dirty => CliError::dirty(error),
                _ => error,
            })?;
            Ok(Ran::of(&judged.verdict, &judged.saved.journal, link, judged.exit_code()))
        };
        match ran.await {
            Ok(ran) => {
                course.ran(entry, ran.exit_code);
                Outcome::Ran(Box::new(ran))
            }
            Err(error) => {
                let error: CliError = error;
                printer.error(&error.to_string(), error.hint());
                course.ran(entry, error.exit_code());
                Outcome::Failed { exit_code: error.exit_code(), message: error.to_string() }
            }
        }
    }
}

fn load_suite(args: &SuiteArgs, scenarios: &BTreeMap<String, Scenario>) -> Result<Suite, CliError> {
    let catalog: Catalog = scenarios.iter().map(|(name, scenario)| (name.clone(), suite::facts(scenario))).collect();
    let Some(path) = &args.file else { return Ok(Suite::all(&catalog)) };
    let shown = path.display().to_string();
    let text = read_text(path).map_err(|error| CliError::input(format!("{shown}: {error}")))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    suite::parse(&name, (&shown, &text), &catalog)
        .map_err(|mistakes| CliError::input(diagnostics::render(&mistakes, &shown, &text, |_| None)))
}

/// A folder for the results, which must not hold others.
fn new_folder(args: &SuiteArgs, suite: &Suite, clock: &Clock) -> Result<PathBuf, CliError> {
    let folder = args.into.clone().unwrap_or_else(|| {
        let digits: String = clock.wall(At(0)).chars().filter(char::is_ascii_digit).skip(4).take(8).collect();
        let shard = args.shard.map_or_else(String::new, |shard| format!("-{}of{}", shard.index, shard.of));
        let id = format!("{digits}-suite-{}{shard}-{:04x}", suite.name, clock.seed() & 0xffff);
        args.folders.runs.join(id)
    });
    make_folder(&folder)?;
    Ok(folder)
}

/// Makes a folder for results.
///
/// # Errors
/// Where it holds a suite's results already, or cannot be made.
pub(crate) fn make_folder(folder: &Path) -> Result<(), CliError> {
    if folder.join(SUITE_FILE).exists() {
        return Err(CliError::input(format!("{} holds a suite's results already", folder.display()))
            .with_hint("name another one with --into"));
    }
    files::create_dir_all(folder).map_err(|error| CliError::environment(format!("{}: {error}", folder.display())))
}

/// How `to` is found from the folder `from`, with `/`; both must be there.
///
/// # Errors
/// Where one is not.
pub(crate) fn relative(from: &Path, to: &Path) -> Result<String, CliError> {
    let whole = |path: &Path| {
        path.canonicalize().map_err(|error| CliError::environment(format!("{}: {error}", path.display())))
    };
    let (from, to) = (whole(from)?, whole(to)?);
    let common = from.components().zip(to.components()).take_while(|(one, other)| one == other).count();
    let up = from.components().skip(common).map(|_| "..".to_owned());
    let down = to.components().skip(common).map(|part| part.as_os_str().to_string_lossy().into_owned());
    Ok(up.chain(down).collect::<Vec<_>>().join("/"))
}
