//! From the errors of sockets and clients to the causes of failed attempts.

use firedrill_core::sample::{Cause, NotSent};
use rustix::io::Errno;
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
    /// What this machine lacked, where it is not the service that failed.
    pub(crate) local: Option<NotSent>,
}

impl Failure {
    /// A failure that leaves open whether a write was applied.
    pub(crate) fn of(cause: Cause) -> Self {
        Self { cause, code: 0, refused: false, local: None }
    }

    /// A failure with a code.
    pub(crate) fn coded(cause: Cause, code: u16) -> Self {
        Self { code, ..Self::of(cause) }
    }

    /// A failure of this machine.
    pub(crate) fn local(why: NotSent) -> Self {
        Self { local: Some(why), ..Self::of(Cause::Other) }
    }

    /// The same, but the service said that it did not do it.
    pub(crate) fn refused(self) -> Self {
        Self { refused: true, ..self }
    }

    /// Of two failures of one attempt, at two addresses say, the one that says more of the service: the later one, unless
    /// it is this machine's.
    pub(super) fn or_later(earlier: Option<Self>, later: Self) -> Self {
        match earlier {
            Some(earlier) if later.local.is_some() && earlier.local.is_none() => earlier,
            _ => later,
        }
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

/// What this machine lacks by an error of a system call; `None` for an error that may be the service's.
///
/// `EACCES` and `EPERM` are not among them: over IPv6 a firewall on the way shows as the first, and where a node's Service
/// network is made of BPF programs, a Service without endpoints shows as the second.
pub(super) fn lacked(error: &io::Error) -> Option<NotSent> {
    match Errno::from_raw_os_error(error.raw_os_error()?) {
        Errno::ADDRNOTAVAIL => Some(NotSent::NoLocalPort),
        Errno::MFILE | Errno::NFILE => Some(NotSent::NoFileDescriptor),
        Errno::NOBUFS | Errno::NOMEM => Some(NotSent::NoMemory),
        _ => None,
    }
}

/// The failure that an I/O error is.
pub(crate) fn io_failure(error: &io::Error) -> Failure {
    use io::ErrorKind as Kind;
    if let Some(lacked) = lacked(error) {
        return Failure::local(lacked);
    }
    Failure::of(match error.kind() {
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
    })
}

/// The failure of the first I/O error among an error and its sources; `None` where there is none.
pub(crate) fn io_failure_within(error: &(dyn Error + 'static)) -> Option<Failure> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            // An I/O error may wrap the one that says more.
            let inner = io.get_ref().and_then(|inner| io_failure_within(inner));
            return Some(inner.unwrap_or_else(|| io_failure(io)));
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_no_failure_of_the_service() {
        let of = |errno: Errno| io_failure(&io::Error::from_raw_os_error(errno.raw_os_error()));
        for (errno, why) in [
            (Errno::ADDRNOTAVAIL, NotSent::NoLocalPort),
            (Errno::MFILE, NotSent::NoFileDescriptor),
            (Errno::NFILE, NotSent::NoFileDescriptor),
            (Errno::NOBUFS, NotSent::NoMemory),
        ] {
            assert_eq!(of(errno), Failure::local(why));
        }
        for (errno, cause) in [(Errno::CONNREFUSED, Cause::Refused), (Errno::PERM, Cause::Unreachable)] {
            assert_eq!(of(errno), Failure::of(cause));
        }
        let refused = Failure::of(Cause::Refused);
        let local = Failure::local(NotSent::NoLocalPort);
        assert_eq!(Failure::or_later(Some(refused), local), refused, "a server that refuses is there to be judged");
        assert_eq!(Failure::or_later(Some(local), refused), refused);
        assert_eq!(Failure::or_later(None, local), local);
    }
}
