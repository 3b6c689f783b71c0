//! `firedrill list`: clusters or scenarios.

use super::common::load_scenarios;
use super::stack_file::Definition;
use crate::args::{Folders, ListArgs, ListWhat};
use crate::error::CliError;
use crate::printer::Printer;
use crate::report::text::one_line;
use firedrill_core::exit::ExitCode;
use firedrill_core::scenario::{Recovery, Scenario};
use firedrill_core::verdict::Verdict;
use firedrill_engine::provider;
use std::collections::BTreeMap;
use std::fs;
use std::io;

/// Prints a line for each.
///
/// # Errors
/// Where the container engine does not answer, or a scenario has mistakes.
pub(crate) async fn list(args: &ListArgs, printer: &mut Printer) -> Result<ExitCode, CliError> {
    match args.what {
        ListWhat::Clusters => {
            let found = provider::find().await.map_err(CliError::environment)?;
            for cluster in &found {
                printer.line(&one_line(&cluster.to_string()));
                // What it costs is asked of the provider that has found it.
                let cost = match provider::named(cluster.provider) {
                    Ok(provider) => provider.cost(&cluster.name).await,
                    Err(error) => Err(error),
                };
                match cost {
                    Ok(None) => {}
                    Ok(Some(cost)) => printer.line(&format!("  {}", one_line(&cost))),
                    Err(error) => printer.line(&format!("  its cost is not known: {}", one_line(&error.to_string()))),
                }
            }
            if found.is_empty() {
                printer.line("no firedrill cluster is running");
            }
        }
        ListWhat::Scenarios => scenarios(&args.folders, printer)?,
    }
    Ok(ExitCode::Pass)
}

fn scenarios(folders: &Folders, printer: &mut Printer) -> Result<(), CliError> {
    let stack = Definition::load(&folders.stack)?.stack;
    let (scenarios, usual) = (load_scenarios(folders, &stack)?, stack.default_layout());
    let last = last_verdicts(folders)?;
    let named = |scenario: &Scenario, variant: &str| format!("{}/{variant}", scenario.name);
    let names = scenarios.iter().flat_map(|all| all.variants.keys().map(move |variant| named(all, variant).len()));
    let width = names.max().unwrap_or(0);
    for scenario in &scenarios {
        printer.line(&format!("{}  {}", scenario.name, one_line(&scenario.title)));
        for (name, variant) in &scenario.variants {
            let recovery = match &variant.recovery {
                Recovery::Unattended => "recovers by itself",
                Recovery::StaysBroken => "stays broken",
                Recovery::Runbook { .. } => "by its runbook",
            };
            let layout = match &variant.layout {
                layout if *layout == usual => String::new(),
                layout => format!(", {layout} layout"),
            };
            let minutes = variant.expected.as_secs_f64() / 60.0;
            let verdict = last.get(&(scenario.name.clone(), name.clone()));
            printer.line(&format!(
                "  {:<width$}  {minutes:>2.0} min  {:<32}  {}",
                named(scenario, name),
                format!("{recovery}{layout}"),
                verdict.map_or_else(|| "never run here".to_owned(), |verdict| one_line(verdict))
            ));
            printer.line(&format!("    {}", one_line(&variant.about)));
        }
    }
    Ok(())
}

/// The headline of the latest saved run of each drill, with its whole runbook.
///
/// # Errors
/// Where there is a folder of runs that cannot be read.
fn last_verdicts(folders: &Folders) -> Result<BTreeMap<(String, String), String>, CliError> {
    let mut latest: BTreeMap<(String, String), (String, String)> = BTreeMap::new();
    let fail = |error: io::Error| CliError::input(format!("{}: {error}", folders.runs.display()));
    let entries = match fs::read_dir(&folders.runs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        entries => entries.and_then(|entries| entries.collect::<Result<Vec<_>, _>>()).map_err(fail)?,
    };
    for entry in entries {
        let Ok(text) = fs::read_to_string(entry.path().join("verdict.json")) else { continue };
        let Ok(verdict) = serde_json::from_str::<Verdict>(&text) else { continue };
        if verdict.without.is_some() {
            continue;
        }
        let shown = (verdict.started.clone(), format!("{} ({})", verdict.headline, verdict.started));
        let held = latest.entry((verdict.scenario, verdict.variant)).or_insert_with(|| shown.clone());
        if held.0 < shown.0 {
            *held = shown;
        }
    }
    Ok(latest.into_iter().map(|(key, (_, text))| (key, text)).collect())
}
