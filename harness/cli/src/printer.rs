//! The only place that prints.
//!
//! Results go to standard output, everything about the way there to standard error: progress, notes and errors. On a
//! terminal the last lines of standard error are a frame that is drawn again in place; elsewhere lines are only ever
//! appended.
//!
//! Every text passes [`render`]: the marks of [`Paint`] become colours, and every other control character is written out, so
//! that no text from elsewhere steers the terminal.

use crate::escape::{visible, without_commands};
use crate::report::text::{Paint, Style, render};
use firedrill_engine::env;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};

/// The width of text where the terminal does not say, in columns.
const WIDTH_DEFAULT: usize = 100;
/// The widest text, in columns; longer lines are hard to read.
const WIDTH_MAX: usize = 120;
/// The narrowest text, in columns.
const WIDTH_MIN: usize = 60;
/// The most lines a frame has.
const FRAME_LINES_MAX: usize = 40;
/// How often a frame is drawn at most, per second.
const FRAME_HZ: u8 = 8;

/// Prints.
pub(crate) struct Printer {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Whether results are coloured.
    out_color: bool,
    /// Whether standard error is coloured.
    err_color: bool,
    /// Whether standard error is a terminal on which a frame can be drawn.
    interactive: bool,
    width: usize,
    frame: Option<Frame>,
    /// The first result that could not be written, though somebody reads.
    unwritten: Option<io::Error>,
}

fn write_whole(to: &mut dyn Write, text: &str) -> io::Result<()> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    write!(to, "{}{end}", without_commands(&render(text)))?;
    to.flush()
}

/// Lines drawn again in place.
struct Frame {
    all: MultiProgress,
    lines: Vec<ProgressBar>,
}

impl Printer {
    /// Prints to the process's own standard output and error. They are coloured where they are terminals, unless
    /// `NO_COLOR` is set or `TERM` is `dumb`.
    pub(crate) fn detect() -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let dumb = env::text("TERM").is_some_and(|term| term == "dumb");
        let wanted = |terminal: bool| terminal && !dumb && env::text("NO_COLOR").is_none();
        let interactive = err.is_terminal() && !dumb;
        let width = terminal_size::terminal_size_of(&err)
            .or_else(|| terminal_size::terminal_size_of(&out))
            .map_or(WIDTH_DEFAULT, |(width, _)| usize::from(width.0).clamp(WIDTH_MIN, WIDTH_MAX));
        Self {
            out_color: wanted(out.is_terminal()),
            err_color: wanted(err.is_terminal()),
            out: Box::new(out),
            err: Box::new(err),
            interactive,
            width,
            frame: None,
            unwritten: None,
        }
    }

    /// How results are written.
    pub(crate) fn style(&self) -> Style {
        Style { color: self.out_color, width: self.width }
    }

    /// How progress is written.
    pub(crate) fn progress_style(&self) -> Style {
        Style { color: self.err_color, width: self.width }
    }

    /// Whether a frame can be drawn.
    pub(crate) fn interactive(&self) -> bool {
        self.interactive
    }

    /// Writes a result: text that a script may read. A line break is added where the text has none.
    ///
    /// # Errors
    /// As standard output; a closed pipe is one.
    pub(crate) fn result(&mut self, text: &str) -> io::Result<()> {
        self.clear_frame();
        write_whole(&mut *self.out, text)
    }

    /// The same where the exit code says enough: what nobody reads is dropped. What cannot be written for another reason is kept
    /// for [`Printer::unwritten`].
    pub(crate) fn line(&mut self, text: &str) {
        if let Err(error) = self.result(text)
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            self.unwritten.get_or_insert(error);
        }
    }

    /// Why a result could not be written; a pipe that was closed is no reason.
    pub(crate) fn unwritten(&mut self) -> Option<io::Error> {
        self.unwritten.take()
    }

    /// Writes a line about the way there. What cannot be written is dropped: a run never fails
    /// because nobody watches it.
    pub(crate) fn status(&mut self, text: &str) {
        match &self.frame {
            Some(frame) => drop(frame.all.println(render(text))),
            None => drop(write_whole(&mut *self.err, text)),
        }
    }

    /// Writes an error and its hint. Further lines are indented more than any line of a result, so that none of
    /// them, which may hold what an API or a file said, looks like one.
    pub(crate) fn error(&mut self, message: &str, hint: Option<&str>) {
        self.clear_frame();
        let paint = Paint::new(self.err_color);
        let indented = |text: &str| visible(text.trim_end()).replace('\n', "\n    ");
        let mut text = format!("{} {}\n", paint.fail("error:"), indented(message));
        if let Some(hint) = hint {
            text.push_str(&format!("{} {}\n", paint.strong("hint:"), indented(hint)));
        }
        drop(write_whole(&mut *self.err, &text));
    }

    /// Writes what the parser of arguments says, which repeats arguments: further lines are indented as those of an error.
    pub(crate) fn usage_error(&mut self, text: &str) {
        drop(write_whole(&mut *self.err, &visible(text.trim_end()).replace('\n', "\n    ")));
    }

    /// Draws the frame, in place of the one before; nothing where there is no terminal.
    pub(crate) fn frame(&mut self, lines: &[String]) {
        if !self.interactive() {
            return;
        }
        let frame = self.frame.get_or_insert_with(|| Frame {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(FRAME_HZ)),
            lines: Vec::new(),
        });
        let wanted = lines.len().min(FRAME_LINES_MAX);
        while frame.lines.len() > wanted {
            if let Some(line) = frame.lines.pop() {
                line.finish_and_clear();
                frame.all.remove(&line);
            }
        }
        while frame.lines.len() < wanted {
            let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            frame.lines.push(frame.all.add(ProgressBar::new_spinner().with_style(style)));
        }
        for (bar, line) in frame.lines.iter().zip(lines) {
            bar.set_message(render(line).replace('\n', " "));
            bar.tick();
        }
    }

    /// Takes the frame away.
    pub(crate) fn clear_frame(&mut self) {
        if let Some(frame) = self.frame.take() {
            for line in &frame.lines {
                line.finish_and_clear();
            }
            drop(frame.all.clear());
        }
    }
}

/// Writes log lines to standard error, with every control character written out.
#[derive(Clone, Copy)]
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = without_commands(&visible(&String::from_utf8_lossy(bytes)));
        io::stderr().write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.clear_frame();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a printer without a terminal writes to its two streams.
    fn printed(act: impl FnOnce(&mut Printer)) -> (String, String) {
        let (out, err) = (Kept::default(), Kept::default());
        act(&mut Printer {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            out_color: false,
            err_color: false,
            interactive: false,
            width: WIDTH_DEFAULT,
            frame: None,
            unwritten: None,
        });
        let text = |kept: Kept| String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        (text(out), text(err))
    }

    #[test]
    fn results_and_notes_go_apart_and_a_frame_leaves_nothing_where_there_is_no_terminal() {
        let (out, err) = printed(|printer| {
            printer.status("on the way");
            printer.frame(&["▸ inject".to_owned()]);
            printer.line("done");
        });
        assert_eq!((out.as_str(), err.as_str()), ("done\n", "on the way\n"));
    }

    #[test]
    fn only_our_own_colours_reach_the_streams() {
        let evil = "\u{1b}[2J\u{9b}31m\u{7}\u{1b}]8;;http://x\u{1b}\\\u{202e}\u{fdd0}0\u{fdd1}\rPASSED";
        let paint = Paint::new(true);
        let painted = format!("{} {evil}", paint.pass(&format!("ok {evil}")));
        let (out, err) = printed(|printer| {
            printer.line(&painted);
            printer.status(&painted);
            printer.error(evil, Some("a\n✓ PASSED"));
            printer.usage_error(evil);
            printer.usage_error("unexpected argument 'a\nPASSED'\n\nUsage:\n");
        });
        for stream in [&out, &err] {
            let plain = stream.replace("\u{1b}[32m", "").replace("\u{1b}[0m", "");
            assert!(plain.contains("PASSED") && plain.contains("\\x1b[2J"), "{plain:?}");
            assert!(!plain.chars().any(|char| char != '\n' && crate::escape::is_invisible(char)), "{plain:?}");
        }
        assert_eq!(out.matches('\u{1b}').count(), 2, "one colour on and off: {out:?}");
        assert!(err.contains("hint: a\n    ✓ PASSED\n"), "{err}");
        assert!(err.ends_with("unexpected argument 'a\n    PASSED'\n    \n    Usage:\n"), "{err}");
    }

    #[test]
    fn an_error_has_its_hint_under_it() {
        let (out, err) = printed(|printer| printer.error("no such run", Some("firedrill list runs")));
        assert_eq!((out.as_str(), err.as_str()), ("", "error: no such run\nhint: firedrill list runs\n"));
    }
}
