//! Shows the mistakes of a scenario: all of them, each with its line, the piece underlined and what to do about it.

use firedrill_core::scenario::Mistake;
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, NamedSource,
    SourceCode, SourceSpan, SpanContents,
};
use std::fmt;

/// The longest line that is shown as a whole, in bytes.
const LINE_BYTES_MAX: usize = 400;
/// How much of a longer one is shown on each side of a piece, in bytes.
const AROUND_BYTES: usize = 50;

/// The mistakes for people, in plain text: a line that counts them, then one piece of file for each.
///
/// `text` is that of the scenario file `shown`; `runbook` gives the text of a runbook by its file name.
pub(crate) fn render(
    mistakes: &[Mistake],
    shown: &str,
    text: &str,
    runbook: impl Fn(&str) -> Option<String>,
) -> String {
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
        rendered.push('\n');
        rendered.push_str(&piece(mistake, source));
    }
    rendered
}

/// One mistake for people: its place in `source`, the piece underlined, and what to do about it.
pub(crate) fn piece(mistake: &Mistake, source: String) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_context_lines(1)
        .with_width(120)
        .with_wrap_lines(false)
        .without_cause_chain();
    let start = mistake.span.start.min(source.len());
    let end = mistake.span.end.clamp(start, source.len());
    // A table's span may reach over many lines; its first is the one to look at.
    let end = source[start..end].find('\n').map_or(end, |at| start + at);
    let end = start + source[start..end].trim_end_matches('\r').len();
    // At the end of a line there is nothing to underline but what stands before it.
    let at_line_end = start == end && source[end..].chars().next().is_none_or(|next| matches!(next, '\r' | '\n'));
    let before = source[..start].chars().next_back().filter(|before| at_line_end && *before != '\n');
    let start = start - before.map_or(0, char::len_utf8);
    let label = LabeledSpan::underline(start..end);
    let shown = Shown { mistake, label, source: NamedSource::new(&mistake.file, OwnLine(source)) };
    let mut rendered = String::new();
    if handler.render_report(&mut rendered, &shown).is_err() {
        rendered = format!("{mistake}\n");
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

/// A text of which, where lines around a piece are asked for, only the piece's own line is shown: all of that, but of one that
/// is too long for a screen only what stands around the piece.
#[derive(Debug)]
struct OwnLine(String);

impl OwnLine {
    /// A piece with its column in characters, as every other report has it.
    fn piece<'a>(&'a self, span: &SourceSpan) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let piece = self.0.read_span(span, 0, 0)?;
        let start = piece.span().offset();
        let line_start = self.0[..start].rfind('\n').map_or(0, |at| at + 1);
        let column = self.0[line_start..start].chars().count();
        let shown = MietteSpanContents::new(piece.data(), *piece.span(), piece.line(), column, piece.line_count());
        Ok(Box::new(shown))
    }
}

impl SourceCode for OwnLine {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        if before == 0 && after == 0 {
            return self.piece(span);
        }
        let (start, end) = (span.offset(), span.offset() + span.len());
        let line_start = self.0[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.0[end..].find('\n').map_or(self.0.len(), |at| end + at);
        let line_end = end + self.0[end..line_end].trim_end_matches('\r').len();
        let is_long = line_end - line_start > LINE_BYTES_MAX;
        let mut from = if is_long { start.saturating_sub(AROUND_BYTES).max(line_start) } else { line_start };
        let mut to = if is_long { (end + AROUND_BYTES).min(line_end) } else { line_end };
        while !self.0.is_char_boundary(from) {
            from -= 1;
        }
        while !self.0.is_char_boundary(to) {
            to += 1;
        }
        self.piece(&(from..to).into())
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
