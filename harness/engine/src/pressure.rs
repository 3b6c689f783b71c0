//! How short this machine's processors are: probes run on it, and a local cluster's nodes share it.

use std::time::Duration;

/// The kernel's pressure stall information, in `proc(5)`; `Documentation/accounting/psi.rst` in Linux says what it counts.
const FILE: &str = "/proc/pressure/cpu";

/// For how long since the machine started at least one of its tasks waited for a processor; `None` where the kernel does not
/// tell.
pub fn cpu_stalled() -> Option<Duration> {
    stalled(&std::fs::read_to_string(FILE).ok()?)
}

/// The total of `some avg10=0.14 avg60=1.87 avg300=0.85 total=3479934`, which is in microseconds.
fn stalled(told: &str) -> Option<Duration> {
    let some = told.lines().find_map(|line| line.strip_prefix("some "))?;
    let total = some.split(' ').find_map(|word| word.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_some_is_read() {
        let told =
            "some avg10=0.14 avg60=1.87 avg300=0.85 total=3479934\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(stalled(told), Some(Duration::from_micros(3_479_934)));
        assert_eq!(stalled("full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"), None);
        assert_eq!(stalled("some avg10=0.14"), None);
    }
}
