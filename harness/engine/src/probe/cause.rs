//! From the errors of sockets and clients to the causes of failed attempts.

use firedrill_core::sample::Cause;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Why.
    pub(crate) cause: Cause,
    /// HTTP status, JetStream error code or PostgreSQL error class; 0 where there is none.
    pub(crate) code: u16,
    /// The service said that it did not do it, so that a write was certainly not applied.
    pub(crate) refused: bool,
}

impl Failure {
    /// A failure that leaves open whether a write was applied.
    pub(crate) fn of(cause: Cause) -> Self {
        Self { cause, code: 0, refused: false }
    }

    /// A failure with a code.
    pub(crate) fn coded(cause: Cause, code: u16) -> Self {
        Self { cause, code, refused: false }
    }

    /// The same, but the service said that it did not do it.
    pub(crate) fn refused(self) -> Self {
        Self { refused: true, ..self }
    }
}

/// Set just before the first byte of a write may leave: a failure before that cannot have applied it.
#[derive(Debug, Default)]
pub(crate) struct Sent(AtomicBool);

impl Sent {
    pub(crate) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_marked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The cause of an I/O error.
pub(crate) fn io_cause(error: &io::Error) -> Cause {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => Cause::Refused,
        Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe
        | Kind::UnexpectedEof
        | Kind::NotConnected => Cause::Reset,
        Kind::TimedOut => Cause::Timeout,
        // A firewall that rejects with "administratively prohibited" shows as a permission error or an unreachable host.
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown | Kind::PermissionDenied => {
            Cause::Unreachable
        }
        Kind::InvalidData => Cause::Protocol,
        _ => Cause::Other,
    }
}

/// The cause of the first I/O error among an error and its sources; `None` where there is none.
pub(crate) fn io_cause_within(error: &(dyn Error + 'static)) -> Option<Cause> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            // An I/O error may wrap the one that says more.
            let inner = io.get_ref().and_then(|inner| io_cause_within(inner));
            return Some(inner.unwrap_or_else(|| io_cause(io)));
        }
        next = error.source();
    }
    None
}
