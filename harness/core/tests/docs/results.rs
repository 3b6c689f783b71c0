//! `docs/results.md`: what was measured, one file of `docs/results/` each.

use super::{assert_current, entries, head, root, row};
use serde::Deserialize;
use std::fs;

const ABOUT: &str = "\
# Results

<!-- Made from docs/results/*.json: UPDATE_DOCS=1 cargo test -p firedrill-core --test docs -->

What was measured, newest first. Each section is one file of [results/](results), with its date, machine and command. `ci/record` writes
such a file from a suite or from `ci/bench`. Outages have a lower and an upper bound, see [measuring.md](measuring.md).
";

/// One file of `docs/results/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    title: String,
    date: String,
    machine: String,
    versions: String,
    command: String,
    notes: Vec<String>,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Measured {
    fn section(&self) -> String {
        let mut text = format!("\n## {}\n\n", self.title);
        for (name, value) in
            [("Date", &self.date), ("Machine", &self.machine), ("Versions", &self.versions), ("Command", &self.command)]
        {
            text += &format!("- {name}: {value}\n");
        }
        if !self.notes.is_empty() {
            text += "\n";
        }
        for note in &self.notes {
            text += &format!("{note}\n");
        }
        if !self.rows.is_empty() {
            let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
            text += &format!("\n{}", head(&columns));
        }
        for cells in &self.rows {
            assert_eq!(cells.len(), self.columns.len(), "{}: {cells:?}", self.title);
            text += &row(cells);
        }
        text
    }
}

#[test]
fn the_results_are_current() {
    let mut text = ABOUT.to_owned();
    for path in entries(&root().join("docs/results"), Some("json")).iter().rev() {
        let file = fs::read_to_string(path).unwrap();
        let measured: Measured =
            serde_json::from_str(&file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&measured.date), "{name} does not begin with its date, {}", measured.date);
        text += &measured.section();
    }
    assert_current("results.md", &text);
}
