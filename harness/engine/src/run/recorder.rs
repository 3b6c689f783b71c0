//! The journal's writer: the first reporter of everything that happens.

use crate::clock::Clock;
use crate::planted::{self, Bug};
use crate::port::{Appender, Redactor, Store};
use firedrill_core::event::{Event, Record};
use firedrill_core::live::Live;
use firedrill_core::time::At;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// What a reporter gets while a run is under way.
#[derive(Clone, Debug)]
pub enum Progress {
    /// A record, after it is in the journal.
    Record(Box<Record>),
    /// The state a few times a second; one that finds the queue full is dropped.
    Live(Live),
    /// What is waited for before there is a journal.
    Waiting(String),
}

impl Inner {
    /// Nothing follows what could not be written whole: the file ends where it broke, and is readable up to there.
    fn write(&mut self, record: &Record, durably: bool) -> io::Result<()> {
        if self.broken.is_some() {
            return Ok(());
        }
        let mut line = serde_json::to_vec(record).map_err(io::Error::other)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        if durably { self.file.sync() } else { Ok(()) }
    }
}

/// Writes the journal. Cheap to clone; records of all clones share one sequence.
#[derive(Clone)]
pub struct Recorder {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
    progress: mpsc::Sender<Progress>,
    /// Takes secrets out of everything before it is written or shown.
    redactor: Arc<Redactor>,
}

struct Inner {
    file: Box<dyn Appender>,
    next_seq: u64,
    last_at: At,
    /// The first failure to write: from then on the journal is not to be trusted, and the run must end.
    broken: Option<String>,
}

impl Recorder {
    /// Makes the journal's file, which must not exist. It is there after a crash of the machine, too.
    ///
    /// # Errors
    /// As the file system.
    pub fn create(store: &dyn Store, path: &Path, clock: Clock, progress: mpsc::Sender<Progress>) -> io::Result<Self> {
        Ok(Self::into_file(store.create(path)?, clock, progress))
    }

    fn into_file(file: Box<dyn Appender>, clock: Clock, progress: mpsc::Sender<Progress>) -> Self {
        let inner = Inner { file, next_seq: 0, last_at: At(0), broken: None };
        Self { clock, inner: Arc::new(Mutex::new(inner)), progress, redactor: Arc::default() }
    }

    /// The same, with the secrets that this one knows taken out of everything, beside what looks like a credential.
    #[must_use]
    pub fn redacting(self, redactor: Arc<Redactor>) -> Self {
        Self { redactor, ..self }
    }

    /// The run's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Records an event. It is with the operating system when this returns, so a killed runner loses nothing.
    pub fn record(&self, event: Event) {
        self.write(event, false);
    }

    /// Records an event and waits until it is on disk: for what must be known before the next act.
    ///
    /// # Errors
    /// Where it could not be written; then the act must not follow.
    pub fn record_durably(&self, event: Event) -> Result<(), String> {
        self.write(event, true);
        if planted::has(Bug::BrokenJournalIgnored) {
            return Ok(());
        }
        match &self.lock().broken {
            Some(reason) => Err(format!("the journal cannot be written: {reason}")),
            None => Ok(()),
        }
    }

    /// Why the journal cannot be written, once that happened.
    pub fn broken(&self) -> Option<String> {
        self.lock().broken.clone().filter(|_| !planted::has(Bug::BrokenJournalIgnored))
    }

    /// Tells the reporter how things stand; dropped where it is behind.
    pub fn live(&self, mut live: Live) {
        self.redactor.clean(&mut live.doing);
        let _ = self.progress.try_send(Progress::Live(live));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, mut event: Event, durably: bool) {
        self.redactor.event(&mut event);
        let record = {
            let mut inner = self.lock();
            // Taken under the lock, so that records are in the order of their times.
            let at = self.clock.now().max(inner.last_at);
            let record = Record { seq: inner.next_seq, at, wall: self.clock.wall(at), event };
            let written = inner.write(&record, durably);
            inner.next_seq += 1;
            inner.last_at = at;
            if let Err(error) = written {
                inner.broken.get_or_insert(error.to_string());
            }
            record
        };
        // The reporter is for people: a slow terminal never holds up a run. Its queue is far longer than a run's records.
        let _ = self.progress.try_send(Progress::Record(Box::new(record)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use crate::world::Files;
    use firedrill_core::journal::{Journal, JournalError};
    use std::fs::File;

    #[test]
    fn records_are_numbered_and_ordered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let (progress, mut seen) = mpsc::channel(2);
        let recorder = Recorder::create(&Files, &path, Clock::start(), progress).unwrap();
        for text in ["one", "two", "three"] {
            recorder.record_durably(Event::Note { text: text.to_owned() }).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let records: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.iter().map(|r| r.seq).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(records.is_sorted_by_key(|r| r.at));
        assert!(matches!(Journal::parse(&text), Err(JournalError::NoStart)));
        assert!(matches!(seen.try_recv(), Ok(Progress::Record(_))));
        assert!(Recorder::create(&Files, &path, Clock::start(), mpsc::channel(1).0).is_err());
    }

    #[tokio::test]
    async fn what_a_run_keeps_is_for_nobody_else() {
        use crate::run::{before, board::Board, journals};
        use std::os::unix::fs::PermissionsExt;
        // Under the usual umask; a stricter one of who runs this test would hide what is wrong.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("runs/r1");
        files::create_dir_all(&folder).unwrap();
        let recorder =
            Recorder::create(&Files, &folder.join("events.jsonl"), Clock::start(), mpsc::channel(1).0).unwrap();
        recorder.record(Event::Note { text: "one".to_owned() });
        drop(Board::open(&Files, &folder.join("samples.bin"), &[], std::time::Duration::ZERO).unwrap());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        before::keep(&Files, &folder, &before::Before::empty()).unwrap();
        assert_eq!(mode(&folder.join("before.key")), 0o600, "it goes once the run is settled");
        journals::note_settled(&Files, &folder).unwrap();
        journals::note_swept(&Files, &folder, &[]).unwrap();
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            names.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
        names.sort();
        assert_eq!(names, ["before.json", "events.jsonl", "samples.bin", "settled.txt", "swept.txt"]);
        assert_eq!([mode(&folder), mode(folder.parent().unwrap())], [0o700; 2]);
    }

    #[test]
    fn secrets_reach_neither_the_journal_nor_the_reporter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let (progress, mut seen) = mpsc::channel(8);
        let redactor = Arc::new(Redactor::default());
        redactor.register("password of Secret a/b", "correct-horse");
        let recorder = Recorder::create(&Files, &path, Clock::start(), progress).unwrap().redacting(redactor);
        let said = "psql: correct-horse\nY29ycmVjdC1ob3JzZQ==\nPGPASSWORD=hunter2".to_owned();
        recorder.record(Event::StepEnded {
            step: 1,
            correction: false,
            end: firedrill_core::event::StepEnd::WrongOutput { exit: 0, expected: "correct-horse".to_owned() },
            stdout: said.clone(),
            stderr: said.clone(),
        });
        recorder.record(Event::StepStarted {
            step: 2,
            section: "s".to_owned(),
            line: 1,
            command: "kubectl exec -- psql postgres://app:correct-horse@db/app --token=hunter2".to_owned(),
            correction: false,
            deadline: std::time::Duration::from_secs(1),
        });
        recorder.record(Event::Note { text: said });
        let journal = std::fs::read_to_string(&path).unwrap();
        let shown = format!("{:?}{:?}{:?}", seen.try_recv(), seen.try_recv(), seen.try_recv());
        for text in [&journal, &shown] {
            assert!(text.contains("[redacted: password of Secret a/b]"), "{text}");
            for secret in ["correct-horse", "Y29ycmVjdC1ob3JzZQ", "hunter2"] {
                assert!(!text.contains(secret), "{secret}: {text}");
            }
        }
    }

    #[test]
    fn on_a_full_disk_the_act_must_not_follow_and_people_are_told_all_the_same() {
        let full = File::options().append(true).open("/dev/full").unwrap();
        let (progress, mut seen) = mpsc::channel(4);
        let recorder = Recorder::into_file(Box::new(full), Clock::start(), progress);
        recorder.record(Event::Note { text: "one".to_owned() });
        assert!(recorder.broken().is_some_and(|reason| reason.contains("No space left")));
        let refused = recorder.record_durably(Event::Note { text: "two".to_owned() });
        assert!(refused.is_err_and(|reason| reason.contains("the journal cannot be written")));
        assert!(matches!(seen.try_recv(), Ok(Progress::Record(_))));
        assert!(matches!(seen.try_recv(), Ok(Progress::Record(_))));
    }
}
