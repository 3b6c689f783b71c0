//! `firedrill plan`: what a run would do. Reads only.

use super::common::{load_drill, open_cluster};
use super::rbac;
use super::stack_file::Definition;
use crate::args::{DrillArgs, FaultOverride, Output, PlanArgs};
use crate::error::CliError;
use crate::printer::Printer;
use crate::report;
use crate::report::text::one_line;
use firedrill_core::exit::ExitCode;
use firedrill_core::scenario::{Fault, Recovery};
use firedrill_core::time::human;
use firedrill_engine::cluster::Cluster;
use firedrill_engine::fault::preview;
use firedrill_engine::run::{self, Drill, RunError};
use firedrill_engine::world;
use std::fmt::Write;

/// What the user asked to run.
///
/// # Errors
/// Where the scenario has mistakes or the image of the agent is not named.
pub(crate) fn drill(args: &DrillArgs, definition: &Definition) -> Result<Drill, CliError> {
    let stack = definition.stack.clone();
    let (mut scenario, variant) = load_drill(&args.folders, &stack, &args.name)?;
    if let Some(section) = &args.without {
        let of = format!("{}/{variant}", scenario.name);
        let whole = scenario.without(&variant, section);
        scenario = whole.map_err(|wrong| CliError::input(format!("--without: {of}: {wrong}")))?;
    }
    let agent_image = agent_image(args.agent_image.as_deref())?;
    let noop = args.fault == Some(FaultOverride::Noop);
    Ok(Drill { scenario, stack, variant, seed: args.seed, noop, agent_image })
}

/// The agent's image as the user named it.
///
/// # Errors
/// Where it is not named.
pub(crate) fn agent_image(named: Option<&str>) -> Result<String, CliError> {
    named.map(str::to_owned).ok_or_else(|| {
        CliError::input("the image of the agent is not named")
            .with_hint("give --agent-image, or set FIREDRILL_AGENT_IMAGE: eval \"$(ci/setup --env)\"")
    })
}

/// Prints the plan, or the manifests that its run needs.
///
/// # Errors
/// Where the scenario has mistakes or the cluster is not as it must be.
pub(crate) async fn plan(args: &PlanArgs, printer: &mut Printer) -> Result<ExitCode, CliError> {
    let definition = Definition::load(&args.drill.folders.stack)?;
    if args.rbac {
        let stack = definition.stack.clone();
        let (scenario, variant) = load_drill(&args.drill.folders, &stack, &args.drill.name)?;
        let drill = Drill { scenario, stack, variant, seed: None, noop: false, agent_image: String::new() };
        printer.line(&rbac::manifests(&drill));
        return Ok(ExitCode::Pass);
    }
    let drill = drill(&args.drill, &definition)?;
    let cluster = open_cluster(&args.drill.cluster).await?;
    let ports = world::ports(&cluster, Some(&drill.stack), None, &drill.agent_image);
    let plan = run::plan(&drill, &ports).await.map_err(|RunError::Environment { message, hint, .. }| {
        let error = CliError::environment(message);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    })?;
    match args.output {
        Output::Json => {
            printer.line(&report::json::pretty(&plan).map_err(CliError::environment)?);
        }
        Output::Text => {
            printer.line(&text(&drill, &cluster, &plan));
            if let Some(note) = cluster.machines.cost_note().await.map_err(CliError::environment)? {
                printer.line(&format!("  costs: {}", one_line(&note)));
            }
        }
    }
    Ok(ExitCode::Pass)
}

fn text(drill: &Drill, cluster: &Cluster, plan: &firedrill_core::plan::Plan) -> String {
    let mut out = String::new();
    let scenario = &drill.scenario;
    let _ = writeln!(
        out,
        "{}/{} on {}, seed {}\n  {}\n",
        plan.scenario,
        plan.variant,
        one_line(&cluster.name),
        plan.seed,
        one_line(&scenario.title)
    );
    if let Some(note) = cluster.credential_plugin_note() {
        let _ = writeln!(out, "  {note}\n");
    }
    let _ = writeln!(out, "  would hit");
    for planned in &plan.faults {
        for target in &planned.targets {
            let _ = writeln!(out, "    {}", one_line(&preview(&planned.fault, target).to_string()));
        }
    }
    if plan.faults.is_empty() {
        let _ = writeln!(out, "    nothing (no-op run)");
    }
    let _ = writeln!(out, "\n  would measure");
    for series in &plan.series {
        let _ = writeln!(out, "    {}, every {}", one_line(&series.to_string()), human(series.every));
    }
    let _ = writeln!(out, "\n  phases, each with its limit");
    for phase in &plan.phases {
        let _ =
            writeln!(out, "    {:<14} {:>9}  {}", phase.phase.name(), human(phase.deadline), one_line(&phase.about));
    }
    let commands = run::planned_steps(drill, &plan.targets());
    if !commands.is_empty() {
        let _ = writeln!(out, "\n  would run");
    }
    for step in &commands {
        let shown: Vec<String> = step.step.command.lines().map(one_line).collect();
        let _ = writeln!(out, "    {:>2}. {}", step.number, shown.join("\n        "));
        if let Some(because) = &step.step.manual {
            let _ = writeln!(out, "        manual: {}", one_line(because));
        }
        if let Some(correction) = &step.correction {
            let _ = writeln!(out, "        if that fails: {}", one_line(&correction.instead));
        }
    }
    if let Some(variant) = scenario.variants.get(&plan.variant) {
        let undone = variant.faults().map(Fault::left_behind);
        let undone = undone.collect::<Vec<_>>().join("; ");
        let healed = match variant.recovery {
            Recovery::Unattended => "nobody: it recovers by itself",
            Recovery::StaysBroken => "the undo: nobody acts before",
            Recovery::Runbook { without: Some(_), .. } => "the undo: a section of the runbook is left out",
            Recovery::Runbook { .. } => "the runbook",
        };
        let _ = writeln!(out, "\n  could be left behind: {undone}; repaired by {healed}");
        let _ = writeln!(
            out,
            "  everything else that it makes has an undo record, and is removed by the run or by firedrill sweep"
        );
    }
    let _ = writeln!(
        out,
        "  needs the rights that `firedrill plan NAME --rbac` prints, and those of the runbook's commands"
    );
    out.pop();
    out
}
