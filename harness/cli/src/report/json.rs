//! `verdict.json`.

use firedrill_core::verdict::Verdict;

/// The verdict as JSON for people and programs. Its format is [`firedrill_core::verdict::VERDICT_VERSION`].
///
/// # Panics
/// Never: a verdict has no key that is not text and nothing whose form could be refused.
pub(crate) fn verdict_json(verdict: &Verdict) -> String {
    serde_json::to_string_pretty(verdict).expect("every key of a verdict is text")
}
