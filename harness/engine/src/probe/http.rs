//! HTTP/1.1 over connections of our own, so that it is known which attempt used a new one.

use super::cause::{Failure, Sent, io_failure_within};
use super::client::Attempts;
use super::pool::{Lease, Pool};
use super::remarks::{Notes, redirect};
use super::tcp;
use ::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use ::http::{Method, Request, StatusCode, Uri};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use firedrill_core::sample::{Cause, Connection};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;

/// The most of a body that is read where all of it is wanted; more counts as an unexpected body.
const BODY_BYTES_MAX: usize = 16 << 20;
/// The most of a body that is searched for a text.
pub const BODY_SEARCHED_MAX: usize = 1 << 20;
/// The most of a body that is read only so that its connection can be used again.
const REST_BYTES_MAX: usize = 64 << 10;
/// The most time that is spent on that.
const REST_TIMEOUT: Duration = Duration::from_millis(100);

/// Asks one server over plain HTTP.
pub(crate) struct HttpClient {
    host: String,
    port: u16,
    authority: HeaderValue,
    login: Option<HeaderValue>,
    kept: Option<Pool<Wire>>,
}

/// How much of an answer is wanted.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'t> {
    /// All of it.
    Whole,
    /// Its status.
    Head,
    /// Its status, and whether its body contains a text where it has that status.
    Text(u16, &'t [u8]),
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    /// Where a redirect leads.
    location: Option<HeaderValue>,
    /// Whether the text that was looked for is in the body.
    found: bool,
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
    /// A client of the server of this URL, with its path and query. A login in it is sent as Basic authentication.
    ///
    /// # Errors
    /// Says what is wrong with the URL, as a lower-case fragment that quotes none of it.
    pub(crate) fn new(url: &str, connection: Connection, limit: usize) -> Result<(Self, Uri), String> {
        let uri: Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err("https is not supported: probe the plain port".to_owned()),
            _ => return Err("the URL must start with http://".to_owned()),
        }
        let authority = uri.authority().ok_or("the URL names no host")?.as_str();
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(basic(login)?), place),
            None => (None, authority),
        };
        let (host, port) = host_and_port(place)?;
        let client = Self {
            host: host.to_owned(),
            port: port.unwrap_or(80),
            authority: HeaderValue::from_str(place).map_err(|error| error.to_string())?,
            login,
            kept: (connection == Connection::Reused).then(|| Pool::new(limit)),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = path.parse().map_err(|error| format!("not a path: {error}"))?;
        Ok((client, path))
    }

    /// The host and port that connections go to.
    pub(super) fn other_end(&self) -> (String, u16) {
        (self.host.clone(), self.port)
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

/// `user:password`, percent-encoded as in a URL, as the header of Basic authentication (RFC 7617).
fn basic(login: &str) -> Result<HeaderValue, String> {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (user, password) = (percent_decode_str(user), percent_decode_str(password));
    let user: Vec<u8> = user.collect();
    if user.contains(&b':') {
        return Err("a user name with a colon cannot be sent".to_owned());
    }
    let login: Vec<u8> = user.into_iter().chain([b':']).chain(password).collect();
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(login))).map_err(|e| e.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The host without brackets, and the port where there is one.
fn host_and_port(place: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or("?"))),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err("the URL names no host".to_owned());
    }
    // What is taken for a port may be a password with a letter that ends the host, such as `#`.
    let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port > 0));
    match port {
        Some(None) => {
            Err("the port is not a number from 1 to 65535; a login's special letters are written as %XX".to_owned())
        }
        port => Ok((host, port.flatten())),
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
        self.ask_for(Wanted::Whole, method, path, body, sent).await
    }

    /// Sends a request and reads what is wanted of the answer.
    async fn ask_for(
        &mut self,
        wanted: Wanted<'_>,
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
        if let Some(login) = &self.client.login {
            request.headers_mut().insert(AUTHORIZATION, login.clone());
        }
        if body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        sent.mark();
        let (reply, read_to_its_end) = wire.ask(request, wanted, self.lease.is_some()).await?;
        if read_to_its_end && !wire.ended && !wire.sender.is_closed() {
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

    /// The answer, and whether it was read to its end, as it is where that is short and the connection is to be `kept`.
    async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
        wanted: Wanted<'_>,
        kept: bool,
    ) -> Result<(Reply, bool), Failure> {
        let Self { sender, connection, ended } = self;
        let exchange = async {
            sender.ready().await.map_err(|error| failure(&error))?;
            let response = sender.send_request(request).await.map_err(|error| failure(&error))?;
            let status = response.status();
            let location = response.headers().get(LOCATION).cloned();
            let mut incoming = response.into_body();
            let mut reply = Reply { status, body: Bytes::new(), location, found: false };
            match wanted {
                Wanted::Whole => reply.body = whole(&mut incoming, status).await?,
                Wanted::Text(expected, text) if status == expected => reply.found = search(&mut incoming, text).await?,
                Wanted::Head | Wanted::Text(..) => {}
            }
            let read_to_its_end = matches!(wanted, Wanted::Whole) || kept && read_the_rest(&mut incoming).await;
            Ok((reply, read_to_its_end))
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

async fn whole(incoming: &mut Incoming, status: StatusCode) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        if let Ok(data) = frame.map_err(|error| failure(&error))?.into_data() {
            if body.len() + data.len() > BODY_BYTES_MAX {
                return Err(Failure::coded(Cause::Body, status.as_u16()));
            }
            body.extend_from_slice(&data);
        }
    }
    Ok(body.freeze())
}

/// Reads a body until it has shown a text, or [`BODY_SEARCHED_MAX`] bytes of it have not.
async fn search(incoming: &mut Incoming, text: &[u8]) -> Result<bool, Failure> {
    let mut window = Vec::new();
    let mut searched = 0;
    while !contains(&window, text) && searched <= BODY_SEARCHED_MAX {
        // The text may lie across the border of two pieces.
        window.drain(..window.len().saturating_sub(text.len().saturating_sub(1)));
        let Some(frame) = incoming.frame().await else { return Ok(false) };
        if let Ok(data) = frame.map_err(|error| failure(&error))?.into_data() {
            searched += data.len();
            window.extend_from_slice(&data);
        }
    }
    Ok(contains(&window, text))
}

/// Reads what is left of a body, where that is little and comes soon. What goes wrong there is not the attempt's.
async fn read_the_rest(incoming: &mut Incoming) -> bool {
    let reading = async {
        let mut left = REST_BYTES_MAX;
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else { return false };
            let Some(less) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return false };
            left = less;
        }
        true
    };
    tokio::time::timeout(REST_TIMEOUT, reading).await.unwrap_or(false)
}

fn failure(error: &hyper::Error) -> Failure {
    io_failure_within(error).unwrap_or_else(|| {
        Failure::of(if error.is_parse() {
            Cause::Protocol
        } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            Cause::Reset
        } else {
            Cause::Other
        })
    })
}

/// GETs one path and checks the answer.
pub(super) struct HttpAttempts {
    client: HttpClient,
    path: Uri,
    status: u16,
    body: Option<String>,
    notes: Notes,
}

impl HttpAttempts {
    pub(super) fn new(
        url: &str,
        (status, body): (u16, Option<String>),
        connection: Connection,
        limit: usize,
        notes: Notes,
    ) -> Result<Self, String> {
        let (client, path) = HttpClient::new(url, connection, limit)?;
        StatusCode::from_u16(status).map_err(|_| format!("{status} is not an HTTP status"))?;
        if body.as_ref().is_some_and(|text| text.len() > BODY_SEARCHED_MAX) {
            return Err(format!("a body is searched up to {BODY_SEARCHED_MAX} bytes: the text is longer"));
        }
        Ok(Self { client, path, status, body, notes })
    }
}

#[async_trait]
impl Attempts for HttpAttempts {
    /// Decided as early as can be: at the status where no text is wanted, or where the text was seen. An answer may have no end.
    async fn attempt(&self, _: u32, sent: &Sent) -> Result<(), Failure> {
        let mut session = self.client.session().await;
        let wanted = self.body.as_ref().map_or(Wanted::Head, |text| Wanted::Text(self.status, text.as_bytes()));
        let reply = session.ask_for(wanted, Method::GET, &self.path, None, sent).await?;
        // Whatever the answer says, the connection carried it.
        session.done();
        let status = reply.status.as_u16();
        if status != self.status {
            if let Some(location) = reply.location.filter(|_| reply.status.is_redirection()) {
                self.notes.remark(Cause::Status, status, || redirect(status, location.as_bytes()));
            }
            return Err(Failure::coded(Cause::Status, status));
        }
        if self.body.is_some() && !reply.found { Err(Failure::coded(Cause::Body, status)) } else { Ok(()) }
    }
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || body.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_sent_and_never_shown() {
        let (client, path) = HttpClient::new("http://us%65r:p%40:%23w@host:8080/x?y", Connection::New, 1).unwrap();
        assert_eq!((client.other_end(), path.to_string().as_str()), (("host".to_owned(), 8080), "/x?y"));
        assert_eq!(client.authority, "host:8080");
        let login = client.login.unwrap();
        assert_eq!(login, format!("Basic {}", STANDARD.encode("user:p@:#w")));
        assert!(login.is_sensitive());
        let (client, _) = HttpClient::new("http://[::1]", Connection::New, 1).unwrap();
        assert_eq!((client.other_end(), client.login), (("::1".to_owned(), 80), None));
    }

    #[test]
    fn a_login_that_breaks_the_url_is_refused_and_not_sent_elsewhere() {
        for url in [
            "http://user:se#cret@host/",
            "http://user:se/cret@host/",
            "http://user:se?cret@host/",
            "http://us%3aer:secret@host/",
            "http://host:0/",
            "http://host:99999/",
            "http://[::1]secret/",
            "http://user:secret@/",
            "https://user:secret@host/",
        ] {
            let error = HttpClient::new(url, Connection::New, 1).err().unwrap_or_else(|| panic!("{url}"));
            assert!(!error.contains("cret"), "{error}");
        }
    }
}
