//! Opens connections: names, addresses, proxy, TLS.
//!
//! In: a [`Call`] or a [`Dial`]. Out: a stream over which HTTP, or something
//! else, can be spoken. Each stage is written down before it begins. Not here:
//! HTTP itself (`exchange`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::client::proxy::matcher::Intercept;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::clock::Clock;
use crate::config::scalar::Scheme;

use super::failure::Trouble;
use super::{Call, Dial, Progress, Stage, Trust, exchange};

/// Bytes both ways, whatever is below them.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// An open connection.
pub type Stream = Box<dyn Wire>;

/// Opens a connection on which no HTTP is spoken.
pub(super) async fn dial(dial: &Dial, clock: &Clock, progress: &mut Progress) -> Result<Stream, Trouble> {
    let stream = reach(&dial.host, dial.port, dial.time, clock, progress).await?;
    // Small messages, each of which somebody waits for.
    stream.set_nodelay(true).map_err(|error| Trouble::system(&error))?;
    match dial.scheme {
        Scheme::Http => Ok(Box::new(stream)),
        Scheme::Https => {
            progress.stage = Stage::Tls;
            secure(Box::new(stream), &dial.host, &Trust::System, clock, progress).await
        }
    }
}

/// Opens the connection of a call.
pub(super) async fn open(
    call: &Call,
    proxy: Option<&Intercept>,
    clock: &Clock,
    progress: &mut Progress,
) -> Result<Stream, Trouble> {
    let target = &call.target;
    let (host, port) = match proxy {
        None => (target.host(), target.port()),
        Some(proxy) => proxy_address(proxy)?,
    };
    let mut stream: Stream = Box::new(reach(host, port, call.connect_time, clock, progress).await?);
    if target.scheme() == Scheme::Http {
        return Ok(stream);
    }
    if let Some(proxy) = proxy {
        progress.stage = Stage::Proxy;
        stream = exchange::tunnel(stream, target, proxy).await?;
    }
    progress.stage = Stage::Tls;
    secure(stream, target.host(), &call.trust, clock, progress).await
}

async fn reach(
    host: &str,
    port: u16,
    time: Duration,
    clock: &Clock,
    progress: &mut Progress,
) -> Result<TcpStream, Trouble> {
    progress.stage = Stage::Lookup;
    let addresses = lookup(host, port).await?;
    progress.facts.addresses.clone_from(&addresses);
    progress.stage = Stage::Connect;
    let (stream, address) = first_of(&addresses, time, clock).await?;
    progress.facts.connected = Some(address);
    Ok(stream)
}

fn proxy_address(proxy: &Intercept) -> Result<(&str, u16), Trouble> {
    let uri = proxy.uri();
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(host)) => Ok((host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80))),
        _ => Err(Trouble::new("the proxy of the environment is none that speaks plain http://")),
    }
}

async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, Trouble> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| Trouble::new(resolver_words(&error)))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.filter(|address| address.port() == port) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(Trouble::new("the name has no addresses"));
    }
    Ok(addresses)
}

fn resolver_words(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").map_or(text.clone(), str::to_lowercase)
}

/// The first connection that succeeds, as the gateway itself does it.
async fn first_of(addresses: &[SocketAddr], time: Duration, clock: &Clock) -> Result<(TcpStream, SocketAddr), Trouble> {
    let share = time / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut failure = Trouble::new("the name has no addresses");
    for address in addresses {
        let connected = tokio::select! {
            connected = TcpStream::connect(address) => connected,
            () = clock.sleep(share) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        };
        match connected {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => failure = Trouble::timed_out(share),
            Err(error) => failure = Trouble::system(&error),
        }
    }
    Err(failure)
}

pub(super) async fn secure(
    stream: Stream,
    host: &str,
    trust: &Trust,
    clock: &Clock,
    progress: &mut Progress,
) -> Result<Stream, Trouble> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Trouble::new("the host is no name that a certificate could have"))?;
    let config = client_config(trust, clock)?;
    let stream =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| Trouble::tls(&error))?;
    let (_, session) = stream.get_ref();
    progress.facts.certificate_ends =
        session.peer_certificates().and_then(<[_]>::first).and_then(|certificate| end_of(certificate));
    Ok(Box::new(stream))
}

/// Ring is named: a process in which nobody installed a provider, or two did, works the same.
fn client_config(trust: &Trust, clock: &Clock) -> Result<ClientConfig, Trouble> {
    let mut roots = RootCertStore::empty();
    let given = match trust {
        Trust::Given(certificates) => certificates.iter().cloned().map(CertificateDer::from).collect(),
        Trust::System => rustls_native_certs::load_native_certs()
            .map_err(|error| Trouble::new(format!("the system's authorities cannot be read: {error}")))?,
    };
    // One that nobody can read must not take the others with it.
    let (usable, _) = roots.add_parsable_certificates(given);
    if usable == 0 {
        return Err(Trouble::new(match trust {
            Trust::Given(_) => "none of the given authorities can be used",
            Trust::System => "the system has no authorities to trust: install its package of CA certificates",
        }));
    }
    let time = Arc::new(ClockTime(clock.clone()));
    let config = ClientConfig::builder_with_details(Arc::new(ring::default_provider()), time)
        .with_safe_default_protocol_versions()
        .map_err(|error| Trouble::new(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// The clock as TLS asks it.
#[derive(Debug)]
struct ClockTime(Clock);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.0.wall().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}

fn end_of(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
