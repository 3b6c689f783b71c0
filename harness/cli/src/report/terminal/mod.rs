//! What a run shows on a terminal.

mod live;
mod verdict;

pub(crate) use live::LiveView;
#[cfg(test)]
pub(crate) use live::tests::poisoned_run_lines;
pub(super) use verdict::{finding_word, ledger_line, rerun, sweep, worst};
pub(crate) use verdict::{verdict_text, verdict_text_with_report};
