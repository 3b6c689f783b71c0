//! What the faults of a variant must be to each other.

use super::Fault;
use super::mistake::Mistakes;
use super::parse::VariantPart;
use std::mem::discriminant;

/// Checks a variant's faults in their order.
pub(super) fn in_a_row(part: &VariantPart<'_>, mistakes: &mut Mistakes) {
    let mut before: Vec<Fault> = Vec::new();
    for (fault, chosen) in part.faults() {
        let span = || chosen.span.clone();
        let fills = |earlier: &Fault| matches!(earlier, Fault::Fill { .. });
        let is_knob = |one: &Fault| matches!(one, Fault::HoldDetach { .. } | Fault::SlowAttach { .. });
        match &fault {
            Fault::FillStream { .. } if before.iter().any(fills) => mistakes.add_hint(
                span(),
                "a stream is filled after a volume",
                "the last one is undone first, and a stream without space cannot be purged: fill the stream before",
            ),
            Fault::SlowAttach { takes, lasts, .. } if takes >= lasts => {
                mistakes.add(span(), "`takes` is not shorter than `lasts`: attaching is fast again before");
            }
            _ => {}
        }
        // Other pods by name may be the same ones, and what is set last of a volume is all that holds.
        let is_another = |earlier: &Fault| discriminant(earlier) != discriminant(&fault);
        if is_knob(&fault) && before.iter().any(|earlier| is_knob(earlier) && is_another(earlier)) {
            mistakes.add(span(), "the volumes' driver is told something else already");
        }
        before.push(fault);
    }
}
