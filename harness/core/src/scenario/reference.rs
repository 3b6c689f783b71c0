//! The reference of faults and kinds of probe, made from what their modules declare.

use super::{fault, probe};
use std::fmt::Write;

/// The page of all faults and kinds of probe, as Markdown.
pub fn reference() -> String {
    let mut page = "# Kinds of faults and probes\n\n\
        Generated from `harness/core/src/scenario/fault` and `harness/core/src/scenario/probe`; do not edit. Update it with\n\
        `UPDATE_DOCS=1 cargo test -p firedrill-core --lib reference`.\n\n\
        ## Faults\n\n\
        | fault | what it does | undo |\n|---|---|---|\n"
        .to_owned();
    for (name, fault) in fault::DECLARED {
        let _ = writeln!(page, "| `{name}` | {} | {} |", fault.about, fault.undone);
    }
    page.push_str("| `noop` | nothing: a no-op run, which must end as unknown | none needed |\n\n");
    page.push_str("With every key, those that have a default included:\n\n```toml\n");
    for (name, fault) in fault::DECLARED {
        let _ = writeln!(page, "fault.{name} = {}", fault.example);
    }
    page.push_str("```\n\n## Probes\n\n| probe | what one attempt is | writes |\n|---|---|---|\n");
    for (name, probe) in probe::DECLARED {
        let writes = if probe.writes { "yes" } else { "no" };
        let _ = writeln!(page, "| `{name}` | {} | {writes} |", probe.about);
    }
    page.push_str("\nWith every key of its own, those that have a default included:\n\n```toml\n");
    for (name, probe) in probe::DECLARED {
        let _ = writeln!(page, "{name} = {}", probe.example);
    }
    page.push_str("```\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test asks whether it is to update the page")]
    fn the_reference_in_docs_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/kinds.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(path, reference()).unwrap();
        }
        let committed = fs::read_to_string(path).unwrap_or_default();
        let update = "docs/kinds.md is not current: UPDATE_DOCS=1 cargo test -p firedrill-core --lib reference";
        assert!(committed == reference(), "{update}");
    }
}
