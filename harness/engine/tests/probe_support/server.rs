//! A small HTTP server that can be broken in known ways at known times.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What the server does with connections and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Answers.
    Well,
    /// Listens no more, and has closed what it had.
    Refusing,
    /// Accepts and reads, and never answers what it read in this mood.
    Hanging,
    /// Resets connections at the request.
    Resetting,
    /// Answers with this status.
    Status(u16),
    /// Answers 200 with another body.
    Body,
}

pub(crate) struct Server {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    listening: watch::Receiver<bool>,
    accepted: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mood, moods) = watch::channel(Mood::Well);
        let (listens, listening) = watch::channel(true);
        let accepted = Arc::new(AtomicU32::new(0));
        let task = tokio::spawn(serve(listener, address, moods, listens, accepted.clone()));
        Self { address, mood, listening, accepted, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> u32 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Changes the mood; it has changed when this returns.
    pub(crate) async fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
        let listens = mood != Mood::Refusing;
        self.listening.clone().wait_for(|now| *now == listens).await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    first: TcpListener,
    address: SocketAddr,
    mut moods: watch::Receiver<Mood>,
    listens: watch::Sender<bool>,
    accepted: Arc<AtomicU32>,
) {
    let mut listener = Some(first);
    let mut connections = JoinSet::new();
    loop {
        let mood = *moods.borrow_and_update();
        match (&listener, mood) {
            (Some(_), Mood::Refusing) => {
                listener = None;
                connections.shutdown().await;
                listens.send_replace(false);
            }
            (None, Mood::Refusing) | (Some(_), _) => {}
            (None, _) => {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                socket.bind(address).unwrap();
                listener = Some(socket.listen(1024).unwrap());
                listens.send_replace(true);
            }
        }
        match &listener {
            None => moods.changed().await.unwrap(),
            Some(open) => tokio::select! {
                changed = moods.changed() => changed.unwrap(),
                connection = open.accept() => {
                    accepted.fetch_add(1, Ordering::SeqCst);
                    connections.spawn(converse(connection.unwrap().0, moods.clone()));
                }
            },
        }
    }
}

async fn converse(mut stream: TcpStream, moods: watch::Receiver<Mood>) {
    let mut request = Vec::new();
    loop {
        let mut part = [0; 1024];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&part[..read]),
        }
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        request.clear();
        let mood = *moods.borrow();
        let answer = match mood {
            Mood::Well => "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nis ready\n".to_owned(),
            Mood::Body => "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbad\n".to_owned(),
            Mood::Status(status) => format!("HTTP/1.1 {status} no\r\ncontent-length: 9\r\n\r\nis ready\n"),
            Mood::Hanging => continue,
            Mood::Resetting | Mood::Refusing => {
                // Closing with a lingering time of nothing sends a reset.
                stream.set_zero_linger().unwrap();
                return;
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
