//! `docs/safety.md` names a test for each promise: each name is that of a test.

use super::root;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The last parts of the names in backquotes that look like a test or a module of tests.
fn named(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let of_tests = quoted.filter(|name| {
        let is_path = name.contains("::") && name.chars().all(|c| c.is_ascii_alphanumeric() || "_:/.".contains(c));
        is_path || (name.matches('_').count() >= 3 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    });
    of_tests.filter_map(|name| Some(name.rsplit("::").next()?.to_owned())).filter(|name| name != "tests").collect()
}

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_test_that_a_promise_names_exists() {
    let mut text = String::new();
    for folder in ["harness", "fixtures"] {
        sources(&root().join(folder), &mut text);
    }
    let scripts = ["ci/selftest", "ci/selftest-checks.sh"].map(|file| fs::read_to_string(root().join(file)).unwrap());
    let selftest = scripts.concat();
    let all = named(&fs::read_to_string(root().join("docs/safety.md")).unwrap());
    assert!(all.len() > 30, "{} names", all.len());
    let is_there = |name: &&String| text.contains(&format!("fn {name}(")) || selftest.contains(&format!("{name}()"));
    let missing: Vec<_> = all.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "docs/safety.md names tests that are not there: {missing:?}");
}
