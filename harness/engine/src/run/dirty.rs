//! Dirty ends on the cluster: how a run that left the cluster changed keeps away runs of machines that have not its files.

use super::journals::Journals;
use super::planned::{RunError, environment};
use crate::port::{Cluster, DirtyEnd, FoundDirtyEnd, Ports, RunMark, shown};
use std::path::Path;

/// Dirty ends, by what this machine's journals say of their runs.
#[derive(Debug, Default)]
pub(super) struct DirtyEnds {
    /// Those of runs whose files are not here.
    pub(super) elsewhere: Vec<DirtyEnd>,
    /// Those that cannot be read, by name, with why.
    pub(super) unread: Vec<(String, String)>,
    /// Runs that are settled: only their record is still there.
    pub(super) settled: Vec<String>,
}

impl DirtyEnds {
    /// Sorts what was found. What a journal here says decides for its run.
    pub(super) fn sort(found: Vec<FoundDirtyEnd>, journals: &Journals) -> Self {
        let mut ends = Self::default();
        for FoundDirtyEnd { name, end } in found {
            match end {
                Err(why) => ends.unread.push((name, why)),
                Ok(end) => match journals.of(&end.run) {
                    None => ends.elsewhere.push(end),
                    Some(saved) if !saved.unsettled => ends.settled.push(end.run),
                    // The journal keeps runs away, until a sweep of this machine settles it.
                    Some(_) => {}
                },
            }
        }
        ends
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.elsewhere.is_empty() && self.unread.is_empty() && self.settled.is_empty()
    }

    /// The dirty ends that this machine cannot settle, a line each with what to do.
    pub(super) fn unsettled(&self) -> Vec<String> {
        let elsewhere = self.elsewhere.iter().map(|end| {
            format!(
                "{end}: sweep there, recreate the cluster, or accept it in the next run with --accept-current-state"
            )
        });
        let unread = self.unread.iter().map(|(name, why)| {
            let (name, why) = (shown(name), shown(why));
            format!("record {name} of a dirty end: {why}: an administrator can delete it after fixing the cluster")
        });
        elsewhere.chain(unread).collect()
    }
}

/// Whether a run may begin in spite of them. Records of runs that this machine has settled are deleted. Returns those that the run
/// takes as they are.
///
/// # Errors
/// Where a run of another machine left the cluster changed and that is not accepted, or the cluster does not answer.
pub(super) async fn check(
    cluster: &dyn Cluster,
    found: Vec<FoundDirtyEnd>,
    journals: &Journals,
    accept: bool,
) -> Result<Vec<DirtyEnd>, RunError> {
    let ends = DirtyEnds::sort(found, journals);
    for run in &ends.settled {
        cluster.delete_dirty_end(run).await.map_err(|error| environment(error.to_string()))?;
    }
    if let Some((name, why)) = ends.unread.first() {
        let message = format!("record {} of a dirty end: {}", shown(name), shown(why));
        let hint = "an administrator can delete it after fixing the cluster".to_owned();
        return Err(RunError::Environment { message, hint: Some(hint), dirty: false });
    }
    match ends.elsewhere.first() {
        Some(first) if !accept => {
            let hint =
                "run `firedrill sweep` there, or accept the current state of the cluster with --accept-current-state"
                    .to_owned();
            Err(RunError::Environment { message: first.to_string(), hint: Some(hint), dirty: false })
        }
        _ => Ok(ends.elsewhere),
    }
}

/// Writes on the cluster that the run of that folder left it changed. `left` may hold secrets. Returns why it is not written.
pub(super) async fn write(
    ports: &Ports,
    mark: &RunMark,
    cluster_uid: &str,
    folder: &Path,
    left: &[String],
) -> Option<String> {
    let redactor = ports.cluster.redactor();
    let left: Vec<String> = left.iter().map(|line| redactor.text(line)).collect();
    let at = ports.clock.wall(ports.clock.now());
    let end = DirtyEnd::new(&mark.run_id, cluster_uid, at, folder, &left);
    let error = ports.cluster.write_dirty_end(mark, &end).await.err()?;
    Some(format!("the record that the cluster is left changed could not be written to the cluster: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(run: &str) -> FoundDirtyEnd {
        let end = DirtyEnd::new(run, "here", "2026-12-01T00:00:00Z".to_owned(), Path::new("/runs/r1"), &[]);
        FoundDirtyEnd { name: format!("dirty-{run}"), end: Ok(end) }
    }

    #[test]
    fn without_the_runs_files_a_dirty_end_says_where_to_sweep() {
        let unread = FoundDirtyEnd { name: "dirty-\u{1b}".to_owned(), end: Err("it cannot be read".to_owned()) };
        let ends = DirtyEnds::sort(vec![end("r1"), unread], &Journals::default());
        assert!(!ends.is_nothing() && ends.settled.is_empty());
        let said = ends.unsettled();
        assert!(
            said[0].starts_with("run r1 was not proven to leave the cluster unchanged (2026-12-01T00:00:00Z): "),
            "{said:?}"
        );
        assert!(said[0].contains(" in /runs/r1): sweep there"), "{said:?}");
        assert!(said[1].contains("it cannot be read") && !said[1].contains('\u{1b}'), "{said:?}");
    }
}
