//! A control node's address.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The port of `--rpc-listen`, where none is named.
const PORT: u16 = 8083;

/// Where a control node takes calls.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Server {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
}

/// Why a text is no server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a server is HOST:PORT, such as control-1:8083 or [::1]:8083")]
pub(crate) struct ServerError;

impl Server {
    /// Where goproxyd listens unless told otherwise.
    pub(crate) fn local() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: PORT }
    }

    /// Reads a comma-separated list, which must not be empty.
    pub(crate) fn parse_list(text: &str) -> Result<Vec<Self>, ServerError> {
        text.split(',').map(|part| part.trim().parse()).collect()
    }
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or(ServerError)?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(ServerError)?) })
        } else {
            text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
        };
        let bracketed = text.starts_with('[');
        let fine =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') || (bracketed && c == ':');
        if host.is_empty() || !host.chars().all(fine) {
            return Err(ServerError);
        }
        let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| ServerError))?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_read_back() {
        for (text, shown) in [
            ("control-1:9000", "control-1:9000"),
            ("control-1", "control-1:8083"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:8083", "[::1]:8083"),
            ("[::1]", "[::1]:8083"),
        ] {
            let server: Server = text.parse().unwrap();
            assert_eq!(server.to_string(), shown);
            assert_eq!(shown.parse(), Ok(server));
        }
        for wrong in ["", ":1", "a:b", "a:70000", "::1", "[::1", "[::1]x", "http://a:1", "a b:1"] {
            assert_eq!(wrong.parse::<Server>(), Err(ServerError), "{wrong}");
        }
        assert_eq!(Server::parse_list("a:1, b:2").unwrap().len(), 2);
        assert!(Server::parse_list("a:1,").is_err());
    }
}
