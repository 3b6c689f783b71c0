//! What the journals of saved runs say is left.

use super::before;
use crate::port::Store;
use firedrill_core::event::{Event, Undo};
use firedrill_core::journal::Journal;
use firedrill_core::listing::first_of;
use firedrill_core::scenario::Irreversible;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// In a dead run's folder: what a sweep did, once nothing of the run was left.
const SWEPT_FILE: &str = "swept.txt";
/// In a run's folder, once a sweep saw the cluster as before that run.
const SETTLED_FILE: &str = "settled.txt";
/// In a run's folder, once a later run was told to take the cluster as that run had left it.
const ACCEPTED_FILE: &str = "accepted.txt";
/// How many differences are named where a run's end is told in one line.
const DIFFERENCES_SHOWN_MAX: usize = 3;

/// A saved run on the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SavedRun {
    pub(super) run_id: String,
    pub(super) folder: PathBuf,
    /// When it began, on the wall clock.
    began: String,
    /// Its undos that were not carried out, the last first, and those that were in vain.
    pub(super) open: Vec<Undo>,
    /// Its undos that were carried out.
    pub(super) done: Vec<Undo>,
    /// Whether it could change the cluster, and since then no sweep saw the cluster as before it, and nobody accepted what
    /// it left.
    pub(super) unsettled: bool,
    /// How it ended, in one line.
    pub(super) ending: String,
    /// What it is said to leave.
    pub(super) irreversible: Option<Irreversible>,
}

/// The saved runs of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Journals {
    /// Those on the cluster, by when they began.
    pub(super) runs: Vec<SavedRun>,
    /// Those that cannot be read, by name, with why: on which cluster they were is not known.
    pub(super) unread: Vec<(String, String)>,
}

impl Journals {
    /// Reads those in a folder that were on the cluster of this UID.
    pub(super) fn read(store: &dyn Store, folder: &Path, cluster: &str) -> Self {
        let mut journals = Self::default();
        let entries = match store.list(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return journals,
            Err(error) => {
                journals.unread.push((String::new(), format!("{}: {error}", folder.display())));
                return journals;
            }
        };
        for entry in entries {
            match one(store, &entry, cluster) {
                Ok(Some(saved)) => journals.runs.push(saved),
                Ok(None) => {}
                Err(error) => {
                    let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    journals.unread.push((name, format!("{}: {error}", entry.display())));
                }
            }
        }
        journals.runs.sort_by(|a, b| a.began.cmp(&b.began));
        journals.unread.sort();
        journals
    }

    /// The run of that name.
    pub(super) fn of(&self, run_id: &str) -> Option<&SavedRun> {
        self.runs.iter().find(|saved| saved.run_id == run_id)
    }

    /// The runs that are unsettled, by when they began. What the cluster was before the first of them is what it has to be
    /// again: a later one may have taken what the first had left for its own "before", so that its pass settles nothing.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = &SavedRun> {
        self.runs.iter().filter(|saved| saved.unsettled)
    }

    /// What may differ for good, from what the cluster was before this run: what it and all later ones are said to leave.
    pub(super) fn irreversible_since(&self, first: &SavedRun) -> Option<Irreversible> {
        self.runs.iter().filter(|saved| saved.began >= first.began).find_map(|saved| saved.irreversible)
    }
}

/// Notes in a dead run's folder that nothing of it is left. Its journal stays as it ended.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn note_swept(store: &dyn Store, folder: &Path, done: &[String]) -> Result<(), String> {
    note(store, folder, SWEPT_FILE, &(done.join("\n") + "\n"))
}

/// Notes in a run's folder that the cluster was seen as before it.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn note_settled(store: &dyn Store, folder: &Path) -> Result<(), String> {
    note(store, folder, SETTLED_FILE, "the cluster matches the snapshot taken before the run\n")?;
    before::forget_key(store, folder)
}

/// Notes in a run's folder that a later run takes the cluster as this one left it.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn note_accepted(store: &dyn Store, folder: &Path, by: &str) -> Result<(), String> {
    note(store, folder, ACCEPTED_FILE, &format!("run {by} accepted the cluster as this run had left it\n"))?;
    before::forget_key(store, folder)
}

/// On disk when it returns: a run that is taken for settled must stay so.
fn note(store: &dyn Store, folder: &Path, file: &str, text: &str) -> Result<(), String> {
    let path = folder.join(file);
    store.replace(&path, text.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))
}

fn one(store: &dyn Store, folder: &Path, cluster: &str) -> Result<Option<SavedRun>, String> {
    let text = match store.read_to_string(&folder.join("events.jsonl")) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let has = |file: &str| store.exists(&folder.join(file));
    let [swept, settled, accepted] = [SWEPT_FILE, SETTLED_FILE, ACCEPTED_FILE].map(has);
    // What somebody accepted must not be undone over what was built on it.
    let closed = accepted || (swept && settled);
    // Of one that is closed, nothing matters but when it began.
    let first = || text.split_inclusive('\n').next().unwrap_or_default();
    let journal = match Journal::parse(if closed { first() } else { &text }) {
        Ok(journal) => journal,
        Err(_) if swept || closed => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let start = journal.start().map_err(|error| error.to_string())?;
    if start.cluster.uid != cluster {
        return Ok(None);
    }
    let began = journal.records.first().map(|record| record.wall.clone()).unwrap_or_default();
    let variant = start.scenario.variants.get(&start.plan.variant);
    let (mut open, mut done, vain) = undos(&journal);
    let settled = settled || accepted;
    let unsettled = before::was_kept(store, folder) && !settled && !(open.is_empty() && is_settled(&journal));
    if settled {
        // What was undone in vain was out when the cluster was seen as before.
        open.retain(|undo| !vain.contains(undo));
        done.extend(vain);
    }
    if swept {
        open.clear();
    }
    Ok(Some(SavedRun {
        run_id: start.plan.run_id.clone(),
        folder: folder.to_owned(),
        began,
        ending: ending(&journal, &open),
        open,
        done,
        unsettled,
        irreversible: variant.and_then(|variant| variant.irreversible),
    }))
}

/// Whether the run itself saw the cluster as before.
fn is_settled(journal: &Journal) -> bool {
    let last = journal.records.iter().rev().find_map(|record| match &record.event {
        Event::CleanChecked { made, gone, differences, still_faulty, .. } => {
            Some(made == gone && differences.is_empty() && still_faulty.is_empty())
        }
        _ => None,
    });
    last == Some(true)
}

/// How a run ended, in one line.
fn ending(journal: &Journal, open: &[Undo]) -> String {
    let last = journal.records.iter().rev().find_map(|record| match &record.event {
        Event::CleanChecked { differences, still_faulty, .. } => Some(still_faulty.iter().chain(differences)),
        _ => None,
    });
    let Some(differs) = last else {
        return "it ended before it compared the cluster with the snapshot taken before it".to_owned();
    };
    let what: Vec<String> = open.iter().map(|undo| format!("not undone: {undo}")).chain(differs.cloned()).collect();
    first_of(&what, DIFFERENCES_SHOWN_MAX)
}

/// The undos that are open, those that are done, and of those that are open those that were done in vain.
fn undos(journal: &Journal) -> (Vec<Undo>, Vec<Undo>, Vec<Undo>) {
    let mut open: BTreeMap<u32, Undo> = BTreeMap::new();
    let (mut done, mut vain): (Vec<(u32, Undo)>, Vec<Undo>) = (Vec::new(), Vec::new());
    for record in &journal.records {
        match &record.event {
            Event::UndoRecorded { id, undo } => {
                open.insert(*id, undo.clone());
            }
            Event::Undone { id, error: None, .. } => {
                done.extend(open.remove(id).map(|undo| (*id, undo)));
            }
            Event::CleanChecked { still_faulty, .. } => {
                let still = |undo: &Undo| undo.is_of_a_fault() && still_faulty.iter().any(|line| is_about(line, undo));
                for (id, undo) in done.extract_if(.., |(_, undo)| still(undo)) {
                    vain.push(undo.clone());
                    open.insert(id, undo);
                }
            }
            _ => {}
        }
    }
    (open.into_values().rev().collect(), done.into_iter().map(|(_, undo)| undo).collect(), vain)
}

/// Whether a line about a fault that is still in is about that undo: it is the undo in words, and why after a colon.
fn is_about(line: &str, undo: &Undo) -> bool {
    let rest = line.strip_prefix(&undo.to_string());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
}

#[cfg(test)]
mod tests {
    use super::super::before::Before;
    use super::super::fake;
    use super::super::recorder::Recorder;
    use super::*;
    use crate::clock::Clock;
    use crate::world::Files;
    use firedrill_core::event::{ClusterInfo, JOURNAL_VERSION, PowerOnUndo, RunStarted};
    use firedrill_core::plan::Plan;
    use firedrill_core::scenario::{Scenario, parse};

    fn scenario() -> Scenario {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/postgres-primary-down");
        let read = |file: &str| std::fs::read_to_string(folder.join(file));
        parse("postgres-primary-down", ("scenario.toml", &read("scenario.toml").unwrap()), read, &fake::stack())
            .unwrap()
    }

    /// A saved run on the cluster `here` that recorded this.
    fn saved(runs: &Path, run_id: &str, events: Vec<Event>) -> PathBuf {
        // The wall clock of journals has milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(3));
        let folder = runs.join(run_id);
        std::fs::create_dir_all(&folder).unwrap();
        let (progress, _seen) = tokio::sync::mpsc::channel(8);
        let recorder = Recorder::create(&Files, &folder.join("events.jsonl"), Clock::start(), progress).unwrap();
        let text = |text: &str| text.to_owned();
        let plan = Plan {
            run_id: text(run_id),
            scenario: text("postgres-primary-down"),
            variant: text("pod"),
            seed: 1,
            faults: Vec::new(),
            series: Vec::new(),
            phases: Vec::new(),
            expires_after: std::time::Duration::from_secs(1),
        };
        let cluster =
            ClusterInfo { name: text("c"), provider: text("kind"), uid: text("here"), version: text("1"), nodes: 4 };
        let (journal_version, firedrill) = (JOURNAL_VERSION, text("0"));
        let start = RunStarted {
            journal_version,
            firedrill,
            plan,
            scenario: scenario(),
            noop: false,
            cluster,
            page_cache: None,
            flags: BTreeMap::new(),
        };
        recorder.record(Event::RunStarted(Box::new(start)));
        for event in events {
            recorder.record(event);
        }
        folder
    }

    fn checked(differences: &[&str]) -> Event {
        let differences = differences.iter().map(|text| (*text).to_owned()).collect();
        let (still_faulty, residue) = (Vec::new(), Vec::new());
        Event::CleanChecked { made: 1, gone: 1, differences, still_faulty, residue }
    }

    fn power_on(node: &str) -> Undo {
        Undo::PowerOn(PowerOnUndo { node: node.to_owned(), container: None })
    }

    #[test]
    fn a_run_is_unsettled_until_the_cluster_was_seen_as_before_it() {
        let runs = tempfile::tempdir().unwrap();
        let all = || -> Vec<String> {
            Journals::read(&Files, runs.path(), "here").unsettled().map(|saved| saved.run_id.clone()).collect()
        };
        let unsettled = || all().first().cloned();
        let first = saved(runs.path(), "z-first", vec![checked(&["Deployment n/a: 2 of 3 ready, was 3 of 3 ready"])]);
        assert_eq!(unsettled(), None, "it ended before it could change anything");
        before::keep(&Files, &first, &Before::empty()).unwrap();
        assert_eq!(unsettled().as_deref(), Some("z-first"));
        saved(runs.path(), "b-refused", Vec::new());
        assert_eq!(unsettled().as_deref(), Some("z-first"), "a run that was refused changes nothing");
        note_swept(&Files, &first, &[]).unwrap();
        assert_eq!(unsettled().as_deref(), Some("z-first"), "that all is undone is not that it is as before");
        note_settled(&Files, &first).unwrap();
        assert_eq!(unsettled(), None);
        let second = saved(runs.path(), "a-second", Vec::new());
        before::keep(&Files, &second, &Before::empty()).unwrap();
        assert_eq!(unsettled().as_deref(), Some("a-second"), "one that was killed did not look");
        let third = saved(runs.path(), "m-third", vec![checked(&[])]);
        before::keep(&Files, &third, &Before::empty()).unwrap();
        assert_eq!(
            all(),
            ["a-second"],
            "the third took what the second left for its own before, so its pass settles nothing"
        );
        let fourth = saved(runs.path(), "c-fourth", Vec::new());
        before::keep(&Files, &fourth, &Before::empty()).unwrap();
        assert_eq!(all(), ["a-second", "c-fourth"], "the first of them says what the cluster has to be again");
        note_accepted(&Files, &second, "c-fourth").unwrap();
        assert_eq!(all(), ["c-fourth"]);
        assert!(Journals::read(&Files, runs.path(), "elsewhere").runs.is_empty());
    }

    #[test]
    fn what_was_accepted_is_not_undone_any_more() {
        let runs = tempfile::tempdir().unwrap();
        let folder = saved(runs.path(), "r", vec![Event::UndoRecorded { id: 0, undo: power_on("a") }]);
        before::keep(&Files, &folder, &Before::empty()).unwrap();
        let read = || Journals::read(&Files, runs.path(), "here");
        assert_eq!(read().of("r").unwrap().open, [power_on("a")]);
        assert_eq!(
            read().of("r").unwrap().ending,
            "it ended before it compared the cluster with the snapshot taken before it"
        );
        note_accepted(&Files, &folder, "later").unwrap();
        assert!(read().of("r").unwrap().open.is_empty() && read().unsettled().next().is_none());
    }

    #[test]
    fn what_was_undone_is_told_apart_and_what_cannot_be_read_is_told() {
        let runs = tempfile::tempdir().unwrap();
        let undos = vec![
            Event::UndoRecorded { id: 0, undo: power_on("a") },
            Event::UndoRecorded { id: 1, undo: power_on("b") },
            Event::UndoRecorded { id: 2, undo: power_on("c") },
            Event::Undone { id: 0, error: None, finish_with: None },
            Event::Undone { id: 1, error: Some("no answer".to_owned()), finish_with: None },
        ];
        let folder = saved(runs.path(), "r", undos);
        std::fs::create_dir(runs.path().join("broken")).unwrap();
        std::fs::write(runs.path().join("broken/events.jsonl"), "{}\n{}\n").unwrap();
        let journals = Journals::read(&Files, runs.path(), "here");
        let run = journals.of("r").unwrap();
        assert_eq!((&run.open, &run.done), (&vec![power_on("c"), power_on("b")], &vec![power_on("a")]));
        assert_eq!(journals.unread.len(), 1);
        assert_eq!(journals.unread[0].0, "broken");
        assert!(journals.unread[0].1.contains("broken: line 1 of the journal"), "{}", journals.unread[0].1);
        note_swept(&Files, &folder, &[]).unwrap();
        assert!(Journals::read(&Files, runs.path(), "here").of("r").unwrap().open.is_empty());
    }

    #[test]
    fn what_was_undone_in_vain_is_undone_again_until_the_run_is_settled() {
        let runs = tempfile::tempdir().unwrap();
        let still_faulty = vec!["power on node a: no answer".to_owned()];
        let folder = saved(
            runs.path(),
            "r",
            vec![
                Event::UndoRecorded { id: 0, undo: power_on("a") },
                Event::UndoRecorded { id: 1, undo: power_on("b") },
                Event::Undone { id: 1, error: None, finish_with: None },
                Event::Undone { id: 0, error: None, finish_with: None },
                Event::CleanChecked { made: 1, gone: 1, differences: Vec::new(), still_faulty, residue: Vec::new() },
            ],
        );
        before::keep(&Files, &folder, &Before::empty()).unwrap();
        let of = |open: &[Undo], done: &[Undo]| {
            let journals = Journals::read(&Files, runs.path(), "here");
            let run = journals.of("r").unwrap();
            assert_eq!((run.open.as_slice(), run.done.as_slice()), (open, done));
        };
        of(&[power_on("a")], &[power_on("b")]);
        let later = saved(runs.path(), "later", vec![checked(&[])]);
        before::keep(&Files, &later, &Before::empty()).unwrap();
        of(&[power_on("a")], &[power_on("b")]);
        note_settled(&Files, &folder).unwrap();
        of(&[], &[power_on("b"), power_on("a")]);
    }
}
