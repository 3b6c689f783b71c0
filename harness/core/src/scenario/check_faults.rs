//! What the faults of a variant must be to each other.

use super::Fault;
use super::mistake::Mistakes;
use super::parse::VariantPart;
use std::mem::discriminant;

/// Checks a variant's faults in their order.
pub(super) fn in_a_row(part: &VariantPart<'_>, mistakes: &mut Mistakes) {
    let mut earlier: Vec<Fault> = Vec::new();
    for (fault, chosen) in part.faults() {
        fault.check(chosen, &earlier, mistakes);
        // Other pods by name may be the same ones, and what is set last of a volume is all that holds.
        let is_another = |earlier: &Fault| discriminant(earlier) != discriminant(&fault);
        let overwrites = |earlier: &Fault| earlier.sets_volume_driver() && is_another(earlier);
        if fault.sets_volume_driver() && earlier.iter().any(overwrites) {
            mistakes.add(chosen.span.clone(), "the volumes' driver is told something else already");
        }
        earlier.push(fault);
    }
}
