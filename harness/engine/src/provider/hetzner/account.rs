//! Access to a project of Hetzner Cloud: token, endpoint and client.

use super::super::ProviderError;
use super::client::{Client, Limits};
use super::endpoint::Endpoint;
use super::token::{Token, TokenError};
use crate::redact::Redactor;

/// Access to one project.
pub(crate) struct Account {
    /// The API client.
    pub(crate) client: Client,
    /// Where the API is.
    pub(crate) endpoint: Endpoint,
    /// The project's token.
    pub(crate) token: Token,
}

impl Account {
    /// Opens a project. Sends nothing.
    ///
    /// # Errors
    /// Where the proxy's address cannot be used.
    pub(crate) fn new(endpoint: Endpoint, token: Token, limits: Limits) -> Result<Self, ProviderError> {
        let client = Client::new(&endpoint, &token, limits).map_err(other)?;
        Ok(Self { client, endpoint, token })
    }

    /// The project of the token in the environment; `None` where there is no token. Sends nothing.
    ///
    /// # Errors
    /// Where the token or the endpoint is there and cannot be used.
    pub(crate) fn of_environment(limits: Limits) -> Result<Option<Self>, ProviderError> {
        let token = match Token::from_environment() {
            Err(TokenError::Missing) => return Ok(None),
            token => token.map_err(other)?,
        };
        let endpoint = Endpoint::from_environment().map_err(other)?;
        Self::new(endpoint, token, limits).map(Some)
    }

    /// Has the token taken out of all texts.
    pub(crate) fn register(&self, redactor: &Redactor) {
        redactor.register("token of Hetzner Cloud", self.token.reveal());
    }
}

/// The error of a part of this provider, in its own words.
pub(crate) fn other(error: impl std::fmt::Display) -> ProviderError {
    ProviderError::Other(error.to_string())
}
