//! Stacks: the releases under test, and what scenarios may leave to their stack.
//!
//! [`parse()`] reads a `stack.toml` and returns either a [`Stack`] without mistakes or all of its mistakes.

mod format;
mod model;
mod parse;

pub use model::*;
pub use parse::{parse, schema};

use format::{TEMPLATE, VALUE};
