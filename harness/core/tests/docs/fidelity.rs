//! `docs/fidelity.md`: what each fault is on each provider.

use super::assert_current;

#[test]
fn the_page_of_fidelity_is_current() {
    assert_current("fidelity.md", &firedrill_core::fidelity::page());
}
