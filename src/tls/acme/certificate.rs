//! A certificate with its key, as it is kept in one file.
//!
//! In: PEM: the key, then the chain. Out: what a handshake needs, and the name
//! by which the authority knows it (RFC 9773). Only what belongs together, and
//! to the name, comes out. Not here: reading files (`files`).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::CertificateIdentifier;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, Der, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use crate::tls::store::Issued;

use super::name::Name;

/// What every file ends with.
const END: &str = "-----END CERTIFICATE-----";

/// A certificate that can be served.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) issued: Arc<Issued>,
    /// By which its authority knows it, if it says who that is.
    pub(super) id: Option<Arc<CertificateIdentifier<'static>>>,
}

/// A new key and the request to have it signed for `name`.
pub(super) fn new_key() -> Result<KeyPair, String> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| format!("no key can be made: {error}"))
}

/// The request to have `key` signed for `name`, DER.
pub(super) fn request(key: &KeyPair, name: &Name) -> Result<Vec<u8>, String> {
    let wrong = |error: rcgen::Error| format!("no request can be made for {name}: {error}");
    let mut params = CertificateParams::new(vec![name.as_str().to_owned()]).map_err(wrong)?;
    // Names stand in the extension; a common name would only be a second place for them.
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key).map_err(wrong)?.der().to_vec())
}

/// The key and the chain that an authority gave for it, as one text.
pub(super) fn join(key: &str, chain: &str) -> String {
    let (chain, _) = chain.rsplit_once(END).unwrap_or((chain, ""));
    format!("{}\n{chain}{END}\n", key.trim_end())
}

/// What can be served for `name`.
///
/// # Errors
/// In words: it is damaged, for another name, or key and certificate do not belong together.
pub(super) fn read(pem: &[u8], name: &Name) -> Result<Certificate, String> {
    // The parser takes a last certificate without an end for no certificate.
    if !pem.trim_ascii_end().ends_with(END.as_bytes()) {
        return Err("it has no end".to_owned());
    }
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("its chain is damaged: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("its key is damaged: {error}"))?;
    let leaf = chain.first().ok_or("there is no certificate in it")?.clone();
    let (rest, parsed) = x509_parser::parse_x509_certificate(&leaf).map_err(|_| "its certificate is damaged")?;
    if !rest.is_empty() {
        return Err("its certificate is damaged".to_owned());
    }
    if !is_for(&parsed, name) {
        return Err(format!("its certificate is not for {name}"));
    }
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|error| format!("its key cannot be used with its certificate: {error}"))?;
    let validity = parsed.validity();
    let (not_before, not_after) = (moment(validity.not_before.timestamp()), moment(validity.not_after.timestamp()));
    let id = id_of(&parsed).map(Arc::new);
    Ok(Certificate { issued: Arc::new(Issued { key: Arc::new(key), not_before, not_after }), id })
}

fn is_for(certificate: &X509Certificate<'_>, name: &Name) -> bool {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.is_some_and(|names| {
        let named = |general: &GeneralName<'_>| matches!(general, GeneralName::DNSName(own) if own.eq_ignore_ascii_case(name.as_str()));
        names.value.general_names.iter().any(named)
    })
}

/// Who signed it, by the identifier of that key, and its number.
fn id_of(certificate: &X509Certificate<'_>) -> Option<CertificateIdentifier<'static>> {
    let signer = certificate.extensions().iter().find_map(|extension| {
        let ParsedExtension::AuthorityKeyIdentifier(signer) = extension.parsed_extension() else { return None };
        signer.key_identifier.as_ref().map(|signer| signer.0)
    })?;
    let serial = certificate.tbs_certificate.raw_serial();
    Some(CertificateIdentifier::new(Der::from_slice(signer), Der::from_slice(serial)).into_owned())
}

fn moment(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertifiedIssuer, IsCa, SerialNumber};

    fn issued(name: &str, key: &KeyPair) -> String {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![0xC0, 0xFF, 0xEE]);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        leaf.use_authority_key_identifier_extension = true;
        leaf.serial_number = Some(SerialNumber::from_slice(&[0xCA, 0xFE]));
        leaf.not_before = rcgen::date_time_ymd(2026, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(2026, 4, 1);
        leaf.signed_by(key, &authority).unwrap().pem()
    }

    #[test]
    fn a_certificate_is_read_with_its_life_and_its_id() {
        let (name, key) = (Name::parse("*.example.com").unwrap(), new_key().unwrap());
        let text = join(&key.serialize_pem(), &issued("*.example.com", &key));
        let certificate = read(text.as_bytes(), &name).unwrap();
        let life = certificate.issued.not_after.duration_since(certificate.issued.not_before).unwrap();
        assert_eq!(life, Duration::from_secs(90 * 24 * 3600));
        // The serial number's sign is part of its DER: RFC 9773, section 4.1.
        assert_eq!(certificate.id.unwrap().to_string(), "wP_u.AMr-");
    }

    #[test]
    fn only_what_belongs_together_is_taken() {
        let (name, key) = (Name::parse("a.example.com").unwrap(), new_key().unwrap());
        let pem = key.serialize_pem();
        let good = join(&pem, &issued("a.example.com", &key));
        assert!(read(good.as_bytes(), &name).is_ok());
        let other = join(&new_key().unwrap().serialize_pem(), &issued("a.example.com", &key));
        assert!(read(other.as_bytes(), &name).unwrap_err().contains("its key"));
        let elsewhere = join(&pem, &issued("b.example.com", &key));
        assert!(read(elsewhere.as_bytes(), &name).unwrap_err().contains("not for a.example.com"));
        assert!(read(pem.as_bytes(), &name).unwrap_err().contains("no end"));
        let good = format!("{good}{}", issued("b.example.com", &key));
        assert!(read(good.as_bytes(), &name).is_ok());
        let first = good.find("END CERTIFICATE").unwrap() + 20;
        // Cut anywhere, nothing of it is used.
        for length in (0..good.len() - 2).step_by(37).filter(|length| !(first..first + 3).contains(length)) {
            assert!(read(&good.as_bytes()[..length], &name).is_err(), "{length}");
        }
    }

    #[test]
    fn requests_are_for_the_name_alone() {
        let (name, key) = (Name::parse("*.example.com").unwrap(), new_key().unwrap());
        assert!(request(&key, &name).unwrap().windows(13).any(|part| part == b"*.example.com"));
    }
}
