//! firedrill: proves whether a Kubernetes stack recovers as its runbook says.

mod args;
mod command;
mod diagnostics;
mod error;
mod escape;
mod printer;
mod report;

use args::{Cli, Command, SchemaOf};
use clap::{CommandFactory, Parser};
use error::CliError;
use firedrill_core::exit::ExitCode;
use printer::Printer;
use tracing_subscriber::EnvFilter;

fn main() -> std::process::ExitCode {
    let started = firedrill_engine::env::without_foreign_variables();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if !error.use_stderr() {
                // Help and version, which hold nothing from elsewhere.
                let _ = error.print();
                return process_code(ExitCode::Pass);
            }
            Printer::detect().usage_error(&error.render().to_string());
            return process_code(ExitCode::Input);
        }
    };
    let mut printer = Printer::detect();
    let result = started.map_err(CliError::environment).and_then(|()| start(cli, &mut printer));
    let mut code = result.unwrap_or_else(|error| {
        printer.error(&error.to_string(), error.hint());
        error.exit_code()
    });
    // What a script was to read and did not get is no success.
    if let Some(error) = printer.unwritten() {
        printer.error(&format!("standard output: {error}"), None);
        code = ExitCode::worst([code, ExitCode::Environment]);
    }
    process_code(code)
}

fn process_code(code: ExitCode) -> std::process::ExitCode {
    u8::from(code).into()
}

fn start(cli: Cli, printer: &mut Printer) -> Result<ExitCode, CliError> {
    let filter = EnvFilter::try_new(&cli.log).map_err(|error| CliError::input(format!("--log: {error}")))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(|| printer::Log).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::environment)?;
    let code = runtime.block_on(dispatch(cli.command, printer));
    // Whatever still waits for a service that does not answer must not hold up the end.
    runtime.shutdown_background();
    code
}

async fn dispatch(command: Command, printer: &mut Printer) -> Result<ExitCode, CliError> {
    match command {
        Command::Run(args) => command::run::run(args, printer).await,
        Command::Suite(args) => command::suite::suite(&args, printer).await,
        Command::Merge(args) => command::merge::merge(&args, printer),
        Command::Plan(args) => command::plan::plan(&args, printer).await,
        Command::Judge(args) => command::judge::judge(&args, printer),
        Command::Report(args) => command::judge::write_report(&args, printer),
        Command::Sweep(args) => command::sweep::sweep(&args, printer).await,
        Command::Watch(args) => command::watch::watch(args, printer).await,
        Command::Up(args) => command::up::up(&args, printer).await,
        Command::Down(args) => command::down::down(&args, printer).await,
        Command::Runbook(args) => command::runbook::runbook(&args, printer).await,
        Command::List(args) => command::list::list(&args, printer).await,
        Command::Doctor(args) => command::doctor::doctor(&args, printer).await,
        Command::Schema { of } => {
            let schema = match of {
                SchemaOf::Scenario => firedrill_core::scenario::schema(),
                SchemaOf::Suite => firedrill_core::suite::schema(),
                SchemaOf::Stack => firedrill_core::stack::schema(),
            };
            let schema = serde_json::to_string_pretty(&schema);
            printer.line(&schema.map_err(CliError::environment)?);
            Ok(ExitCode::Pass)
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "firedrill", &mut text);
            printer.line(String::from_utf8_lossy(&text).trim_end());
            Ok(ExitCode::Pass)
        }
        Command::Agent(args) => command::agent::agent(args).await.map(|()| ExitCode::Pass),
    }
}
