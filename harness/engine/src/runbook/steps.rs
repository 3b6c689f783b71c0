//! Which commands of a runbook a variant runs, with its placeholders bound and its corrections beside them.

use firedrill_core::scenario::{Correction, Layout, Runbook, Step, TargetNames, bind_targets};

/// A step as it will run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// Its number, from 1.
    pub number: u32,
    /// The step, its command bound.
    pub step: Step,
    /// What runs after it when it does not work as documented.
    pub correction: Option<Correction>,
}

/// The steps of `runbook` that `variant`, which is in `layout`, runs, in order, with the names of what was hit in their placeholders.
pub fn plan_steps(
    runbook: &Runbook,
    corrections: &[Correction],
    variant: &str,
    layout: &Layout,
    targets: TargetNames<'_>,
) -> Vec<PlannedStep> {
    runbook
        .steps
        .iter()
        .filter(|step| step.is_for(variant, layout))
        .zip(1..)
        .map(|(step, number)| {
            let correction = corrections
                .iter()
                .find(|correction| correction.section == step.section && correction.documented == step.command)
                .map(|correction| Correction {
                    instead: bind_targets(&correction.instead, targets),
                    ..correction.clone()
                });
            let step = Step { command: bind_targets(&step.command, targets), ..step.clone() };
            PlannedStep { number, step, correction }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn step(section: &str, command: &str, variants: &[&str]) -> Step {
        Step {
            section: section.to_owned(),
            line: 1,
            command: command.to_owned(),
            expect: None,
            timeout: Duration::from_secs(1),
            exit: Some(0),
            variants: variants.iter().map(|name| (*name).to_owned()).collect(),
            layout: None,
            within: None,
            only_if: None,
            manual: None,
        }
    }

    #[test]
    fn a_variant_runs_its_own_steps_with_names_bound_and_corrections_beside() {
        let runbook = Runbook {
            file: "runbook.md".to_owned(),
            steps: vec![
                step("one", "kubectl delete pod <target-pods>", &[]),
                step("two", "only killed", &["killed"]),
                step("three", "pg_isready", &["hung"]),
                Step { layout: Some(Layout::named("separate")), ..step("three", "elsewhere", &[]) },
            ],
        };
        let correction = Correction {
            section: "three".to_owned(),
            documented: "pg_isready".to_owned(),
            instead: "pg_isready -h <target-pods>".to_owned(),
            provider: None,
            at_times: false,
            expect: None,
            because: "x".to_owned(),
        };
        let hit = TargetNames { pods: &["nats-0", "nats-2"], ..TargetNames::default() };
        let steps = plan_steps(&runbook, &[correction], "hung", &Layout::default(), hit);
        assert_eq!(steps.iter().map(|s| s.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(steps[0].step.command, "kubectl delete pod nats-0 nats-2");
        assert_eq!(steps[1].correction.as_ref().unwrap().instead, "pg_isready -h nats-0 nats-2");
        assert!(steps[0].correction.is_none());
        let steps = plan_steps(&runbook, &[], "separate", &Layout::named("separate"), TargetNames::default());
        assert_eq!(steps.iter().map(|s| s.step.command.as_str()).collect::<Vec<_>>()[1..], ["elsewhere"]);
    }
}
