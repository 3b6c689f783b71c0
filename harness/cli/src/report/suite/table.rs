//! The suite on the terminal: one table, then what repeated drills say together, then the whole in one line.

use super::{Statistic, headline, left_out, statistics, tone, took};
use crate::report::text::{Paint, Style, hang, one_line, pad, value_word};
use firedrill_core::exit::ExitCode;
use firedrill_core::suite::{Outcome, RunResult, SuiteResult};
use firedrill_core::verdict::Value;
use std::fmt::Write;
use std::path::Path;

/// A cell and its colour.
type Cell = (String, Option<Value>);

/// The results in a block of text that ends in a line break. `folder` is where they are kept.
pub(crate) fn table(result: &SuiteResult, folder: &Path, style: &Style) -> String {
    let paint = style.paint();
    let mut text = String::new();
    let heads = ["drill", "injection", "recovery", "data", "cleanup", "time to recover", "took", "exit"];
    let rows: Vec<Vec<Cell>> = result.results.iter().map(row).collect();
    let below: Vec<Option<String>> = result.results.iter().map(said_below).collect();
    write_columns(&mut text, &heads, &rows, &below, style);
    let statistics = statistics(result);
    if !statistics.is_empty() {
        text.push('\n');
        let heads = ["repeated", "time", "runs", "longest", "90th percentile", "violations"];
        let rows: Vec<Vec<Cell>> = statistics.iter().map(statistic_row).collect();
        write_columns(&mut text, &heads, &rows, &vec![None; rows.len()], style);
        for line in left_out(result) {
            hang(&mut text, "  – ", 4, &one_line(&line), style.width);
        }
    }
    let line = format!("{}, in {}", headline(result), took(result.took_ms));
    let exit = format!("exit {}", result.exit_code);
    let _ = writeln!(text, "\n  {}   {}", paint.value(tone(result), &paint.strong(&line)), paint.strong(&exit));
    let _ =
        writeln!(text, "  {} {}", paint.strong("index"), one_line(&folder.join("index.html").display().to_string()));
    text
}

fn row(run: &RunResult) -> Vec<Cell> {
    let part = |value: Value| (value_word(value).to_owned(), Some(value));
    let nothing = || ("–".to_owned(), None);
    let mut cells = vec![(one_line(&run.name()), None)];
    match run.ran() {
        Some(ran) => {
            cells.extend([ran.injection, ran.recovery, ran.data, ran.cleanup].map(part));
            cells.push(ran.time_to_recover_ms.map_or_else(nothing, |time| (time.to_string(), None)));
            cells.push((took(ran.took_ms), None));
        }
        None => cells.extend((0..6).map(|_| nothing())),
    }
    let exit = match &run.outcome {
        Outcome::Ran(ran) if run.control && run.exit_code == ExitCode::Pass => {
            format!("{} ({} as expected)", run.exit_code, ran.exit_code)
        }
        Outcome::Ran(_) | Outcome::Failed { .. } => run.exit_code.to_string(),
        Outcome::NotRun(_) => format!("{} (not run)", run.exit_code),
    };
    cells.push((exit, Some(run.value)));
    cells
}

/// What a reader must know of a run that did not pass.
fn said_below(run: &RunResult) -> Option<String> {
    (run.value != Value::Pass).then(|| one_line(&run.said()))
}

fn statistic_row(statistic: &Statistic) -> Vec<Cell> {
    let Statistic { drill, measure, runs, longest, percentile, held } = statistic;
    [drill, measure, runs, longest, percentile, held].map(|text| (one_line(text), None)).into()
}

/// Rows in columns, as wide as they need to be: a table that is cut is of no use.
fn write_columns(text: &mut String, heads: &[&str], rows: &[Vec<Cell>], below: &[Option<String>], style: &Style) {
    let paint = style.paint();
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].0.chars().count());
            cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let head: Vec<String> = heads.iter().zip(&widths).map(|(head, width)| pad(head, *width)).collect();
    let _ = writeln!(text, "  {}", paint.dim(head.join("  ").trim_end()));
    for (row, below) in rows.iter().zip(below) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| painted(cell, *width, paint)).collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
        if let Some(said) = below {
            hang(text, "      ", 6, said, style.width);
        }
    }
}

fn painted((cell, value): &Cell, width: usize, paint: Paint) -> String {
    let padded = pad(cell, width);
    value.map_or_else(|| padded.clone(), |value| paint.value(value, &padded))
}
