//! `verdict.json`, and JSON for programs in general.

use crate::escape;
use firedrill_core::verdict::Verdict;
use serde::Serialize;

/// A value as JSON over several lines, without a raw control character: what a serializer leaves inside strings is escaped.
///
/// # Errors
/// Where the value has no JSON form.
pub(crate) fn pretty(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(escape::json(&serde_json::to_string_pretty(value)?))
}

/// The verdict as JSON for people and programs. Its format is [`firedrill_core::verdict::VERDICT_VERSION`].
///
/// # Panics
/// Never: a verdict has no key that is not text and nothing whose form could be refused.
pub(crate) fn verdict_json(verdict: &Verdict) -> String {
    pretty(verdict).expect("every key of a verdict is text")
}
