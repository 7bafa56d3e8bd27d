//! Certificates of authorities, many in one PEM text.
//!
//! In: the text, or one of them, DER. Out: all of them, or which ones are
//! damaged; whether one may sign, or a sentence that says what is wrong. Not
//! here: reading files (`check::files`), until when they are valid, for which a
//! clock is needed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::certificate::X509Certificate;

use super::pem;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// What a PEM text of authorities holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// The certificates, DER.
    pub whole: Vec<Vec<u8>>,
    /// Of those that cannot be read, where they stand among all, from 1.
    pub damaged: Vec<usize>,
}

impl Bundle {
    /// All `CERTIFICATE` blocks of a text. What stands between them is nobody's concern.
    pub fn read(text: &[u8]) -> Self {
        let (text, mut found) = (String::from_utf8_lossy(text), Bundle::default());
        for (at, block) in text.split(BEGIN).skip(1).enumerate() {
            match block.split_once(END).and_then(|(body, _)| der(body)) {
                Some(der) => found.whole.push(der),
                None => found.damaged.push(at + 1),
            }
        }
        found
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.whole.len() + self.damaged.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn der(body: &str) -> Option<Vec<u8>> {
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let der = STANDARD.decode(body).ok()?;
    certificate(&der).is_some().then_some(der)
}

fn certificate(der: &[u8]) -> Option<X509Certificate<'_>> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Some(certificate),
        Ok(_) | Err(_) => None,
    }
}

/// That a certificate, DER, is that of somebody who may sign others.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn may_sign(der: &[u8]) -> Result<(), (String, String)> {
    let Some(certificate) = certificate(der) else { return Ok(()) };
    let subject = certificate.subject();
    if !certificate.is_ca() {
        let help = "name the certificate of who signs those of callers; it says `CA:TRUE` in its basic constraints";
        return Err((format!("`{subject}` is no authority"), help.to_owned()));
    }
    let usage = certificate.key_usage().ok().flatten();
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        let help = "make it again with `keyUsage = critical, keyCertSign`, or without `keyUsage`";
        return Err((format!("`{subject}` says of itself that it signs no certificates"), help.to_owned()));
    }
    pem::of_any_kind(&certificate.tbs_certificate.subject_pki).map(|_| ()).map_err(|words| {
        let (what, help) = words.split_once(": ").unwrap_or((&words, "make another one"));
        (format!("the key of `{subject}` will not do: {what}"), help.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(body: &str) -> String {
        format!("{BEGIN}\n{body}\n{END}\n")
    }

    #[test]
    fn what_is_damaged_is_named_by_its_place_and_costs_nobody_else() {
        let der = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap().cert.der().to_vec();
        let (body, mut cut) = (STANDARD.encode(&der), der.clone());
        cut.pop();
        let good = block(&body);
        let unended = good.replace(END, "");
        for bad in [block("!!!"), block(body.get(..40).unwrap()), block(&STANDARD.encode(&cut)), unended, block("")] {
            let found = Bundle::read(format!("the first\n{good}\n{bad}the last\n{good}").as_bytes());
            assert_eq!(found, Bundle { whole: vec![der.clone(), der.clone()], damaged: vec![2] }, "{bad}");
            assert_eq!(found.len(), 3);
        }
        assert!(Bundle::read(b"nothing").is_empty());
        assert!(Bundle::read(&der).is_empty());
    }
}
