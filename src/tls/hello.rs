//! The name in the first bytes of a handshake (SNI, RFC 6066 section 3), before the handshake.
//!
//! In: bytes as they come. Out: the name, as soon as it is known. Not here: the
//! handshake itself, which sees the same bytes again and judges them.

use std::borrow::Cow;
use std::fmt;

use tokio_rustls::rustls::server::Acceptor;

/// A greeting is smaller; more is not read for its name.
const MOST: usize = 32 << 10;

/// The name that a caller asks for, as hosts are spelled: in lower case, without a dot at its end.
pub fn spelled(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

/// A handshake of which some bytes have come.
#[derive(Default)]
pub struct Hello {
    acceptor: Acceptor,
    seen: Vec<u8>,
}

/// What is known by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// More has to come.
    Unfinished,
    /// It is for this name, [`spelled`] as hosts are.
    Named(Box<str>),
    /// It names nobody, or is no greeting at all.
    Nameless,
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello").field("seen", &self.seen.len()).finish_non_exhaustive()
    }
}

impl Hello {
    /// Takes what has come; an empty piece is the end of the connection.
    pub fn read(&mut self, piece: &[u8]) -> Greeting {
        self.seen.extend_from_slice(piece);
        if piece.is_empty() || self.seen.len() > MOST {
            return Greeting::Nameless;
        }
        let mut rest = piece;
        while !rest.is_empty() {
            match self.acceptor.read_tls(&mut rest) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Greeting::Nameless,
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(|name| spelled(name).into());
                    return name.map_or(Greeting::Nameless, Greeting::Named);
                }
                Err(_) => return Greeting::Nameless,
            }
        }
        Greeting::Unfinished
    }

    /// All that came.
    pub fn seen(&self) -> &[u8] {
        &self.seen
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    fn greeting(name: &str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let mut connection = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_name_is_found_however_the_bytes_come() {
        let bytes = greeting("A.Customers.Example.com");
        for size in [1, 7, 100, bytes.len()] {
            let mut hello = Hello::default();
            let last =
                bytes.chunks(size).map(|piece| hello.read(piece)).find(|greeting| *greeting != Greeting::Unfinished);
            assert_eq!(last, Some(Greeting::Named("a.customers.example.com".into())), "{size}");
            assert_eq!(hello.seen(), bytes, "{size}");
        }
    }

    #[test]
    fn names_are_spelled_as_hosts_are() {
        for (asked, spelling) in
            [("a.test", "a.test"), ("A.Test", "a.test"), ("a.test.", "a.test"), ("A.test.", "a.test")]
        {
            assert_eq!(spelled(asked), spelling);
        }
    }

    #[test]
    fn what_is_no_greeting_names_nobody() {
        for bytes in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"", b"\x16\x03\x01\xff\xff", &[0; 50]] {
            assert_eq!(Hello::default().read(bytes), Greeting::Nameless, "{bytes:?}");
        }
        assert_eq!(Hello::default().read(&greeting("127.0.0.1")), Greeting::Nameless);
        assert_eq!(Hello::default().read(&greeting("a.example.com")[..40]), Greeting::Unfinished);
    }
}
