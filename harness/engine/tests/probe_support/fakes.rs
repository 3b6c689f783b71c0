//! Servers that speak just enough of NATS and PostgreSQL to be probed, and refuse what a real one may refuse.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A server on the loopback address, gone when this is dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
    /// What clients said that a test wants to know.
    pub(crate) heard: Arc<Mutex<Vec<String>>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    async fn start<F, R>(converse: F) -> Self
    where
        F: Fn(TcpStream, Arc<Mutex<Vec<String>>>) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = heard.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(converse(stream, told.clone()));
            }
        });
        Self { address, task, heard }
    }

    /// A NATS server that wants this login, and lets nobody subscribe to subjects that begin so.
    pub(crate) async fn nats(login: Option<(&'static str, &'static str)>, denied: &'static str) -> Self {
        Self::start(move |stream, heard| nats(stream, heard, login, denied)).await
    }

    /// A pooler in transaction mode before a PostgreSQL server: it knows no prepared statement, and refuses parameters of a
    /// session that it does not keep.
    pub(crate) async fn pooler(read_only: bool) -> Self {
        Self::start(move |stream, heard| async move {
            // Clients may go at any time.
            drop(postgres(stream, heard, read_only).await);
        })
        .await
    }

    /// An HTTP server that answers with this, and then sends a piece again and again without an end; it closes where there is none.
    pub(crate) async fn endless(head: &'static str, piece: &'static [u8]) -> Self {
        Self::start(move |mut stream, _| async move {
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_err() || stream.write_all(head.as_bytes()).await.is_err() {
                return;
            }
            while !piece.is_empty() && stream.write_all(piece).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

async fn nats(
    stream: TcpStream,
    heard: Arc<Mutex<Vec<String>>>,
    login: Option<(&'static str, &'static str)>,
    denied: &'static str,
) {
    let mut stream = BufReader::new(stream);
    let info = r#"INFO {"server_id":"F","server_name":"f","version":"2.12.0","go":"go1","host":"127.0.0.1","port":4222,"headers":true,"max_payload":1048576,"proto":1,"client_id":1}"#;
    let mut answer = format!("{info}\r\n");
    let mut inbox = String::new();
    loop {
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        let mut line = String::new();
        match stream.read_line(&mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        answer = match words.as_slice() {
            ["CONNECT", ..] => {
                let connect: serde_json::Value = serde_json::from_str(line["CONNECT ".len()..].trim()).unwrap();
                heard.lock().unwrap().push(connect.to_string());
                let given = (connect["user"].as_str(), connect["pass"].as_str());
                match login {
                    Some((user, password)) if given != (Some(user), Some(password)) => {
                        drop(stream.write_all(b"-ERR 'Authorization Violation'\r\n").await);
                        return;
                    }
                    _ => String::new(),
                }
            }
            ["PING"] => "PONG\r\n".to_owned(),
            ["SUB", subject, ..] if !denied.is_empty() && subject.starts_with(denied) => {
                format!("-ERR 'Permissions Violation for Subscription to \"{subject}\"'\r\n")
            }
            ["SUB", subject, .., sid] => {
                heard.lock().unwrap().push((*subject).to_owned());
                inbox = (*sid).to_owned();
                String::new()
            }
            ["PUB" | "HPUB", _, rest @ .., size] => {
                let mut payload = vec![0; size.parse::<usize>().unwrap() + 2];
                if stream.read_exact(&mut payload).await.is_err() {
                    return;
                }
                match rest.first().filter(|_| !inbox.is_empty()) {
                    // Nobody listens to that subject.
                    Some(reply) => format!("HMSG {reply} {inbox} 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"),
                    None => String::new(),
                }
            }
            _ => String::new(),
        };
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}

fn error(state: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0VERROR\0C{state}\0M{text}\0\0").as_bytes())
}

fn row(value: &str) -> Vec<u8> {
    let column = [
        b"\0\x01c\0".as_slice(),
        &[0; 6],
        &25_u32.to_be_bytes(),
        &(-1_i16).to_be_bytes(),
        &(-1_i32).to_be_bytes(),
        &[0; 2],
    ];
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    let data = [b"\0\x01".as_slice(), &length, value.as_bytes()].concat();
    [message(b'T', &column.concat()), message(b'D', &data), message(b'C', b"SELECT 1\0")].concat()
}

async fn postgres(mut stream: TcpStream, heard: Arc<Mutex<Vec<String>>>, read_only: bool) -> std::io::Result<()> {
    const SSL_REQUEST: u32 = 80_877_103;
    let startup = loop {
        let length = stream.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).await?;
        if body[..4] != SSL_REQUEST.to_be_bytes() {
            break String::from_utf8_lossy(&body[4..]).into_owned();
        }
        stream.write_all(b"N").await?;
    };
    heard.lock().unwrap().push(startup.replace('\0', " "));
    for parameter in ["extra_float_digits", "options"] {
        if startup.split('\0').any(|word| word == parameter) {
            let text = format!("unsupported startup parameter: {parameter}");
            return stream.write_all(&error("08P01", &text)).await;
        }
    }
    let ready = message(b'Z', b"I");
    stream.write_all(&[message(b'R', &[0; 4]), ready.clone()].concat()).await?;
    loop {
        let kind = stream.read_u8().await?;
        let length = stream.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).await?;
        let text = String::from_utf8_lossy(&body);
        let text = text.trim_end_matches('\0');
        let answer = match kind {
            b'X' => return Ok(()),
            b'Q' if text == "SHOW transaction_read_only" => row(if read_only { "on" } else { "off" }),
            b'Q' if text.contains("pg_is_in_recovery") => row(if read_only { "true" } else { "false" }),
            b'Q' if text == "SELECT 1" => row("1"),
            b'Q' if read_only => error("25006", "cannot execute INSERT in a read-only transaction"),
            b'Q' => {
                heard.lock().unwrap().push(text.to_owned());
                message(b'C', b"INSERT 0 1\0")
            }
            b'S' => ready.clone(),
            // Parsed on one server, bound on another.
            _ => error("26000", "prepared statement does not exist"),
        };
        stream.write_all(&answer).await?;
        if kind == b'Q' {
            stream.write_all(&ready).await?;
        }
    }
}

/// An address that answers no connection: its queue is full, so the kernel drops what comes.
pub(crate) async fn silent() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    let patience = std::time::Duration::from_millis(150);
    while let Ok(Ok(stream)) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        filling.push(stream);
        assert!(filling.len() < 100, "the queue does not fill");
    }
    (address, listener, filling)
}
