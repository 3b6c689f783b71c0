//! Moments and durations of a run.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A moment on the run's clock, in microseconds since the run's origin. The clock never goes back, and goes on while the
/// machine is suspended.
///
/// Wall-clock time is kept beside it for people only; durations are differences of `At`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct At(pub u64);

impl At {
    /// The moment `ms` milliseconds after the origin.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1_000)
    }

    /// The time from `earlier` to this moment; zero where `earlier` is not earlier.
    pub fn since(self, earlier: At) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This moment later by `by`.
    pub fn plus(self, by: Duration) -> At {
        At(self.0.saturating_add(micros(by)))
    }

    /// Milliseconds since the origin.
    pub fn ms(self) -> f64 {
        self.0 as f64 / 1_000.0
    }
}

/// `duration` in whole microseconds, saturating.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// `duration` in milliseconds.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Reads a duration as scenarios write it: `500ms`, `30s`, `2m`, `1m30s`, `1h`. A bare number is refused.
///
/// # Errors
/// Says what is wrong with the text, as a lower-case fragment.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("empty duration".to_owned());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| format!("`{text}` is not a duration"))?;
        let part = match unit {
            "us" => Some(Duration::from_micros(number)),
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3_600).map(Duration::from_secs),
            "" => return Err(format!("`{text}` has no unit")),
            _ => return Err(format!("`{unit}` is not a unit of time")),
        };
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(|| format!("`{text}` is too long"))?;
        rest = next;
    }
    Ok(total)
}

/// Writes a duration for people: `0.42 s`, `31.5 s`, `2 m 05 s`, `18 ms`.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 120.0 {
        let whole = seconds.round() as u64;
        format!("{} m {:02} s", whole / 60, whole % 60)
    } else if seconds >= 9.995 {
        format!("{seconds:.1} s")
    } else if seconds >= 0.1 || duration.is_zero() {
        format!("{seconds:.2} s")
    } else {
        format!("{:.1} ms", seconds * 1_000.0)
    }
}

/// Serde for a duration in milliseconds, as the journal and the verdict hold them.
pub mod as_ms {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    /// Writes whole milliseconds.
    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// Reads whole milliseconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

/// Serde for an optional duration in milliseconds.
pub mod as_ms_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::Duration;

    /// Writes whole milliseconds, or null.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        duration.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)).serialize(to)
    }

    /// Reads whole milliseconds, or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(parse_duration("30"), Err("`30` has no unit".to_owned()));
        assert_eq!(parse_duration("3 s").unwrap_err(), "` s` is not a unit of time");
        assert_eq!(parse_duration("").unwrap_err(), "empty duration");
        assert!(parse_duration("99999999999999999999h").is_err());
        assert!(parse_duration("18446744073709551615s1s").is_err());
    }

    #[test]
    fn durations_print_for_people() {
        let shown: Vec<_> = [0, 18, 420, 31_520, 125_000].map(|ms| human(Duration::from_millis(ms))).into();
        assert_eq!(shown, ["0.00 s", "18.0 ms", "0.42 s", "31.5 s", "2 m 05 s"]);
    }
}
