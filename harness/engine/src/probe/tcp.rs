//! TCP connections, made anew by name each time.

use super::cause::{Failure, Sent, io_cause};
use super::pool::Pool;
use firedrill_core::sample::{Cause, Connection};
use std::io;
use tokio::net::{TcpStream, lookup_host};

/// Resolves the name and connects to the first address that accepts.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let addresses = lookup_host((host, port)).await.map_err(|_| Failure::of(Cause::Name))?;
    let mut last = Failure::of(Cause::Name);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are small and complete: nothing is gained by holding them back.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = Failure::of(io_cause(&error)),
        }
    }
    Err(last)
}

/// Opens connections, or watches over one that is kept.
pub(super) struct TcpProbe {
    host: String,
    port: u16,
    kept: Option<Pool<TcpStream>>,
}

impl TcpProbe {
    pub(super) fn new(host: &str, port: u16, connection: Connection, limit: usize) -> Self {
        let kept = (connection == Connection::Reused).then(|| Pool::new(limit));
        Self { host: host.to_owned(), port, kept }
    }

    pub(super) async fn attempt(&self, sent: &Sent) -> Result<(), Failure> {
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
                Err(error) => return Err(Failure::of(io_cause(&error))),
            }
        }
        lease.give_back(stream);
        Ok(())
    }
}
