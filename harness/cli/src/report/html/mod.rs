//! `report.html` of a run and `index.html` of a suite: one file that needs nothing else, readable without scripts, on paper, in light and dark.

mod axis;
mod buckets;
mod lanes;
mod page;
mod rows;
mod steps;
mod suite;
mod timeline;

use super::ReportError;
use crate::escape::visible;
use axis::Axis;
use firedrill_core::journal::Journal;
use firedrill_core::sample::SampleReader;
use firedrill_core::verdict::Verdict;
use minijinja::{
    AutoEscape, Environment, UndefinedBehavior, Value, escape_formatter, syntax::SyntaxConfig, value::Serde,
};
use serde::Serialize;
use std::io::Read;
pub(crate) use suite::suite_html;

/// The page, with everything from the run escaped. Samples are read once, in memory that does not grow with them;
/// without samples the page has what the verdict and the journal know.
///
/// # Errors
/// Where the samples cannot be read, or the journal does not begin with the start of a run.
pub(crate) fn html<R: Read>(
    verdict: &Verdict,
    journal: &Journal,
    samples: Option<SampleReader<R>>,
) -> Result<String, ReportError> {
    let start = journal.start()?;
    let axis = Axis::of(verdict, journal);
    let (filled, cut_off) = match samples {
        Some(mut samples) => {
            let lanes = buckets::fill(&mut samples, verdict.series.len(), &axis).map_err(ReportError::Samples)?;
            (lanes, samples.truncated)
        }
        None => (Vec::new(), false),
    };
    let steps = steps::steps(journal);
    let context = Context {
        page: page::page(verdict, journal, start, &steps, &axis),
        timeline: timeline::timeline(verdict, journal, &steps, &axis),
        lanes: lanes::lanes(verdict, &start.plan, &filled, &axis),
        has_samples: !filled.is_empty(),
        cut_off,
    };
    render("report.html", context)
}

/// A template, filled. Every value passes the formatter: control characters are written out, and the rest is escaped for text and
/// for attributes in quotes, the only places in which a template puts one.
fn render(template: &str, context: impl Serialize) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() => escape_formatter(out, state, &Value::from(visible(text))),
        Some(_) | None => escape_formatter(out, state, value),
    });
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment.get_template(template)?.render(Serde(context))?)
}

/// What the templates are filled with.
#[derive(Serialize)]
struct Context {
    page: page::Page,
    timeline: timeline::Timeline,
    lanes: Vec<lanes::SeriesLane>,
    has_samples: bool,
    cut_off: bool,
}

const TEMPLATES: [(&str, &str); 5] = [
    ("report.html", include_str!("report.html")),
    ("suite.html", include_str!("suite.html")),
    ("style.css", include_str!("style.css")),
    ("timeline.html", include_str!("timeline.html")),
    ("tables.html", include_str!("tables.html")),
];
