//! Which module may use which: `docs/design.md` in one test.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of this crate that a folder may name, beside itself; in its tests anything goes.
const ALLOWED: [(&str, &[&str]); 1] = [("run", &["port", "clock", "planted", "run"])];
/// Modules that none of these folders may name.
const FORBIDDEN: [(&str, &[&str]); 6] = [
    ("fault", &["run", "world", "sim"]),
    ("probe", &["run", "world", "sim"]),
    ("observe", &["run", "world", "sim", "fault"]),
    ("provider", &["run", "world", "sim", "fault", "probe"]),
    ("runbook", &["run", "world", "sim", "fault", "probe"]),
    ("world", &["run", "sim"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
    all
}

/// The modules that a file names as `crate::MODULE`, with the line, up to its tests.
fn named(text: &str) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim() == "#[cfg(test)]" {
            break;
        }
        for rest in line.split("crate::").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            if end > 0 {
                all.push((number + 1, rest[..end].to_owned()));
            }
        }
    }
    all
}

fn is_for_tests(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    name == "fake" || name == "tests" || name.ends_with("_tests")
}

/// Each file that names a module it may not, a line each.
fn violations(folder: &str, may: impl Fn(&str) -> bool) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    let files = sources(&root.join(folder));
    assert!(!files.is_empty(), "{folder} is empty");
    for path in files.iter().filter(|path| !is_for_tests(path)) {
        let text = fs::read_to_string(path).unwrap();
        for (line, module) in named(&text).into_iter().filter(|(_, module)| !may(module)) {
            all.push(format!("{}:{line} names crate::{module}", path.display()));
        }
    }
    all
}

#[test]
fn modules_use_only_what_they_may() {
    let mut all = Vec::new();
    for (folder, allowed) in ALLOWED {
        all.extend(violations(folder, |module| allowed.contains(&module)));
    }
    for (folder, forbidden) in FORBIDDEN {
        all.extend(violations(folder, |module| !forbidden.contains(&module)));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn a_module_that_is_named_is_seen() {
    let text = "use crate::port;\nlet x = crate::fault::undo(crate::clock::now());\n#[cfg(test)]\nuse crate::sim;\n";
    let all: Vec<_> = named(text).into_iter().map(|(line, module)| format!("{line} {module}")).collect();
    assert_eq!(all, ["1 port", "2 fault", "2 clock"]);
}
