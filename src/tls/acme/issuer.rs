//! An authority that certificates are asked of, and as whom.
//!
//! In: what the operator wrote. Out: the same, ready to use. Not here: speaking
//! to it (`session`).

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use instant_acme::ExternalAccountKey;

use crate::config::scalar::Secret;
use crate::outbound::{Target, Trust};

/// An authority, by its ACME directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Where its directory is.
    pub directory: Target,
    /// The address of mail to the operator, which the authority may use to warn.
    pub contact: Option<String>,
    /// The account at the authority's own site, where it wants one.
    pub eab: Option<Eab>,
    /// Who signs the certificate of the directory itself, DER; the system's authorities if this is left out.
    pub ca: Option<Vec<Vec<u8>>>,
    /// What sets records in DNS; without it, there are no wildcards.
    pub dns_hook: Option<Hook>,
}

/// What binds an ACME account to one at the authority's own site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eab {
    /// Its name.
    pub key_id: String,
    /// Its key, as authorities show it: in Base64 for URLs.
    pub hmac_key: Secret,
}

/// A program that sets and removes records in DNS, called as `PROGRAM ARGUMENTS.. present|cleanup NAME VALUE`. `present` adds
/// a TXT record beside those that are there, and ends when everybody can see it, within five minutes; `cleanup` removes the
/// record with this value alone. Names have no dot at the end. What it writes to stderr is told to the operator if it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program; no shell is between.
    pub program: PathBuf,
    /// What it is given in front.
    pub arguments: Vec<String>,
}

impl Issuer {
    /// An authority that wants to know nothing more.
    pub fn new(directory: Target) -> Self {
        Issuer { directory, contact: None, eab: None, ca: None, dns_hook: None }
    }

    /// The folder of what belongs to it, and its name in reports: `acme-v02.api.letsencrypt.org-directory`.
    pub fn slug(&self) -> String {
        let port = match self.directory.port() {
            80 | 443 => String::new(),
            port => format!("-{port}"),
        };
        let text = format!("{}{port}{}", self.directory.host(), self.url_path());
        let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
        let slug: String = text.chars().map(safe).collect();
        slug.trim_matches(['-', '.']).to_owned()
    }

    /// The whole URL of its directory.
    pub(super) fn url(&self) -> String {
        format!("{}{}", self.directory.origin(), self.url_path())
    }

    pub(super) fn trust(&self) -> Trust {
        self.ca.clone().map_or(Trust::System, Trust::Given)
    }

    /// As ACME writes it.
    pub(super) fn contact(&self) -> Option<String> {
        self.contact.as_ref().map(|contact| format!("mailto:{contact}"))
    }

    /// The key that binds the account.
    pub(super) fn external_key(&self) -> Result<Option<ExternalAccountKey>, String> {
        let Some(eab) = &self.eab else { return Ok(None) };
        let text = eab.hmac_key.expose().trim_end_matches('=');
        let key = URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text));
        // The key is not quoted.
        let key = key.map_err(|_| "the HMAC key of the external account is not in Base64: copy it again".to_owned())?;
        Ok(Some(ExternalAccountKey::new(eab.key_id.clone(), &key)))
    }

    fn url_path(&self) -> String {
        match self.directory.query() {
            Some(query) => format!("{}?{query}", self.directory.path()),
            None => self.directory.path().to_owned(),
        }
    }
}

impl Hook {
    /// A program and its first arguments, as somebody writes them in one line. Blanks separate; there are no quotes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let program = words.next()?.into();
        Some(Hook { program, arguments: words.map(str::to_owned).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use instant_acme::LetsEncrypt;

    use crate::config::scalar::AcmeDirectory;

    fn directory(text: &str) -> Result<Target, String> {
        text.parse::<AcmeDirectory>().map(|directory| directory.url().parse().unwrap())
    }

    #[test]
    fn the_words_of_the_file_are_the_directories_that_are_meant() {
        for (word, known) in [("letsencrypt", LetsEncrypt::Production), ("letsencrypt-staging", LetsEncrypt::Staging)] {
            assert_eq!(word.parse::<AcmeDirectory>().unwrap().url(), known.url());
        }
    }

    #[test]
    fn directories_have_short_names_and_folders_of_their_own() {
        for (text, slug) in [
            ("letsencrypt", "acme-v02.api.letsencrypt.org-directory"),
            ("letsencrypt-staging", "acme-staging-v02.api.letsencrypt.org-directory"),
            ("https://CA.example.com:14000/dir", "ca.example.com-14000-dir"),
            ("https://ca.example.com/../../etc", "ca.example.com-..-..-etc"),
            ("https://[::1]:1/a?b=c", "1-1-a-b-c"),
        ] {
            assert_eq!(Issuer::new(directory(text).unwrap()).slug(), slug);
        }
        assert!(directory("lets-encrypt").unwrap_err().contains("`letsencrypt`"));
    }

    #[test]
    fn a_hook_is_a_program_and_words() {
        let hook = Hook::parse(" /usr/bin/dns  --zone a.example ").unwrap();
        assert_eq!(
            (hook.program.to_str(), hook.arguments),
            (Some("/usr/bin/dns"), vec!["--zone".into(), "a.example".into()])
        );
        assert_eq!(Hook::parse("  "), None);
    }

    #[test]
    fn the_key_of_an_external_account_is_base64_of_either_kind() {
        let issuer = |key: &str| Issuer {
            eab: Some(Eab { key_id: "kid".into(), hmac_key: key.parse().unwrap() }),
            ..Issuer::new(directory("letsencrypt").unwrap())
        };
        for good in ["AAAA_-8", "AAAA_-8=", "AAAA/+8=", "AAAA/+8"] {
            assert!(issuer(good).external_key().is_ok(), "{good}");
        }
        let why = issuer("hunter2!").external_key().err().unwrap();
        assert!(!why.contains("hunter2"), "{why}");
    }
}
