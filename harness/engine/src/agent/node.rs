//! The agent in a short-lived privileged pod on a victim's node: it acts on the processes of containers, and on the
//! connections that the node tracks.
//!
//! A frozen container, and the file that fills a volume, is held by this process and let go when it ends: when its pod is
//! deleted, when its time is up, and when it starts again after having been killed itself. A runner that dies leaves
//! nothing frozen or full for longer.

mod beneath;
mod conntrack;
mod files;
mod filler;
mod procs;
pub mod stream;
pub mod wire;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use wire::{Filler, Guard, LINE_BYTES_MAX, Reply, Request};

/// Connections served at once; a runner uses one for each target on the node.
const CONNECTIONS_MAX: usize = 16;

/// Containers that are frozen, or may be half frozen, and volumes that are full, or may be half so.
type Held = Arc<Mutex<BTreeSet<Guard>>>;

/// Serves until it is asked to end (SIGTERM, SIGINT) or its time is up, and lets go whatever it holds.
///
/// The containers and volumes of `guards` are let go at the start, in case an earlier instance was killed while it held them.
///
/// # Errors
/// Where the address cannot be listened on, or where a container could not be let go.
pub async fn serve_node(listen: SocketAddr, expires_after: Duration, guards: Vec<String>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let held = Held::new(Mutex::new(guards.iter().map(|guard| Guard::from(guard.as_str())).collect()));
    release(&held).await?;
    let listener = TcpListener::bind(listen).await?;
    let expiry = tokio::time::sleep(expires_after);
    tokio::pin!(expiry);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = &mut expiry => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => { connections.spawn(converse(stream, held.clone())); }
                Err(error) => tracing::warn!(%error, "a connection was not accepted"),
            },
        }
    }
    // A freeze under way must not go on behind the release's back.
    connections.shutdown().await;
    release(&held).await
}

/// Answers one connection's requests, in order, until it closes or breaks.
async fn converse(stream: TcpStream, held: Held) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let reply = match serde_json::from_slice(&line) {
            Ok(request) => match Request::check(&request) {
                Ok(()) => answer(request, &held).await.unwrap_or_else(|error| failed(&error)),
                Err(reason) => Reply::Failed { reason },
            },
            Err(error) => failed(&error),
        };
        let Ok(mut text) = serde_json::to_vec(&reply) else { return };
        text.push(b'\n');
        if writer.write_all(&text).await.is_err() {
            return;
        }
    }
}

fn failed(error: &dyn std::error::Error) -> Reply {
    Reply::Failed { reason: error.to_string() }
}

/// Held while something is done to a container or a volume: an undo waits until a fault that nobody waits for any more is in,
/// and so takes back all of it.
static ACTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn acts(request: &Request) -> bool {
    use Request::{Corrupt, Empty, EmptyStream, Fill, FillStream, Freeze, Mend, Thaw};
    matches!(
        request,
        Freeze { .. }
            | Thaw { .. }
            | Corrupt(_)
            | Mend(_)
            | Fill { .. }
            | Empty { .. }
            | FillStream { .. }
            | EmptyStream { .. }
    )
}

async fn answer(request: Request, held: &Held) -> io::Result<Reply> {
    let _acting = if acts(&request) { Some(ACTING.lock().await) } else { None };
    Ok(match request {
        Request::Ping => {
            let processes = procs::members(&|_| true)?.len();
            Reply::Pong { processes: u32::try_from(processes).unwrap_or(u32::MAX) }
        }
        Request::Look { container_id } => {
            Reply::Processes { processes: procs::members(&|pid| procs::in_container(pid, &container_id))? }
        }
        Request::Signal { container_id, signal } => {
            let processes = procs::members(&|pid| procs::in_container(pid, &container_id))?;
            let missing = || io::Error::new(io::ErrorKind::NotFound, "no process of the container is there");
            let first = procs::first(&processes).ok_or_else(missing)?;
            procs::send(first, procs::number(signal))?;
            Reply::Processes { processes: vec![first.clone()] }
        }
        Request::Freeze { container_id, lasts_ms } => {
            // Held from before the first signal, so that a freeze that ends half-way is let go as well.
            lock(held).insert(Guard::Container(container_id.clone()));
            let processes = procs::freeze(&|pid| procs::in_container(pid, &container_id)).await?;
            if let Some(lasts_ms) = lasts_ms {
                tokio::spawn(end_of_freeze(container_id, Duration::from_millis(lasts_ms), Held::clone(held)));
            }
            Reply::Processes { processes }
        }
        Request::Corrupt(volume) => Reply::Files { files: files::corrupt(&volume)? },
        Request::LookAtFiles(volume) => Reply::Files { files: files::look(&volume)? },
        Request::Mend(volume) => Reply::Files { files: files::mend(&volume)? },
        Request::Thaw { container_id } => Reply::Processes { processes: thaw(&container_id, held).await? },
        Request::Connections(ends) => {
            let look = move || conntrack::look(&ends.pods, &ends.peers);
            Reply::Connections { connections: tokio::task::spawn_blocking(look).await?? }
        }
        Request::EndConnections(ends) => {
            let end = move || conntrack::end(&ends.pods, &ends.peers);
            Reply::Connections { connections: tokio::task::spawn_blocking(end).await?? }
        }
        Request::Fill { filler, leave_bytes, bytes_max } => {
            lock(held).insert(Guard::Filler(filler.clone()));
            Reply::Space(on_disk(filler, move |filler| filler::fill(filler, leave_bytes, bytes_max)).await?)
        }
        Request::Space { filler, try_write } => {
            Reply::Space(on_disk(filler, move |filler| filler::look(filler, try_write)).await?)
        }
        Request::Empty { filler } => {
            on_disk(filler.clone(), filler::empty).await?;
            lock(held).remove(&Guard::Filler(filler));
            Reply::Emptied
        }
        Request::FillStream { messages, filler, leave_bytes, bytes_max } => {
            Reply::Space(stream::fill(&messages, &filler, leave_bytes, bytes_max).await?)
        }
        Request::LookAtStream(messages) => Reply::Stream(stream::look(&messages).await?),
        Request::EmptyStream { messages, before } => {
            stream::empty(&messages, &before).await?;
            Reply::Emptied
        }
    })
}

async fn thaw(container_id: &str, held: &Held) -> io::Result<Vec<wire::Process>> {
    let processes = procs::thaw(&|pid| procs::in_container(pid, container_id)).await?;
    lock(held).remove(&Guard::Container(container_id.to_owned()));
    Ok(processes)
}

/// Ends a freeze that lasts so long. Where that fails the container stays held: the undo, or this agent's end, lets it go.
async fn end_of_freeze(container_id: String, lasts: Duration, held: Held) {
    tokio::time::sleep(lasts).await;
    if let Err(error) = thaw(&container_id, &held).await {
        tracing::warn!(%error, container_id, "a freeze could not be ended");
    }
}

/// Work that waits for a disk.
async fn on_disk<T: Send + 'static>(
    filler: Filler,
    work: impl FnOnce(&Filler) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(move || work(&filler)).await.map_err(io::Error::other)?
}

/// Lets everything go that is held, all of it even where one fails.
async fn release(held: &Held) -> io::Result<()> {
    let mut result = Ok(());
    let all = lock(held).clone();
    for guard in all {
        let released = match &guard {
            Guard::Container(id) => thaw(id, held).await.map(drop),
            Guard::Filler(filler) => on_disk(filler.clone(), filler::empty).await,
        };
        match released {
            Ok(()) => {
                lock(held).remove(&guard);
            }
            Err(error) => result = Err(io::Error::new(error.kind(), format!("{guard}: {error}"))),
        }
    }
    result
}

fn lock(held: &Held) -> std::sync::MutexGuard<'_, BTreeSet<Guard>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    async fn ask(stream: &mut BufReader<TcpStream>, request: &str) -> Reply {
        stream.get_mut().write_all(format!("{request}\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    #[tokio::test]
    async fn a_connection_is_answered_line_by_line() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let held = Held::default();
        let server = tokio::spawn({
            let held = held.clone();
            async move { converse(listener.accept().await.unwrap().0, held).await }
        });
        let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        assert!(matches!(ask(&mut stream, r#""ping""#).await, Reply::Pong { processes } if processes >= 2));
        let id = "f".repeat(64);
        let look = format!(r#"{{"look":{{"container_id":"{id}"}}}}"#);
        assert_eq!(ask(&mut stream, &look).await, Reply::Processes { processes: vec![] });
        let freeze = format!(r#"{{"freeze":{{"container_id":"{id}","lasts_ms":null}}}}"#);
        assert!(matches!(ask(&mut stream, &freeze).await, Reply::Failed { reason } if reason.contains("no process")));
        assert_eq!(lock(&held).len(), 1, "a failed freeze is let go like any other");
        assert!(matches!(ask(&mut stream, "nonsense").await, Reply::Failed { .. }));
        let thaw = format!(r#"{{"thaw":{{"container_id":"{id}"}}}}"#);
        assert_eq!(ask(&mut stream, &thaw).await, Reply::Processes { processes: vec![] });
        assert!(lock(&held).is_empty());
        drop(stream);
        server.await.unwrap();
    }

    #[tokio::test]
    async fn it_ends_by_itself_when_its_time_is_up() {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        serve_node(listen, Duration::ZERO, vec!["e".repeat(64)]).await.unwrap();
    }
}
