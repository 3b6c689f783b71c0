//! Panics of this process: a run in which one happened ends, is undone, and is no pass.

use std::collections::VecDeque;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::{Mutex, Once, PoisonError};

/// Messages that are kept.
const KEPT_MAX: usize = 16;

// Without unwinding, a panic ends the process at once, and the fault stays in.
const _: () =
    assert!(cfg!(panic = "unwind"), "firedrill undoes its faults after a panic: build it with panic = \"unwind\"");

static HOOK: Once = Once::new();
static SEEN: Mutex<PanicLog> = Mutex::new(PanicLog { count: 0, last: VecDeque::new() });

struct PanicLog {
    count: u64,
    last: VecDeque<String>,
}

/// The panics of all threads and tasks since a moment: also those of tasks whose end nobody asks for. Cheap to clone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panics {
    before: u64,
}

impl Panics {
    /// Those from now on.
    pub(super) fn from_now() -> Self {
        HOOK.call_once(|| {
            let others = take_hook();
            set_hook(Box::new(move |info| {
                note(told(info));
                others(info);
            }));
        });
        Self { before: SEEN.lock().unwrap_or_else(PoisonError::into_inner).count }
    }

    /// The first of them that is kept, with its place; `None` where there was none.
    pub(super) fn first(&self) -> Option<String> {
        let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let since = usize::try_from(seen.count.saturating_sub(self.before)).unwrap_or(usize::MAX);
        let first = seen.last.len().saturating_sub(since);
        seen.last.get(first).filter(|_| since > 0).map(|text| format!("firedrill panicked: {text}"))
    }
}

fn note(text: String) {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    seen.count += 1;
    seen.last.push_back(text);
    if seen.last.len() > KEPT_MAX {
        seen.last.pop_front();
    }
}

fn told(info: &PanicHookInfo<'_>) -> String {
    let what = info.payload_as_str().unwrap_or("no message");
    match info.location() {
        Some(place) => format!("{what} ({}:{})", place.file(), place.line()),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_a_task_that_nobody_waits_for_is_seen_with_its_place() {
        let panics = Panics::from_now();
        let task = tokio::spawn(async { panic!("a sampler met what it did not expect") });
        assert!(task.await.is_err());
        let all: Vec<String> = SEEN.lock().unwrap_or_else(PoisonError::into_inner).last.iter().cloned().collect();
        assert!(panics.first().unwrap().starts_with("firedrill panicked: "));
        assert!(
            all.iter()
                .any(|text| text.starts_with("a sampler met what it did not expect (") && text.contains("panics.rs:"))
        );
        assert!(Panics { before: panics.before + 1_000_000 }.first().is_none());
    }
}
