//! The API token: read from the environment or a private file, and never printed.

use http::HeaderValue;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The variable with the token.
const VARIABLE: &str = "HCLOUD_TOKEN";
/// The variable with the path of a file that contains the token.
const FILE_VARIABLE: &str = "HCLOUD_TOKEN_FILE";
/// Maximum length of a token. Hetzner's tokens have 64 characters.
const TOKEN_BYTES_MAX: u64 = 1024;

/// An API token. It is never passed as a program's argument, and neither `Debug` nor an error prints it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// The token cannot be read. No message quotes the content.
#[derive(Debug, Error)]
pub(crate) enum TokenError {
    /// Neither variable is set.
    #[error("no Hetzner Cloud token: set {VARIABLE}, or set {FILE_VARIABLE} to the path of a file with mode 0600")]
    Missing,
    /// Both variables are set.
    #[error("both {VARIABLE} and {FILE_VARIABLE} are set: unset one of them")]
    Twice,
    /// The file cannot be read.
    #[error("{FILE_VARIABLE}: {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file's group or others have permissions on it.
    #[error("{FILE_VARIABLE}: {path} has mode {mode:04o}, so others may read the token: run `chmod 600` on it")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content is not a token.
    #[error("{place} does not contain a token: it must be one word of ASCII characters")]
    Malformed {
        /// The variable or the file.
        place: String,
    },
}

impl Token {
    /// Reads the token from `HCLOUD_TOKEN`, or from the file that `HCLOUD_TOKEN_FILE` names.
    ///
    /// # Errors
    /// If neither or both variables are set, or the file is not private.
    pub(crate) fn from_environment() -> Result<Self, TokenError> {
        Self::read(crate::env::text)
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, TokenError> {
        match (variable(VARIABLE), variable(FILE_VARIABLE)) {
            (None, None) => Err(TokenError::Missing),
            (Some(_), Some(_)) => Err(TokenError::Twice),
            (Some(text), None) => Self::parse(&text, VARIABLE),
            (None, Some(path)) => {
                let path = Path::new(&path);
                Self::parse(&read_private(path)?, &path.display().to_string())
            }
        }
    }

    /// Parses a token. `place` names its source in the error.
    ///
    /// # Errors
    /// If it is not a token.
    pub(crate) fn parse(text: &str, place: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let is_word = !text.is_empty() && text.len() as u64 <= TOKEN_BYTES_MAX;
        if is_word && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(TokenError::Malformed { place: place.to_owned() })
    }

    /// The value of the `Authorization` header, marked as sensitive so that HTTP libraries do not print it.
    pub(crate) fn authorization(&self) -> HeaderValue {
        let value = HeaderValue::from_str(&format!("Bearer {}", self.0));
        let mut value = value.expect("a token is made of visible ASCII characters");
        value.set_sensitive(true);
        value
    }

    /// The token itself, for the redactor.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// Reads a private file. Permissions are checked on the open file, so it cannot be exchanged in between.
fn read_private(path: &Path) -> Result<String, TokenError> {
    let failed = |source| TokenError::File { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TokenError::Mode { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    // One byte more than a token may have, so that a longer file is noticed.
    file.take(TOKEN_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Jz0nvT4cR3dT0k3nWithSixtyFour";

    fn read(variables: &[(&str, &str)]) -> Result<Token, TokenError> {
        Token::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    fn file(mode: u32, text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let path = path.to_str().unwrap().to_owned();
        (folder, path)
    }

    #[test]
    fn it_comes_from_the_variable_or_from_a_private_file() {
        assert_eq!(read(&[(VARIABLE, SECRET)]).unwrap().reveal(), SECRET);
        for mode in [0o600, 0o400] {
            let (_folder, path) = file(mode, &format!("{SECRET}\n"));
            assert_eq!(read(&[(FILE_VARIABLE, &path)]).unwrap().reveal(), SECRET, "{mode:o}");
        }
        assert!(matches!(read(&[]), Err(TokenError::Missing)));
        assert!(matches!(read(&[(VARIABLE, SECRET), (FILE_VARIABLE, "/x")]), Err(TokenError::Twice)));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o644, 0o620, 0o601] {
            let (_folder, path) = file(mode, SECRET);
            let error = read(&[(FILE_VARIABLE, &path)]).unwrap_err().to_string();
            assert!(error.contains(&format!("has mode {mode:04o}")), "{error}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let long = "x".repeat(2000);
        for text in ["two words", "line\nbreak", "ümlaut", long.as_str()] {
            let (_folder, path) = file(0o600, text);
            assert!(matches!(read(&[(FILE_VARIABLE, &path)]), Err(TokenError::Malformed { .. })), "{text}");
        }
        let missing = read(&[(FILE_VARIABLE, "/no/such/file")]).unwrap_err().to_string();
        assert!(missing.starts_with("HCLOUD_TOKEN_FILE: /no/such/file: "), "{missing}");
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        assert!(read(&[(FILE_VARIABLE, folder)]).unwrap_err().to_string().contains("not a regular file"));
    }

    #[test]
    fn no_debug_and_no_error_shows_it() {
        let token = read(&[(VARIABLE, SECRET)]).unwrap();
        let header = token.authorization();
        assert_eq!(header.as_bytes(), format!("Bearer {SECRET}").as_bytes());
        let bad = format!("{SECRET} and more");
        let (_folder, path) = file(0o600, &bad);
        let shown = [
            format!("{token:?} {header:?}"),
            format!("{:?}", read(&[(VARIABLE, &bad)])),
            format!("{:?}", read(&[(FILE_VARIABLE, &path)])),
            read(&[(VARIABLE, &bad)]).unwrap_err().to_string(),
        ];
        assert!(shown.iter().all(|text| !text.contains(SECRET)), "{shown:?}");
    }
}
