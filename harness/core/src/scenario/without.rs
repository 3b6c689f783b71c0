//! A drill without one section of its runbook: only what stays broken then needs it.

use super::{Recovery, Scenario};

impl Scenario {
    /// The sections of its runbook that a variant runs commands of, in order; none where nobody acts.
    pub fn sections(&self, variant: &str) -> Vec<String> {
        let runbook = self.variants.get(variant).and_then(|variant| match &variant.recovery {
            Recovery::Runbook { file, .. } => Some((variant, self.runbooks.get(file)?)),
            Recovery::Unattended | Recovery::StaysBroken => None,
        });
        let Some((chosen, runbook)) = runbook else { return Vec::new() };
        let mut sections: Vec<_> =
            runbook.steps.iter().filter(|step| step.is_run_for(variant, &chosen.layout)).collect();
        sections.dedup_by_key(|step| &step.section);
        sections.into_iter().map(|step| step.section.clone()).collect()
    }

    /// The scenario with one section left out of the variant's runbook. It has to stay broken then ([`Recovery::stays_broken`]).
    /// `section` is a title or how one begins.
    ///
    /// # Errors
    /// Where that is no section, or more than one. It says which there are.
    pub fn without(mut self, variant: &str, section: &str) -> Result<Self, String> {
        let section = section_named(&self.sections(variant), section)?;
        if let Some(chosen) = self.variants.get_mut(variant)
            && let Recovery::Runbook { file, without, .. } = &mut chosen.recovery
            && let Some(runbook) = self.runbooks.get_mut(file)
        {
            runbook.steps.retain(|step| step.section != section);
            *without = Some(section);
        }
        Ok(self)
    }
}

/// A drill's name: `nats-quorum-loss/hung`, `nats-quorum-loss/hung (without 2. Delete the pods)`.
pub fn drill_name(scenario: &str, variant: &str, left_out: Option<&str>) -> String {
    let left_out = left_out.map(|section| format!(" (without {section})")).unwrap_or_default();
    format!("{scenario}/{variant}{left_out}")
}

/// The one section of that title, or that begins so.
///
/// # Errors
/// Where there is none, or more than one. It says which there are.
pub(crate) fn section_named(sections: &[String], wanted: &str) -> Result<String, String> {
    if sections.is_empty() {
        return Err("it runs no runbook".to_owned());
    }
    let equal = sections.iter().find(|section| *section == wanted);
    let begins: Vec<_> = sections.iter().filter(|section| section.starts_with(wanted)).collect();
    match (equal, begins.as_slice()) {
        (Some(section), _) => Ok(section.clone()),
        (None, [section]) => Ok((*section).clone()),
        (None, found) => {
            let what = if found.is_empty() { "no section" } else { "more than one section" };
            Err(format!("{what} of its runbook begins with `{wanted}`; it has: {}", sections.join(", ")))
        }
    }
}

impl Recovery {
    /// Whether it has to be broken still when the variant's deadline passes.
    pub fn stays_broken(&self) -> bool {
        matches!(self, Recovery::StaysBroken) || self.left_out().is_some()
    }

    /// The section of its runbook that was left out.
    pub fn left_out(&self) -> Option<&str> {
        match self {
            Recovery::Runbook { without, .. } => without.as_deref(),
            Recovery::Unattended | Recovery::StaysBroken => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_named_by_its_title_or_its_beginning() {
        let sections = ["1. Look", "2. Act", "2. Act again"].map(str::to_owned);
        assert_eq!(section_named(&sections, "1."), Ok("1. Look".to_owned()));
        assert_eq!(section_named(&sections, "2. Act"), Ok("2. Act".to_owned()), "a whole title is never two");
        assert!(section_named(&sections, "2.").unwrap_err().starts_with("more than one section"));
        assert!(section_named(&sections, "Look").unwrap_err().ends_with("it has: 1. Look, 2. Act, 2. Act again"));
        assert_eq!(section_named(&[], "1."), Err("it runs no runbook".to_owned()));
    }
}
