//! Writes a run's reports into its folder.

use super::html::html;
use super::json::verdict_json;
use super::junit::junit;
use firedrill_core::journal::Journal;
use firedrill_core::sample::SampleReader;
use firedrill_core::verdict::Verdict;
use firedrill_engine::files;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a report could not be made.
#[derive(Debug, Error)]
pub(crate) enum ReportError {
    /// A file could not be written or read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The samples could not be read to the end.
    #[error("the samples cannot be read: {0}")]
    Samples(io::Error),
    /// The verdict has no JUnit form.
    #[error("the verdict cannot be written as JUnit XML: {0}")]
    Junit(#[from] quick_junit::SerializeError),
    /// The page could not be filled.
    #[error("the page cannot be filled: {0:#}")]
    Page(#[from] minijinja::Error),
    /// A run's verdict could not be read.
    #[error("{}: {source}", path.display())]
    Verdict {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The journal has no start.
    #[error(transparent)]
    Journal(#[from] firedrill_core::journal::JournalError),
}

/// Writes `verdict.json`, `junit.xml` and `report.html` into `dir`, each whole or not at all. A run that ended before
/// anything was measured has no samples file; the page then says so.
///
/// # Errors
/// Where a file cannot be read or written, or holds what no run writes. Files written before that stay.
pub(crate) fn write_all(dir: &Path, verdict: &Verdict, journal: &Journal, samples: &Path) -> Result<(), ReportError> {
    put(dir, "verdict.json", &(verdict_json(verdict) + "\n"))?;
    put(dir, "junit.xml", &junit(verdict)?)?;
    let page = match File::open(samples) {
        Ok(file) => html(verdict, journal, Some(SampleReader::new(file).map_err(ReportError::Samples)?))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => html::<File>(verdict, journal, None)?,
        Err(source) => return Err(ReportError::File { path: samples.to_owned(), source }),
    };
    put(dir, "report.html", &page)
}

/// Writes a file beside its place and moves it there, so that a reader never sees half of it.
pub(super) fn put(dir: &Path, name: &str, text: &str) -> Result<(), ReportError> {
    let path = dir.join(name);
    files::replace(&path, text.as_bytes()).map_err(|source| ReportError::File { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::drill::drill;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn reports_are_for_nobody_else() {
        let place = tempfile::tempdir().unwrap();
        let (folder, samples) = (place.path().join("r1"), place.path().join("samples.bin"));
        files::create_dir_all(&folder).unwrap();
        let drill = drill("");
        files::write(&samples, &drill.samples).unwrap();
        write_all(&folder, &drill.verdict(), &drill.journal, &samples).unwrap();
        // Again, over what an older version left open to all.
        let report = folder.join("report.html");
        std::fs::set_permissions(&report, std::fs::Permissions::from_mode(0o644)).unwrap();
        write_all(&folder, &drill.verdict(), &drill.journal, &samples).unwrap();
        let paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let open = paths.iter().filter(|path| path.metadata().unwrap().permissions().mode() & 0o777 != 0o600);
        assert_eq!(open.collect::<Vec<_>>(), Vec::<&PathBuf>::new());
        assert_eq!(paths.len(), 3, "{paths:?}");
    }
}
