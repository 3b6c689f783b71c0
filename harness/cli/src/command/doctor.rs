//! `firedrill doctor`: what this machine lacks, and what to do about it.

use super::stack_file::Definition;
use crate::args::{Output, StackFile};
use crate::error::CliError;
use crate::printer::Printer;
use crate::report::json::pretty;
use clap::{Args, ValueEnum};
use firedrill_core::exit::ExitCode;
use firedrill_engine::doctor::{Check, Purpose, State, examine};
use std::fmt::Write;

/// `doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// For which provider's clusters.
    #[arg(long, value_name = "PROVIDER", default_value = "kind")]
    pub(crate) provider: Examined,
    /// Text or JSON.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
    /// Which stack.
    #[command(flatten)]
    pub(crate) stack: StackFile,
}

/// A provider that the doctor knows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Examined {
    /// Nodes are containers of this machine.
    Kind,
    /// Nodes are servers of Hetzner Cloud. Reads HCLOUD_TOKEN or HCLOUD_TOKEN_FILE, and HCLOUD_ENDPOINT.
    Hetzner,
}

/// Examines the machine and says what was found.
///
/// # Errors
/// Where the result cannot be written as JSON.
pub(crate) async fn doctor(args: &DoctorArgs, printer: &mut Printer) -> Result<ExitCode, CliError> {
    let definition = Definition::load(&args.stack);
    let stack = definition.as_ref().map(|definition| &*definition.stack).map_err(ToString::to_string);
    let purpose = match args.provider {
        Examined::Kind => Purpose::Kind,
        Examined::Hetzner => Purpose::Hetzner,
    };
    let checks = examine(purpose, stack).await;
    match args.output {
        Output::Text => printer.line(&text(&checks)),
        Output::Json => printer.line(&json(&checks)?),
    }
    Ok(exit_code(&checks))
}

fn exit_code(checks: &[Check]) -> ExitCode {
    if checks.iter().any(|check| check.state == State::Failed) { ExitCode::Environment } else { ExitCode::Pass }
}

fn json(checks: &[Check]) -> Result<String, CliError> {
    let ok = exit_code(checks) == ExitCode::Pass;
    pretty(&serde_json::json!({"ok": ok, "checks": checks})).map_err(CliError::environment)
}

fn text(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let sign = match check.state {
            State::Ok => "✓",
            State::Warning => "!",
            State::Failed => "✗",
        };
        let mut lines = check.found.lines();
        let _ = writeln!(text, "  {sign} {:<16} {}", check.name, lines.next().unwrap_or_default());
        for line in lines {
            let _ = writeln!(text, "    {:<16} {}", "", line.trim());
        }
        if let Some(remedy) = &check.remedy {
            let _ = writeln!(text, "    {:<16} → {remedy}", "");
        }
    }
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let _ = match (count(State::Failed), count(State::Warning)) {
        (0, 0) => writeln!(text, "\nall is there"),
        (0, warnings) => writeln!(text, "\nnothing needed is missing; {warnings} to know of"),
        (failed, _) => writeln!(text, "\n{failed} needed and missing"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(state: State, found: &str, remedy: Option<&str>) -> Check {
        Check { name: "kind".into(), state, found: found.into(), remedy: remedy.map(str::to_owned) }
    }

    #[test]
    fn what_is_missing_is_shown_with_its_remedy() {
        let checks =
            [check(State::Ok, "0.33.0", None), check(State::Failed, "kind cannot be run:\n  no", Some("run ci/setup"))];
        insta::assert_snapshot!(text(&checks), @"
          ✓ kind             0.33.0
          ✗ kind             kind cannot be run:
                             no
                             → run ci/setup

        1 needed and missing
        ");
        assert_eq!(exit_code(&checks), ExitCode::Environment);
        assert!(json(&checks).unwrap().contains(r#""state": "failed""#));
    }

    #[test]
    fn warnings_alone_are_no_failure() {
        let checks = [check(State::Warning, "none", Some("load the module"))];
        assert_eq!(exit_code(&checks), ExitCode::Pass);
        assert!(text(&checks).ends_with("\nnothing needed is missing; 1 to know of\n"));
    }
}
