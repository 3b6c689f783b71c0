//! Shows the mistakes of a scenario: all of them, each with its line, the piece underlined and what to do about it.

use firedrill_core::scenario::Mistake;
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, NamedSource, SourceCode, SourceSpan,
    SpanContents,
};
use std::fmt;

/// The mistakes for people, in plain text: a line that counts them, then one piece of file for each.
///
/// `text` is that of the scenario file `shown`; `runbook` gives the text of a runbook by its file name.
pub(crate) fn render(
    mistakes: &[Mistake],
    shown: &str,
    text: &str,
    runbook: impl Fn(&str) -> Option<String>,
) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_context_lines(1)
        .with_width(120)
        .with_wrap_lines(false)
        .without_cause_chain();
    let mut rendered = match mistakes.len() {
        1 => format!("1 mistake in {shown}\n"),
        several => format!("{several} mistakes in {shown}\n"),
    };
    for mistake in mistakes {
        let source = match mistake.file == shown {
            true => Some(text.to_owned()),
            false => runbook(mistake.file.rsplit('/').next().unwrap_or_default()),
        };
        let source = source.unwrap_or_default();
        let start = mistake.span.start.min(source.len());
        let end = mistake.span.end.clamp(start, source.len());
        // A table's span may reach over many lines; its first is the one to look at.
        let end = source[start..end].find('\n').map_or(end, |at| start + at);
        // At the end of a line there is nothing to underline but what stands before it.
        let at_line_end = start == end && source[end..].chars().next().is_none_or(|next| next == '\n');
        let before = source[..start].chars().next_back().filter(|before| at_line_end && *before != '\n');
        let start = start - before.map_or(0, char::len_utf8);
        let label = LabeledSpan::underline(start..end);
        let shown = Shown { mistake, label, source: NamedSource::new(&mistake.file, OwnLine(source)) };
        rendered.push('\n');
        if handler.render_report(&mut rendered, &shown).is_err() {
            rendered.push_str(&format!("{mistake}\n"));
        }
    }
    rendered
}

/// A mistake as the renderer wants it.
#[derive(Debug)]
struct Shown<'m> {
    mistake: &'m Mistake,
    label: LabeledSpan,
    source: NamedSource<OwnLine>,
}

/// A text of which, where lines around a piece are asked for, only the piece's own line is shown, and all of that.
#[derive(Debug)]
struct OwnLine(String);

impl SourceCode for OwnLine {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        if before == 0 && after == 0 {
            return self.0.read_span(span, 0, 0);
        }
        let (start, end) = (span.offset(), span.offset() + span.len());
        let line_start = self.0[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.0[end..].find('\n').map_or(self.0.len(), |at| end + at);
        self.0.read_span(&(line_start..line_end).into(), 0, 0)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mistake.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let hint = self.mistake.hint.as_ref()?;
        Some(Box::new(hint))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(self.label.clone())))
    }
}
