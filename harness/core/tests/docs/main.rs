//! Documents that are made from the scenarios, the formats and the recorded results. Each test compares one with the committed
//! file; with `UPDATE_DOCS=1` it writes the file.

mod drills;
mod exit_codes;
mod fidelity;
mod keys;
mod results;
mod safety;

use std::fs;
use std::path::{Path, PathBuf};

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folders in `folder`, or its files with an extension, in order of their names.
fn entries(folder: &Path, extension: Option<&str>) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| match extension {
            Some(extension) => path.extension().is_some_and(|of| of == extension),
            None => path.is_dir(),
        })
        .collect();
    paths.sort();
    paths
}

/// Compares a document with the committed file, or writes it.
fn assert_current(file: &str, text: &str) {
    let path = root().join("docs").join(file);
    #[expect(clippy::disallowed_methods, reason = "tests alone read this variable")]
    let is_update = std::env::var_os("UPDATE_DOCS").is_some();
    if is_update {
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let line = committed.lines().zip(text.lines()).take_while(|(committed, made)| committed == made).count() + 1;
    assert!(
        committed == text,
        "docs/{file} is not current from line {line} on; write it: UPDATE_DOCS=1 cargo test -p firedrill-core --test docs"
    );
}

/// Text in a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// A row of a Markdown table.
fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.iter().map(|text| cell(text)).collect::<Vec<_>>().join(" | "))
}

/// The head of a Markdown table.
fn head(columns: &[&str]) -> String {
    let names: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    row(&names) + "|" + &"---|".repeat(columns.len()) + "\n"
}
