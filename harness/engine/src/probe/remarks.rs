//! What a cause and its code leave out, for people: where a redirect leads, what a server said.

use super::endpoint::redacted;
use firedrill_core::sample::{Cause, SeriesId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Remarks that are kept.
const REMARKS_MAX: usize = 256;
/// Letters of one.
const LETTERS_MAX: usize = 200;

/// One remark for each series, cause and code. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Remarks(Arc<Mutex<BTreeMap<Remarked, String>>>);

/// What a remark is on.
type Remarked = (SeriesId, Cause, u16);

impl Remarks {
    /// The remark on the failures of a series with this cause and code.
    pub fn on(&self, series: SeriesId, cause: Cause, code: u16) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(series, cause, code)).cloned()
    }
}

/// The remarks of one series.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    remarks: Remarks,
    series: SeriesId,
}

impl Notes {
    pub(super) fn new(remarks: &Remarks, series: SeriesId) -> Self {
        Self { remarks: remarks.clone(), series }
    }

    /// Keeps a remark where there is none yet. The text may come from a stranger: it is cut and escaped.
    pub(super) fn remark(&self, cause: Cause, code: u16, text: impl FnOnce() -> String) {
        let mut all = self.remarks.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.series, cause, code);
        if all.len() < REMARKS_MAX && !all.contains_key(&key) {
            all.insert(key, plain(&text()));
        }
    }
}

/// A stranger's text in one line without control characters.
pub(super) fn plain(text: &str) -> String {
    let mut shown: String = text.chars().take(LETTERS_MAX).flat_map(printable).collect();
    if text.chars().nth(LETTERS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Letters outside of ASCII may turn the direction of a line or look like nothing: they are escaped as well.
fn printable(letter: char) -> Box<dyn Iterator<Item = char>> {
    match letter {
        ' '..='~' => Box::new(std::iter::once(letter)),
        _ => Box::new(letter.escape_unicode()),
    }
}

/// Where a redirect leads, as a remark.
pub(super) fn redirect(status: u16, location: &[u8]) -> String {
    format!("redirect {status} to {} (not followed)", redacted(&String::from_utf8_lossy(location)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_is_shown_in_one_line() {
        assert_eq!(plain("a\x1b[2Jb\nc\u{202e}"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}");
        assert_eq!(plain(&"x".repeat(300)).chars().count(), 201);
        assert_eq!(
            redirect(302, b"https://u:secret@h/x?token=y"),
            "redirect 302 to https://***@h/x?*** (not followed)"
        );
    }

    #[test]
    fn the_first_remark_counts_and_their_number_is_bounded() {
        let remarks = Remarks::default();
        let notes = Notes::new(&remarks, 3);
        for code in 0..1_000 {
            notes.remark(Cause::Status, code, || format!("first {code}"));
        }
        notes.remark(Cause::Status, 7, || "second".to_owned());
        assert_eq!(remarks.on(3, Cause::Status, 7).as_deref(), Some("first 7"));
        assert_eq!(remarks.on(2, Cause::Status, 7), None);
        assert_eq!(remarks.on(3, Cause::Status, 999), None);
    }
}
