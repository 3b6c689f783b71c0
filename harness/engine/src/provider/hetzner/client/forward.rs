//! Sends a request as it is, once, and returns the whole reply.

use super::error::Refusal;
use super::{ApiError, Client, Request, read};
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

/// A reply with any status.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Reads the body of a success. `request` names the request in the error.
    ///
    /// # Errors
    /// If the status is that of an error, or the body is not JSON.
    pub(crate) fn json(&self, request: &str) -> Result<Value, ApiError> {
        if self.status.is_success() {
            return read(request, &self.body);
        }
        Err(Refusal::of(request.to_owned(), self.status.as_u16(), &self.body))
    }
}

impl Client {
    /// Sends a request once, without retries. `path` may have a query.
    ///
    /// # Errors
    /// If the API does not answer, or its reply is too large.
    pub(crate) async fn forward(&self, method: Method, path: String, body: Option<Vec<u8>>) -> Result<Reply, ApiError> {
        self.reply_to(&Request { method, path, body }).await
    }
}
