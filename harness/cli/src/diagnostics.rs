//! Shows the mistakes of a scenario: all of them, each with its line, the piece underlined and what to do about it.
//!
//! The file is foreign text: its control characters are written out, in the piece as in messages.

use crate::escape::{one_line, visible_with};
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
        1 => format!("1 mistake in {}\n", one_line(shown)),
        several => format!("{several} mistakes in {}\n", one_line(shown)),
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
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let column = source[line_start..start].chars().count();
    let (text, [start, end]) = visible_with(&source, [start, end]);
    let label = LabeledSpan::underline(start..end);
    let source = NamedSource::new(one_line(&mistake.file), OwnLine { text, start, column });
    let message = one_line(&mistake.message);
    let shown = Shown { message, hint: mistake.hint.as_deref().map(one_line), label, source };
    let mut rendered = String::new();
    if handler.render_report(&mut rendered, &shown).is_err() {
        rendered = format!("{}\n", one_line(&mistake.to_string()));
    }
    rendered
}

/// A mistake as the renderer wants it.
#[derive(Debug)]
struct Shown {
    message: String,
    hint: Option<String>,
    label: LabeledSpan,
    source: NamedSource<OwnLine>,
}

/// A text of which, where lines around a piece are asked for, only the piece's own line is shown: all of that, but of one that
/// is too long for a screen only what stands around the piece.
#[derive(Debug)]
struct OwnLine {
    /// With every control character written out.
    text: String,
    /// Where the piece begins in it.
    start: usize,
    /// The column in characters at which the piece begins in the file itself.
    column: usize,
}

impl OwnLine {
    /// A piece with its column in characters, as every other report has it.
    fn piece<'a>(&'a self, span: &SourceSpan) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let piece = self.text.read_span(span, 0, 0)?;
        let start = piece.span().offset();
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let column = if start == self.start { self.column } else { self.text[line_start..start].chars().count() };
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
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[end..].find('\n').map_or(self.text.len(), |at| end + at);
        let line_end = end + self.text[end..line_end].trim_end_matches('\r').len();
        let is_long = line_end - line_start > LINE_BYTES_MAX;
        let mut from = if is_long { start.saturating_sub(AROUND_BYTES).max(line_start) } else { line_start };
        let mut to = if is_long { (end + AROUND_BYTES).min(line_end) } else { line_end };
        while !self.text.is_char_boundary(from) {
            from -= 1;
        }
        while !self.text.is_char_boundary(to) {
            to += 1;
        }
        self.piece(&(from..to).into())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Shown {}

impl Diagnostic for Shown {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let hint = self.hint.as_ref()?;
        Some(Box::new(hint))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(self.label.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_is_shown_and_not_obeyed() {
        let source = "title = \"\u{1b}[2Jä\u{202e}\" # \u{7}\nnext = \u{9b}1\n".to_owned();
        let start = source.find('ä').unwrap();
        let mistake = Mistake {
            file: "a\u{1b}]0;x\u{7}\nPASSED.toml".to_owned(),
            span: start..start + 'ä'.len_utf8(),
            message: "no `\u{1b}[31m`\nPASSED".to_owned(),
            hint: Some("give\r\u{85}PASSED".to_owned()),
        };
        let shown = render(&[mistake], "b\nPASSED", &source, |_| Some(source.clone()));
        assert!(!shown.chars().any(|char| char != '\n' && crate::escape::is_invisible(char)), "{shown:?}");
        assert!(shown.lines().all(|line| !line.trim_start().starts_with("PASSED")), "{shown}");
        // The column is that of the file; the underline stands under the character.
        assert!(shown.contains("PASSED.toml:1:14]"), "{shown}");
        let line = shown.lines().find(|line| line.contains("title =")).unwrap();
        assert!(line.ends_with(r#"title = "\x1b[2Jä\u{202e}" # \x07"#), "{line}");
        let under = shown.lines().skip_while(|under| *under != line).nth(1).unwrap();
        assert_eq!(under.trim_end().chars().count(), line[..line.find('ä').unwrap()].chars().count() + 1, "{shown}");
    }
}
