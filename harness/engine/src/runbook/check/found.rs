//! What a check has found so far.

use firedrill_core::document::{Finding, FindingKind, Unchecked};
use std::ops::Range;

/// Findings, and what could not be checked.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) findings: Vec<Finding>,
    pub(super) unchecked: Vec<Unchecked>,
}

impl Found {
    /// Notes a finding.
    pub(super) fn add(
        &mut self,
        kind: FindingKind,
        span: Range<usize>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let finding = Finding { kind, span, message: message.into(), hint, corrected: None };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Notes what is not checked, and why.
    pub(super) fn skip(&mut self, span: Range<usize>, reason: impl Into<String>) {
        self.unchecked.push(Unchecked { span, reason: reason.into(), stand_in: None });
    }

    /// The same, where something stands in for it.
    pub(super) fn skip_for(&mut self, span: Range<usize>, reason: impl Into<String>, stand_in: &str) {
        self.unchecked.push(Unchecked { span, reason: reason.into(), stand_in: Some(stand_in.to_owned()) });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.findings.is_empty() && self.unchecked.is_empty()
    }
}
