//! The right client: the `h2` crate, one connection, any number of requests at once.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::HeaderMap;
use http::Request;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::watched::PATIENCE;

/// A connection; clones share it, so requests can run side by side.
#[derive(Clone, Debug)]
pub struct H2Client {
    sender: SendRequest<Bytes>,
}

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct H2Response {
    /// The status.
    pub status: u16,
    /// The fields.
    pub headers: HeaderMap,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// The trailers, if there were any.
    pub trailers: Option<HeaderMap>,
    /// The error code of the reset (or GOAWAY) that broke the body off.
    pub broken_off: Option<u32>,
}

impl H2Client {
    /// Connects and shakes hands; the connection is driven by a task on the test's runtime.
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"));
        stream.set_nodelay(true).expect("a fresh socket");
        let shaken = timeout(PATIENCE, h2::client::handshake(stream)).await.expect("an HTTP/2 handshake within 10 s");
        let (sender, connection) = shaken.unwrap_or_else(|error| panic!("no HTTP/2 with {addr}: {error}"));
        tokio::spawn(async move {
            // What went wrong reaches whoever waits for a response.
            drop(connection.await);
        });
        Self { sender }
    }

    /// GET of this path and query, with the authority `localhost`.
    pub async fn get(&self, path: &str) -> H2Response {
        self.request(Self::build("GET", path), None).await
    }

    /// A request to start from: `http::Request` has no builder that defaults the authority.
    pub fn build(method: &str, path: &str) -> Request<()> {
        let built = Request::builder().method(method).uri(format!("http://localhost{path}")).body(());
        built.expect("a valid method and path")
    }

    /// Sends this request and reads the response; panics if the stream or the connection fails before its head.
    pub async fn request(&self, request: Request<()>, body: Option<Bytes>) -> H2Response {
        let name = format!("{} {}", request.method(), request.uri());
        self.try_request(request, body).await.unwrap_or_else(|error| panic!("no response to {name}: {error}"))
    }

    /// Sends this request and reads the response, unless the stream or the connection fails before its head.
    pub async fn try_request(&self, request: Request<()>, body: Option<Bytes>) -> Result<H2Response, h2::Error> {
        let name = format!("{} {}", request.method(), request.uri());
        let call = timeout(PATIENCE, self.call(request, body)).await;
        call.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for the response to {name}"))
    }

    async fn call(&self, request: Request<()>, body: Option<Bytes>) -> Result<H2Response, h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut stream) = sender.send_request(request, body.is_none())?;
        if let Some(body) = body {
            // A server that has heard enough resets the stream; its response counts.
            drop(stream.send_data(body, true));
        }
        let (head, mut body) = response.await?.into_parts();
        let mut whole = H2Response {
            status: head.status.as_u16(),
            headers: head.headers,
            body: Vec::new(),
            trailers: None,
            broken_off: None,
        };
        while let Some(data) = body.data().await {
            match data {
                Ok(data) => {
                    whole.body.extend_from_slice(&data);
                    body.flow_control().release_capacity(data.len())?;
                }
                Err(error) => {
                    whole.broken_off = Some(error.reason().map_or(u32::MAX, u32::from));
                    return Ok(whole);
                }
            }
        }
        match body.trailers().await {
            Ok(trailers) => whole.trailers = trailers,
            Err(error) => whole.broken_off = Some(error.reason().map_or(u32::MAX, u32::from)),
        }
        Ok(whole)
    }
}

impl H2Response {
    /// The only value of this field, as text; `None` if there is none. Panics if there are several.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<String> {
        let all: Vec<_> = self.headers.get_all(name).iter().collect();
        assert!(all.len() <= 1, "several {name} fields in {self:#?}");
        all.first().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The body as text.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics if it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.body_text()))
    }
}
