//! The engine knows no stack: what belongs to one is in its `stack.toml`.

use std::fs;
use std::path::{Path, PathBuf};

/// The stack whose names must not be here.
const WORD: &str = "ironflow";
/// Where its kind of probe and the store of that probe's writes are.
const OF_THE_PROBE: [&str; 2] = ["probe/", "ledger.rs"];
/// How others name that kind.
const KINDS: [&str; 3] = ["ProbeKind::Ironflow", "Endpoint::Ironflow", "Store::Ironflow"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

/// Whether the whole file is for tests.
fn is_for_tests(name: &str) -> bool {
    let folders = ["/tests/", "/snapshots/"];
    name.starts_with("sim/")
        || name.ends_with("tests.rs")
        || name.ends_with("/fake.rs")
        || folders.iter().any(|folder| name.contains(folder))
}

/// The lines before the tests at the end of a file.
fn product(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_end = |line: &str| line.trim() == "#[cfg(test)]";
    let lines: Vec<_> = text.lines().collect();
    let end = (1..lines.len()).find(|at| is_end(lines[at - 1]) && lines[*at].contains("mod tests {"));
    lines.into_iter().take(end.unwrap_or(usize::MAX)).enumerate().map(|(at, line)| (at + 1, line))
}

#[test]
fn no_name_of_a_stack_is_in_the_engine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 100, "{} files", files.len());
    let mut found = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        if is_for_tests(&name) || OF_THE_PROBE.iter().any(|place| name.starts_with(place)) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in product(&text) {
            let rest = KINDS.iter().fold(line.to_owned(), |line, kind| line.replace(kind, ""));
            if rest.to_lowercase().contains(WORD) {
                found.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "put these into the stack's file:\n{}", found.join("\n"));
}
