//! TCP connections, made anew by name each time.

use super::cause::{Failure, Sent, io_failure, lacked};
use super::client::Attempts;
use super::pool::Pool;
use async_trait::async_trait;
use firedrill_core::sample::{Cause, Connection};
use futures::stream::{FuturesUnordered, StreamExt};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// After how long without an answer the next address is tried beside the one before (RFC 8305, "Connection Attempt Delay").
const NEXT_ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// Resolves the name and connects to whichever of its addresses accepts first.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, Failure> {
    race(&resolve(host, port).await?).await
}

/// The addresses of a name.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    match lookup_host((host, port)).await {
        Ok(found) => Some(found.collect::<Vec<_>>()).filter(|found| !found.is_empty()).ok_or(Failure::of(Cause::Name)),
        Err(error) => {
            // The resolver does not say that it could not open a socket.
            let lacked = lacked(&error).or_else(|| lacked(&TcpSocket::new_v4().err()?));
            Err(lacked.map_or(Failure::of(Cause::Name), Failure::local))
        }
    }
}

/// Connects to the first of several addresses that accepts. An address that is silent holds up the next for
/// [`NEXT_ADDRESS_DELAY`] alone; one that refuses, not at all.
pub(super) async fn race(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut waiting = interleaved(addresses).into_iter();
    let mut trying = FuturesUnordered::new();
    let mut failure = None;
    loop {
        match waiting.next() {
            Some(address) => trying.push(open(address)),
            None if trying.is_empty() => return Err(failure.unwrap_or(Failure::of(Cause::Name))),
            None => {}
        }
        tokio::select! {
            biased;
            Some(tried) = trying.next() => match tried {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Some(Failure::or_later(failure, error)),
            },
            () = tokio::time::sleep(NEXT_ADDRESS_DELAY), if waiting.len() > 0 => {}
        }
    }
}

async fn open(address: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(address).await.map_err(|error| io_failure(&error))?;
    // Requests are small and complete: nothing is gained by holding them back.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// The addresses with their families in turn, beginning with the resolver's first.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let is_own = |address: &SocketAddr| address.is_ipv4() == first.is_ipv4();
    let (mut own, mut other): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses.iter().rev().copied().partition(is_own);
    let mut all = Vec::with_capacity(addresses.len());
    while !(own.is_empty() && other.is_empty()) {
        all.extend(own.pop());
        all.extend(other.pop());
    }
    all
}

/// Opens connections, or watches over one that is kept.
pub(super) struct TcpAttempts {
    host: String,
    port: u16,
    kept: Option<Pool<TcpStream>>,
}

impl TcpAttempts {
    pub(super) fn new(host: &str, port: u16, connection: Connection, limit: usize) -> Result<Self, String> {
        if host.is_empty() {
            return Err("no host".to_owned());
        }
        if host.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '?' | '#')) {
            return Err("a host and a port are wanted here, and no URL".to_owned());
        }
        let kept = (connection == Connection::Reused).then(|| Pool::new(limit));
        Ok(Self { host: host.to_owned(), port, kept })
    }
}

#[async_trait]
impl Attempts for TcpAttempts {
    async fn attempt(&self, _: u32, sent: &Sent) -> Result<(), Failure> {
        let Some(pool) = &self.kept else {
            drop(connect(&self.host, self.port).await?);
            return Ok(());
        };
        let lease = pool.lease().await;
        let (lease, kept) = lease.take();
        let stream = match kept {
            Some(stream) => stream,
            None => connect(&self.host, self.port).await?,
        };
        sent.mark();
        let mut scratch = [0; 512];
        loop {
            match stream.try_read(&mut scratch) {
                Ok(0) => return Err(Failure::of(Cause::Reset)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(io_failure(&error)),
            }
        }
        lease.give_back(stream);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let all = ["[::1]:1", "[::2]:1", "10.0.0.1:1", "[::3]:1", "10.0.0.2:1"].map(address);
        let turns = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"].map(address);
        assert_eq!(interleaved(&all), turns);
        assert_eq!(interleaved(&[]), []);
    }

    /// A listener that answers no connection: its queue is full, so the kernel drops what comes.
    async fn silent() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address("127.0.0.1:0")).unwrap();
        let listener = socket.listen(0).unwrap();
        let at = listener.local_addr().unwrap();
        let mut filling = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(150), TcpStream::connect(at)).await {
            filling.push(stream);
            assert!(filling.len() < 100, "the queue does not fill");
        }
        (listener, filling, at)
    }

    #[tokio::test]
    async fn a_silent_address_does_not_hide_one_that_answers() {
        let (_listener, _filling, silent) = silent().await;
        let answers = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answering = answers.local_addr().unwrap();
        let limit = Duration::from_secs(1);
        let raced = tokio::time::timeout(limit, race(&[silent, answering])).await;
        let stream = raced.expect("the silent address held up the attempt").unwrap();
        assert_eq!(stream.peer_addr().unwrap(), answering);
        let alone = tokio::time::timeout(Duration::from_millis(500), race(&[silent])).await;
        assert!(alone.is_err(), "nobody answers");
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_left_at_once() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let answers = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answering = answers.local_addr().unwrap();
        let raced = tokio::time::timeout(Duration::from_millis(200), race(&[closed, answering])).await;
        assert_eq!(raced.unwrap().unwrap().peer_addr().unwrap(), answering);
        assert_eq!(race(&[closed]).await.unwrap_err(), Failure::of(Cause::Refused));
    }

    #[test]
    fn a_url_is_no_host() {
        for host in ["http://u:secret@h", "u:secret@h", "", "a b"] {
            let error = TcpAttempts::new(host, 80, Connection::New, 1).err().unwrap();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(TcpAttempts::new("::1", 80, Connection::New, 1).is_ok());
    }
}
