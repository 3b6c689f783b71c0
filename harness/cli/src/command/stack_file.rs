//! The stack that a command is about, read from its definition.

use super::common::read_text;
use crate::args::StackFile;
use crate::diagnostics;
use crate::error::CliError;
use firedrill_core::stack::{self, Stack};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file of a stack in its folder.
const STACK_FILE: &str = "stack.toml";

/// A stack's definition, and the folder that its paths begin at.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) stack: Arc<Stack>,
    pub(crate) folder: PathBuf,
}

impl Definition {
    /// Reads and checks a stack's file.
    ///
    /// # Errors
    /// With every mistake of it at once.
    pub(crate) fn load(named: &StackFile) -> Result<Self, CliError> {
        let path = if named.path.is_dir() { named.path.join(STACK_FILE) } else { named.path.clone() };
        let shown = path.display().to_string();
        let text = read_text(&path).map_err(|error| {
            CliError::input(format!("{shown}: {error}"))
                .with_hint("run from the repository's root, or name the stack's file with --stack")
        })?;
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        // `.` has no name of its own.
        let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name = whole.file_name().map_or_else(|| "stack".to_owned(), |name| name.to_string_lossy().into_owned());
        let stack = stack::parse(&name, (&shown, &text))
            .map_err(|mistakes| CliError::input(diagnostics::render(&mistakes, &shown, &text, |_| None)))?;
        Ok(Self { stack: Arc::new(stack), folder: folder.to_owned() })
    }

    /// The chart: the one that the user named, or the stack's own.
    pub(crate) fn chart(&self, named: Option<&Path>) -> PathBuf {
        named.map_or_else(|| self.folder.join(&self.stack.chart), Path::to_owned)
    }
}
