//! HTTP/1.1 over connections of our own, so that it is known which attempt used a new one.

use super::cause::{Failure, Sent, io_cause_within};
use super::pool::{Lease, Pool};
use super::tcp;
use ::http::header::{CONTENT_TYPE, HOST, HeaderValue};
use ::http::{Method, Request, StatusCode, Uri};
use bytes::{Bytes, BytesMut};
use firedrill_core::sample::{Cause, Connection};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use tokio::net::TcpStream;

/// The most of a body that is read; more counts as an unexpected body.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Asks one server over plain HTTP.
pub(crate) struct HttpClient {
    host: String,
    port: u16,
    authority: HeaderValue,
    kept: Option<Pool<Wire>>,
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// One connection, polled by whoever uses it: no task of its own.
struct Wire {
    sender: http1::SendRequest<Full<Bytes>>,
    connection: Pin<Box<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
    ended: bool,
}

/// The connection or connections of one attempt.
pub(crate) struct Session<'c> {
    client: &'c HttpClient,
    wire: Option<Wire>,
    lease: Option<Lease<'c, Wire>>,
}

impl HttpClient {
    /// A client of the server of this URL, with its path and query.
    ///
    /// # Errors
    /// Says what is wrong with the URL, as a lower-case fragment.
    pub(crate) fn new(url: &str, connection: Connection, limit: usize) -> Result<(Self, Uri), String> {
        let uri: Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err("https is not supported: probe the plain port".to_owned()),
            _ => return Err("the URL must start with http://".to_owned()),
        }
        let authority = uri.authority().ok_or("the URL names no host")?;
        let shown = authority.as_str().rsplit('@').next().unwrap_or_default();
        let client = Self {
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: HeaderValue::from_str(shown).map_err(|error| error.to_string())?,
            kept: (connection == Connection::Reused).then(|| Pool::new(limit)),
        };
        if client.host.is_empty() {
            return Err("the URL names no host".to_owned());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = path.parse().map_err(|error| format!("not a path: {error}"))?;
        Ok((client, path))
    }

    /// Starts an attempt: with a kept connection where there is one that its server has not closed meanwhile.
    pub(crate) async fn session(&self) -> Session<'_> {
        let Some(pool) = &self.kept else { return Session { client: self, wire: None, lease: None } };
        loop {
            let (lease, kept) = pool.lease().await.take();
            match kept {
                None => return Session { client: self, wire: None, lease: Some(lease) },
                Some(mut wire) => {
                    // Servers close connections that are idle for long. That is no failure of this attempt, of which no
                    // byte has been sent: it is noticed here, as any client with a pool does.
                    let closed = poll_fn(|cx| Poll::Ready(wire.connection.as_mut().poll(cx).is_ready())).await;
                    if !closed {
                        return Session { client: self, wire: Some(wire), lease: Some(lease) };
                    }
                    lease.ended();
                }
            }
        }
    }
}

impl Session<'_> {
    /// Sends a request and reads the whole answer.
    ///
    /// `sent` is marked before the first byte may leave.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &Uri,
        body: Option<Bytes>,
        sent: &Sent,
    ) -> Result<Reply, Failure> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::open(&self.client.host, self.client.port).await?,
        };
        let mut request = Request::new(Full::new(body.clone().unwrap_or_default()));
        *request.method_mut() = method;
        *request.uri_mut() = path.clone();
        request.headers_mut().insert(HOST, self.client.authority.clone());
        if body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        sent.mark();
        let reply = wire.ask(request).await?;
        if !wire.ended && !wire.sender.is_closed() {
            self.wire = Some(wire);
        }
        Ok(reply)
    }

    /// Ends an attempt whose connection works: it is kept, where this series keeps them.
    pub(crate) fn done(self) {
        match (self.lease, self.wire) {
            (Some(lease), Some(wire)) => lease.give_back(wire),
            (Some(lease), None) => lease.ended(),
            (None, _) => {}
        }
    }
}

impl Wire {
    async fn open(host: &str, port: u16) -> Result<Self, Failure> {
        let stream = tcp::connect(host, port).await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(64 << 10)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failure(&error))?;
        Ok(Self { sender, connection: Box::pin(connection), ended: false })
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        let Self { sender, connection, ended } = self;
        let exchange = async {
            sender.ready().await.map_err(|error| failure(&error))?;
            let response = sender.send_request(request).await.map_err(|error| failure(&error))?;
            let status = response.status();
            let mut incoming = response.into_body();
            let mut body = BytesMut::new();
            while let Some(frame) = incoming.frame().await {
                let frame = frame.map_err(|error| failure(&error))?;
                if let Ok(data) = frame.into_data() {
                    if body.len() + data.len() > BODY_BYTES_MAX {
                        return Err(Failure::coded(Cause::Body, status.as_u16()));
                    }
                    body.extend_from_slice(&data);
                }
            }
            Ok(Reply { status, body: body.freeze() })
        };
        let mut exchange = pin!(exchange);
        poll_fn(|cx| {
            if !*ended && connection.as_mut().poll(cx).is_ready() {
                *ended = true;
            }
            exchange.as_mut().poll(cx)
        })
        .await
    }
}

fn failure(error: &hyper::Error) -> Failure {
    let cause = io_cause_within(error).unwrap_or_else(|| {
        if error.is_parse() {
            Cause::Protocol
        } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            Cause::Reset
        } else {
            Cause::Other
        }
    });
    Failure::of(cause)
}

/// GETs one path and checks the answer.
pub(super) struct HttpProbe {
    client: HttpClient,
    path: Uri,
    status: u16,
    body: Option<String>,
}

impl HttpProbe {
    pub(super) fn new(
        url: &str,
        status: u16,
        body: Option<String>,
        connection: Connection,
        limit: usize,
    ) -> Result<Self, String> {
        let (client, path) = HttpClient::new(url, connection, limit)?;
        StatusCode::from_u16(status).map_err(|_| format!("{status} is not an HTTP status"))?;
        Ok(Self { client, path, status, body })
    }

    pub(super) async fn attempt(&self, sent: &Sent) -> Result<(), Failure> {
        let mut session = self.client.session().await;
        let reply = session.ask(Method::GET, &self.path, None, sent).await?;
        // Whatever the answer says, the connection carried it.
        session.done();
        let status = reply.status.as_u16();
        if status != self.status {
            return Err(Failure::coded(Cause::Status, status));
        }
        match &self.body {
            Some(wanted) if !contains(&reply.body, wanted.as_bytes()) => Err(Failure::coded(Cause::Body, status)),
            _ => Ok(()),
        }
    }
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || body.windows(wanted.len()).any(|window| window == wanted)
}
