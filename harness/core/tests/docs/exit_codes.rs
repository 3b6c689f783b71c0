//! `docs/exit-codes.md` lists every exit code and no other; so do the pages that list some of them.

use super::root;
use firedrill_core::exit::ExitCode;
use std::fs;

/// The numbers in the first column of the tables whose first column has that head, in order.
fn listed(page: &str, head: &str) -> Vec<u8> {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with(&format!("| {head} |"))).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|row| {
            let first = row.split('|').nth(1).unwrap_or_default().trim();
            first.parse().unwrap_or_else(|_| panic!("{page}: `{first}` is not a number"))
        })
        .collect()
}

#[test]
fn every_exit_code_is_documented_and_no_other() {
    assert_eq!(listed("exit-codes.md", "code"), ExitCode::ALL.map(u8::from));
}

#[test]
fn the_codes_of_a_command_are_exit_codes() {
    for (page, head) in [("watch.md", "code"), ("runbooks.md", "code"), ("suites.md", "exit code")] {
        let codes = listed(page, head);
        assert!(!codes.is_empty(), "{page}");
        for code in codes {
            ExitCode::try_from(code).unwrap_or_else(|error| panic!("{page}: {error}"));
        }
    }
}

#[test]
fn a_suites_codes_are_documented_from_worst_to_best() {
    let codes: Vec<_> =
        listed("suites.md", "exit code").into_iter().map(|code| ExitCode::try_from(code).unwrap()).collect();
    for (index, code) in codes.iter().enumerate() {
        assert_eq!(ExitCode::worst(codes[index..].iter().copied()), *code);
    }
}
