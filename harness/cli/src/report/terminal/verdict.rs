//! The verdict on the terminal: what an on-call engineer reads first.

use crate::report::describe;
use crate::report::text::{
    Paint, Style, count, hang, limit, one_line, pad, seconds, shorten, value_sign, value_word, wrap,
};
use firedrill_core::exit::ExitCode;
use firedrill_core::time::millis;
use firedrill_core::verdict::{FindingKind, ObjectiveResult, Part, Share, Value, Verdict};
use std::fmt::Write;
use std::path::Path;

/// Columns before what is said of a part.
const INDENT: usize = 24;
/// Columns before what is said of everything else.
const INDENT_WIDE: usize = 25;
/// The longest name of an objective that is not cut, in columns.
const NAME_MAX: usize = 30;
/// The most findings that are listed; the others are counted.
const FINDINGS_MAX: usize = 8;
/// The most reasons that are listed for a part; the others are counted.
const REASONS_MAX: usize = 8;

/// The verdict in a block of text that ends in a line break.
pub(crate) fn verdict_text(verdict: &Verdict, style: &Style) -> String {
    block(verdict, style, None)
}

/// The same with the place of the page, as a reader would open it.
pub(crate) fn verdict_text_with_report(verdict: &Verdict, style: &Style, report: &Path) -> String {
    block(verdict, style, Some(report))
}

fn block(verdict: &Verdict, style: &Style, report: Option<&Path>) -> String {
    let paint = style.paint();
    let mut text = String::new();
    headline(&mut text, verdict, style);
    text.push('\n');
    part(&mut text, "injection", &verdict.injection, Rows::NONE, style);
    part(&mut text, "recovery", &verdict.recovery, Rows::of(verdict), style);
    part(&mut text, "data", &verdict.data, Rows::NONE, style);
    // The hint of the cleanup is the command that finishes it, which has a line of its own.
    part(&mut text, "cleanup", &Part { hint: None, ..verdict.cleanup.clone() }, Rows::NONE, style);
    if verdict.exit_code == ExitCode::Dirty {
        let _ = writeln!(text, "{:INDENT$}{} {}", "", paint.strong("finish with:"), paint.fail(&sweep(verdict)));
    }
    text.push('\n');
    let mut row = |name: &str, said: &str| {
        hang(&mut text, &format!("  {}", paint.strong(&pad(name, INDENT_WIDE - 2))), INDENT_WIDE, said, style.width);
    };
    let times = times(verdict);
    if !times.is_empty() {
        row("since the effect", &times);
    }
    if !verdict.attribution.is_empty() {
        row("where the time went", &shares(&verdict.attribution));
    }
    for (index, alert) in verdict.alerts.iter().enumerate() {
        let sign = alert.value.map_or("–", value_sign);
        row(if index == 0 { "alerts" } else { "" }, &format!("{sign} {}", describe::alert(alert)));
    }
    for (index, finding) in verdict.findings.iter().take(FINDINGS_MAX).enumerate() {
        let place = finding.section.as_ref().map_or_else(String::new, |section| format!(" ({})", one_line(section)));
        let kind = finding_word(finding.kind);
        row(if index == 0 { "findings" } else { "" }, &format!("{kind}: {}{place}", one_line(&finding.text)));
    }
    if verdict.findings.len() > FINDINGS_MAX {
        row("", &format!("and {} more in the report", verdict.findings.len() - FINDINGS_MAX));
    }
    if let Some(report) = report {
        row("report", &one_line(&report.display().to_string()));
    }
    row("rerun", &rerun(verdict));
    text
}

/// The command that does the same drill again.
pub(crate) fn rerun(verdict: &Verdict) -> String {
    let without = verdict.without.as_ref().map(|section| format!(" --without {}", word(section))).unwrap_or_default();
    let drill = format!("{}/{}", verdict.scenario, verdict.variant);
    format!("firedrill run {} --seed {}{without}{}", word(&drill), verdict.seed, flags(verdict, |_| true))
}

/// The command that finishes the cleanup of this run.
pub(crate) fn sweep(verdict: &Verdict) -> String {
    let is_of_sweep = |name: &str| matches!(name, "context" | "kubeconfig" | "runs");
    format!("firedrill sweep --run {}{}", word(&verdict.run_id), flags(verdict, is_of_sweep))
}

/// The flags by which the command of the run found things, for another command. A saved run may hold names that no flag has.
fn flags(verdict: &Verdict, takes: impl Fn(&str) -> bool) -> String {
    let known = |name: &str| matches!(name, "context" | "kubeconfig" | "runs" | "scenarios" | "stack");
    let taken = verdict.flags.iter().filter(|(name, _)| known(name) && takes(name));
    taken.map(|(name, value)| format!(" --{name} {}", word(value))).collect()
}

/// One word of a command that a reader copies into a shell: quoted where it is more than a name, since a saved run may come from
/// anybody.
fn word(text: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./:@".contains(char);
    match !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", one_line(text).replace('\'', r"'\''")),
    }
}

/// A kind of finding in words.
pub(crate) fn finding_word(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::SlowerThanDocumented => "slower than documented",
        FindingKind::CorrectionUsed => "correction used",
        FindingKind::CorrectionNotNeeded => "correction not needed",
        FindingKind::StepNotAsExpected => "step not as expected",
        FindingKind::ManualStep => "manual step",
        FindingKind::Placement => "placement",
        FindingKind::Measurement => "measurement",
        FindingKind::Data => "data",
        FindingKind::AcceptedState => "accepted state",
        FindingKind::Alert => "alert",
    }
}

/// The worst value of the four parts, which gives the headline its colour.
pub(crate) fn worst(verdict: &Verdict) -> Value {
    [&verdict.injection, &verdict.recovery, &verdict.data, &verdict.cleanup]
        .iter()
        .map(|part| part.value)
        .max()
        .unwrap_or(Value::Unknown)
}

fn headline(text: &mut String, verdict: &Verdict, style: &Style) {
    let paint = style.paint();
    let exit = format!("exit {}", verdict.exit_code);
    let lines = wrap(&one_line(&verdict.headline), style.width.saturating_sub(exit.len() + 6));
    let color = match (verdict.exit_code, worst(verdict)) {
        (ExitCode::Pass, _) => Value::Pass,
        (ExitCode::Unknown, _) => Value::Unknown,
        (_, Value::Pass) => Value::Unknown,
        (_, worst) => worst,
    };
    for (index, line) in lines.iter().enumerate() {
        let shown = paint.value(color, &paint.strong(line));
        if index == 0 {
            let gap = style.width.saturating_sub(2 + line.chars().count() + exit.len());
            let _ = writeln!(text, "  {shown}{:gap$}{}", "", paint.strong(&exit));
        } else {
            // Further in than any line of ours begins, since the reason may be anybody's words.
            let _ = writeln!(text, "    {shown}");
        }
    }
}

/// The rows of objectives under a part.
#[derive(Clone, Copy)]
struct Rows<'a> {
    objectives: &'a [ObjectiveResult],
    /// Whether they say all that the part's reasons do.
    are_the_reasons: bool,
}

impl<'a> Rows<'a> {
    const NONE: Self = Self { objectives: &[], are_the_reasons: false };

    /// Those under recovery. Where it passed because every objective held, each reason is the row of one.
    fn of(verdict: &'a Verdict) -> Self {
        let held = verdict.recovery.value == Value::Pass && !verdict.negative_test;
        Self { objectives: &verdict.objectives, are_the_reasons: held && !verdict.objectives.is_empty() }
    }
}

fn part(text: &mut String, name: &str, part: &Part, under: Rows<'_>, style: &Style) {
    let paint = style.paint();
    let value = paint.value(part.value, &pad(value_word(part.value), INDENT - 14));
    let mut head = Some(format!("  {}{value}", paint.strong(&pad(name, 12))));
    let mut say = |line: &str| {
        let head = head.take().unwrap_or_else(|| " ".repeat(INDENT));
        hang(text, &head, INDENT, line, style.width);
    };
    let rows = objective_rows(under.objectives, paint);
    let reasons: &[String] = if under.are_the_reasons { &[] } else { &part.reasons };
    for reason in reasons.iter().take(REASONS_MAX) {
        say(&one_line(reason));
    }
    if reasons.len() > REASONS_MAX {
        say(&format!("and {} more in the report", reasons.len() - REASONS_MAX));
    }
    if let Some(hint) = &part.hint {
        say(&format!("hint: {}", one_line(hint)));
    }
    if reasons.is_empty() && part.hint.is_none() && rows.is_empty() {
        say("");
    }
    let beside = rows.iter().all(|row| INDENT + row.columns <= style.width);
    for row in rows {
        let head = head.take().unwrap_or_else(|| " ".repeat(INDENT));
        let _ = if beside {
            writeln!(text, "{head}{}   {}", row.measured, row.limits)
        } else {
            writeln!(text, "{head}{}\n{:INDENT$}  {}", row.measured.trim_end(), "", row.limits.trim_start())
        };
        // The same words twice help nobody: the part may have said them.
        if let Some(reason) = row.reason.filter(|reason| !part.reasons.iter().any(|said| said.contains(reason))) {
            hang(text, &" ".repeat(INDENT + 2), INDENT + 2, &one_line(reason), style.width);
        }
    }
}

struct Row<'a> {
    /// Name and measured time.
    measured: String,
    /// What it is held against; beside it, or under it where that is too wide for any row.
    limits: String,
    /// Columns of both beside each other.
    columns: usize,
    reason: Option<&'a str>,
}

/// One row an objective, in columns.
fn objective_rows(objectives: &[ObjectiveResult], paint: Paint) -> Vec<Row<'_>> {
    let names: Vec<String> = objectives.iter().map(|o| shorten(&one_line(&o.name), NAME_MAX)).collect();
    let figures: Vec<String> = objectives
        .iter()
        .map(|o| o.measured.map_or_else(|| "not measured".to_owned(), |time| time.to_string()))
        .collect();
    let documented: Vec<String> = objectives
        .iter()
        .map(|o| match (o.documented_ms, o.documented_held) {
            (Some(ms), Some(false)) => format!("documented {}, exceeded", limit(ms)),
            (Some(ms), Some(true) | None) => format!("documented {}", limit(ms)),
            (None, _) => String::new(),
        })
        .collect();
    let widest = |texts: &[String]| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    let (name_wide, figure_wide, documented_wide) = (widest(&names), widest(&figures), widest(&documented));
    let mut rows = Vec::new();
    for (index, objective) in objectives.iter().enumerate() {
        let accepted = match (objective.accepted_ms, objective.value) {
            (Some(ms), Value::Fail) => format!("accepted {}, exceeded", limit(ms)),
            (Some(ms), Value::Pass | Value::Unknown) => format!("accepted {}", limit(ms)),
            (None, _) => "informational".to_owned(),
        };
        let claim = pad(&documented[index], documented_wide);
        let gap = if documented_wide > 0 { "   " } else { "" };
        let columns = 2 + name_wide + 3 + figure_wide + 3 + documented_wide + gap.len() + accepted.chars().count();
        let claim = if objective.documented_held == Some(false) { paint.unknown(&claim) } else { claim };
        let accepted = match (objective.accepted_ms, objective.value) {
            (Some(_), Value::Fail) => paint.fail(&accepted),
            (Some(_), Value::Pass | Value::Unknown) => accepted,
            (None, _) => paint.dim(&accepted),
        };
        rows.push(Row {
            measured: format!(
                "{} {}   {}",
                paint.value(objective.value, value_sign(objective.value)),
                pad(&names[index], name_wide),
                pad(&figures[index], figure_wide),
            ),
            limits: format!("{claim}{gap}{accepted}"),
            columns,
            reason: objective.reason.as_deref(),
        });
    }
    rows
}

/// Time to detect, to recover and back to normal, as far as they were seen.
fn times(verdict: &Verdict) -> String {
    let times = [
        ("detected", verdict.time_to_detect_ms),
        ("redundant again", verdict.time_to_recover_ms),
        ("back to normal", verdict.back_to_normal_ms),
    ];
    let shown: Vec<String> =
        times.iter().filter_map(|(name, time)| time.map(|time| format!("{name} {time}"))).collect();
    shown.join(" · ")
}

/// `detect 3.10 s · runbook 2.20 s`; a line never breaks between a figure and its unit.
fn shares(shares: &[Share]) -> String {
    let shown: Vec<String> = shares
        .iter()
        .map(|share| format!("{} {}\u{a0}s", one_line(&share.name), seconds(millis(share.until.since(share.from)))))
        .collect();
    shown.join(" · ")
}

/// One line of what became of acknowledged writes, all series together.
pub(crate) fn ledger_line(verdict: &Verdict) -> String {
    let sum = |figure: fn(&firedrill_core::event::LedgerCount) -> u64| verdict.ledger.iter().map(figure).sum::<u64>();
    format!(
        "{} acknowledged, {} lost, {} duplicated, {} indeterminate ({} found)",
        count(sum(|l| l.acknowledged)),
        count(sum(|l| l.lost)),
        count(sum(|l| l.duplicated)),
        count(sum(|l| l.indeterminate)),
        count(sum(|l| l.indeterminate_found)),
    )
}
