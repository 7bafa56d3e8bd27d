//! The gateway's own authority: certificates for development, which nobody else believes.
//!
//! In: names. Out: a certificate for them, made when it is asked for and again
//! before it ends. The authority itself is made once and kept in `state.dir`, so
//! that a browser which was told to believe it goes on doing so. Not here:
//! certificates that strangers believe.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::rustls::crypto::ring::sign::any_supported_type;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::clock::Clock;

use super::whole_file::{self, PRIVATE, PUBLIC};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the authority is believed.
const LIFE_OF_AUTHORITY: Duration = DAY.saturating_mul(3650);
/// How long a certificate of it is; browsers take none of more than 398 days.
const LIFE: Duration = DAY.saturating_mul(90);
/// From when on another one is made.
const RENEWAL: Duration = DAY.saturating_mul(60);
/// For clocks that are behind.
const BEFORE: Duration = DAY;

const CERTIFICATE: &str = "authority.pem";
const KEY: &str = "authority.key";

/// Makes certificates for development.
pub struct Authority {
    clock: Clock,
    folder: PathBuf,
    /// None until somebody wants it.
    issuer: OnceLock<Option<Issuer<'static, KeyPair>>>,
    made: ArcSwap<HashMap<Box<[String]>, Made>>,
}

#[derive(Clone)]
struct Made {
    key: Arc<CertifiedKey>,
    renewal: SystemTime,
}

impl Authority {
    /// The authority that is kept below `state`, or will be.
    pub fn new(clock: Clock, state: &Path) -> Self {
        Authority {
            clock,
            folder: state.join("tls").join("internal"),
            issuer: OnceLock::new(),
            made: ArcSwap::default(),
        }
    }

    /// The file of its certificate, which browsers can be told to believe.
    pub fn file(&self) -> PathBuf {
        self.folder.join(CERTIFICATE)
    }

    /// Opens it, or makes it.
    ///
    /// # Errors
    /// In a sentence, why it cannot be kept; then it is another one after a restart.
    pub fn open(&self) -> Result<(), String> {
        let mut kept = Ok(());
        self.issuer.get_or_init(|| {
            let (issuer, how) = match self.kept() {
                Ok(Some(issuer)) => (Some(issuer), Ok(())),
                Ok(None) => self.made(),
                Err(why) => (self.made_in_memory().map(|(issuer, ..)| issuer), Err(why)),
            };
            kept = how;
            issuer
        });
        kept
    }

    /// A certificate for these names.
    pub fn certificate(&self, names: &[String]) -> Option<Arc<CertifiedKey>> {
        let now = self.clock.wall();
        if let Some(known) = self.made.load().get(names).filter(|known| now < known.renewal) {
            return Some(Arc::clone(&known.key));
        }
        let key = Arc::new(leaf(self.issuer.get()?.as_ref()?, names, now)?);
        let made = Made { key: Arc::clone(&key), renewal: now + RENEWAL };
        // Who comes at the same time makes another one, which is as good.
        self.made.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.insert(names.into(), made.clone());
            all
        });
        Some(key)
    }

    /// The one in the folder, if there is one.
    fn kept(&self) -> Result<Option<Issuer<'static, KeyPair>>, String> {
        let read = |name: &str| match fs::read_to_string(self.folder.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("`{}` cannot be read: {error}", self.folder.join(name).display())),
        };
        let (Some(certificate), Some(key)) = (read(CERTIFICATE)?, read(KEY)?) else { return Ok(None) };
        let damaged = |_: rcgen::Error| {
            let folder = self.folder.display();
            format!(
                "the authority in `{folder}` is damaged; remove the folder, and browsers have to be told of the new one"
            )
        };
        let key = KeyPair::from_pem(&key).map_err(damaged)?;
        let is_whole = certificate.contains("-----END CERTIFICATE-----");
        // Only name and key of an authority go into what it signs.
        is_whole
            .then(|| Some(Issuer::new(params(self.clock.wall()), key)))
            .ok_or_else(|| damaged(rcgen::Error::CouldNotParseCertificate))
    }

    /// A new one, in the folder if that can be.
    fn made(&self) -> (Option<Issuer<'static, KeyPair>>, Result<(), String>) {
        let Some((issuer, certificate, key)) = self.made_in_memory() else {
            return (None, Err("the machine gives no random numbers for a key".to_owned()));
        };
        let kept = self.keep(&certificate, &key).map_err(|error| {
            format!(
                "the authority cannot be kept in `{}`: {error}; it is another one after a restart",
                self.folder.display()
            )
        });
        (Some(issuer), kept)
    }

    fn made_in_memory(&self) -> Option<(Issuer<'static, KeyPair>, String, String)> {
        let key = KeyPair::generate().ok()?;
        let params = params(self.clock.wall());
        let certificate = params.self_signed(&key).ok()?.pem();
        let private = key.serialize_pem();
        Some((Issuer::new(params, key), certificate, private))
    }

    fn keep(&self, certificate: &str, key: &str) -> io::Result<()> {
        // The key first: without a certificate beside it, another pair is made.
        whole_file::replace(&self.folder.join(KEY), key.as_bytes(), PRIVATE)?;
        whole_file::replace(&self.folder.join(CERTIFICATE), certificate.as_bytes(), PUBLIC)
    }
}

fn params(now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Local development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - BEFORE).into();
    params.not_after = (now + LIFE_OF_AUTHORITY).into();
    params
}

fn leaf(issuer: &Issuer<'_, KeyPair>, names: &[String], now: SystemTime) -> Option<CertifiedKey> {
    let key = KeyPair::generate().ok()?;
    let mut params = CertificateParams::new(names.to_vec()).ok()?;
    params.distinguished_name = named(names.first()?);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = (now - BEFORE).into();
    params.not_after = (now + LIFE).into();
    let certificate = params.signed_by(&key, issuer).ok()?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signing = any_supported_type(&private).ok()?;
    Some(CertifiedKey::new(vec![CertificateDer::from(certificate.der().to_vec())], signing))
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}
