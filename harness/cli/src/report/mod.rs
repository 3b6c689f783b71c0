//! What a run leaves for people and programs. Reports see the types of `firedrill-core` alone.

pub(crate) mod check;
mod describe;
mod html;
pub(crate) mod json;
mod junit;
pub(crate) mod suite;
pub(crate) mod terminal;
pub(crate) mod text;
mod write;

#[cfg(test)]
pub(crate) mod tests;

use write::ReportError;
pub(crate) use write::write_all;
