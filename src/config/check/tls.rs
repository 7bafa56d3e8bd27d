//! Rules of TLS: that who is to come over TLS can, and that certificates are for the hosts that name them.
//!
//! In: the decoded configuration, its files read. Out: issues. Not here: whether
//! a certificate is a pair with its key (`scalar`), whether it is still valid,
//! for which a clock is needed (`app`).

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::config::document::Node;
use crate::config::issue::{Issue, IssueCode};
use crate::config::scalar::{HostPattern, KeyKind, KeyPair, Scheme, is_address};
use crate::config::section::hosts::Host;
use crate::config::section::tls::{CertificateFiles, DefaultCertificate, HostTls};

use super::files::acme_path;
use super::{Checker, PRIVATE_SUFFIXES};

impl Checker<'_> {
    pub(super) fn tls(&mut self) {
        let is_unclear = |index: usize| self.reported(&["listeners", &index.to_string(), "tls"]);
        let mut listeners = self.config.listeners.iter().enumerate();
        let listens = listeners.any(|(index, listener)| listener.tls || is_unclear(index));
        for (pattern, host) in &self.config.hosts {
            self.certificates_of(pattern, host.tls.as_ref());
            self.way_to(pattern, host, listens);
        }
        self.acme();
        self.asking();
        if listens {
            self.reachable_over_tls();
        } else {
            self.without_listener();
        }
    }

    /// That a host's certificates are for it.
    fn certificates_of(&mut self, pattern: &HostPattern, tls: Option<&HostTls>) {
        let path = ["hosts", pattern.as_str(), "tls"];
        let Some(tls) = tls else { return };
        if is_address(pattern.as_str()) {
            let title = format!("`{pattern}` is an address, and callers name none when they open a connection");
            self.at_key(IssueCode::TlsRules, &path, title, "write its certificate as `tls.default`");
            return;
        }
        if self.is_empty_list(&path) {
            self.at_value(IssueCode::BadValue, &path, "`tls` is empty".to_owned(), "name the files of a certificate");
        }
        let mut kinds = BTreeSet::new();
        for (files, pair) in tls.files().iter().filter_map(|files| Some((files, files.pair.as_ref()?))) {
            if !pair.covers(pattern.as_str()) {
                let title = format!("the certificate in `{}` is not for `{pattern}`", files.cert.display());
                let help =
                    format!("it is for {}, valid {}: name one that is for `{pattern}`", of(pair), pair.valid_words());
                self.issues
                    .push(Issue::at(IssueCode::CertificateRules, self.document.value_place(&path), title).help(help));
            }
            if !kinds.insert(pair.kind()) {
                self.second_of_a_kind(&path, files, pair.kind());
            }
        }
    }

    /// That who is asked for a certificate comes with TLS.
    fn asking(&mut self) {
        for (index, listener) in self.config.listeners.iter().enumerate() {
            let index = index.to_string();
            if listener.tls || listener.client_certificates || self.reported(&["listeners", &index, "tls"]) {
                continue;
            }
            let title = "`client_certificates` has no effect: there is no TLS here".to_owned();
            let path = ["listeners", &index, "client_certificates"];
            self.at_key(IssueCode::NoEffect, &path, title, "add `tls: true`, or remove this");
        }
    }

    /// That authorities can do what hosts ask of them.
    fn acme(&mut self) {
        let is_auto = |(_, host): &(&HostPattern, &Host)| host.tls == Some(HostTls::Auto);
        let needs_acme = |(_, host): &(&HostPattern, &Host)| {
            host.tls.as_ref().is_some_and(|tls| matches!(tls, HostTls::Auto | HostTls::OnDemand))
        };
        let first = self.config.hosts.iter().find(needs_acme);
        // Where there are hosts, customers' own domains can be added, which are not in the file.
        if first.is_none()
            && self.config.hosts.is_empty()
            && self.document.node(&["tls", "acme"]).is_some()
            && !self.reported(&["hosts"])
        {
            let title = "`acme` has no effect: no host has `tls: auto` or `tls: on_demand`".to_owned();
            self.at_key(IssueCode::NoEffect, &["tls", "acme"], title, "write `tls: auto` for hosts, or remove this");
        }
        if self.is_empty_list(&["tls", "acme"]) {
            let title = "`acme` is empty".to_owned();
            self.at_value(IssueCode::BadValue, &["tls", "acme"], title, "leave it out for Let's Encrypt");
        }
        self.accounts();
        let has_hook = self.config.tls.acme.iter().any(|acme| acme.dns_hook.is_some());
        for (pattern, host) in self.config.hosts.iter().filter(needs_acme) {
            let path = ["hosts", pattern.as_str(), "tls"];
            if is_auto(&(pattern, host)) && pattern.suffix().is_some() && !has_hook {
                let title = format!("no authority issues a certificate for `{pattern}` without a record in DNS");
                let help = "write `tls: { acme: { dns_hook: PROGRAM } }`, or name the hosts one by one, or `on_demand`";
                self.at_value(IssueCode::TlsRules, &path, title, help);
            }
            // An authority of one's own may sign what it likes.
            let is_public =
                self.config.tls.acme.iter().all(|acme| acme.directory.to_string().starts_with("letsencrypt"));
            if let Some(why) = private(pattern.as_str()).filter(|_| is_public) {
                let title = format!("no authority issues a certificate for `{pattern}`: {why}");
                self.at_value(IssueCode::TlsRules, &path, title, "`internal` makes one for development");
            }
        }
        let is_on_demand = |(_, host): &(&HostPattern, &Host)| host.tls == Some(HostTls::OnDemand);
        match self.config.hosts.iter().find(is_on_demand) {
            // Whether a name leads here is seen there, whoever proves it how.
            Some((pattern, _)) => self.answers_on_port_80(Some(pattern), false),
            None => self.answers_on_port_80(first.map(|(pattern, _)| pattern), has_hook),
        }
        self.on_demand();
    }

    /// That authorities can take what is said of the operator.
    fn accounts(&mut self) {
        for (index, acme) in self.config.tls.acme.iter().enumerate() {
            let index = index.to_string();
            if let Some(email) = acme.email.as_deref().filter(|email| !is_mail(email)) {
                let path = acme_path(self.document, &index, &["email"]);
                let title = format!("`{email}` is no address of mail");
                self.at_value(IssueCode::BadValue, &path, title, "write it like ops@example.com");
            }
            if acme.eab.as_ref().is_some_and(|eab| !is_base64(eab.hmac_key.expose())) {
                let path = acme_path(self.document, &index, &["eab", "hmac_key"]);
                let title = "this key is not in Base64 (it is not shown)".to_owned();
                self.at_value(IssueCode::BadValue, &path, title, "copy it again from the authority's site");
            }
        }
    }

    /// That somebody says who may have a certificate, and that there are hosts for what is said.
    fn on_demand(&mut self) {
        let is_on_demand = |host: &Host| host.tls == Some(HostTls::OnDemand);
        if self.config.hosts.is_empty()
            && self.document.node(&["tls", "on_demand"]).is_some()
            && !self.is_a_host_reported()
        {
            let title = "`on_demand` has no effect: there are no `hosts`".to_owned();
            self.at_key(
                IssueCode::NoEffect,
                &["tls", "on_demand"],
                title,
                "write `tls: on_demand` for a host, or remove this",
            );
        }
        if let Some(via) = &self.config.tls.on_demand.via
            && via.scheme() != Scheme::Http
        {
            let title = "a proxy is spoken to without TLS".to_owned();
            self.at_value(IssueCode::BadValue, &["tls", "on_demand", "via"], title, "write it like http://proxy:3128");
        }
        let is_unclear = self.reported(&["tls", "on_demand"])
            || self.document.is_reported(&["tls", "on_demand"], "ask")
            || self.document.is_reported(&["tls"], "on_demand");
        if self.config.tls.on_demand.ask.is_some() || is_unclear {
            return;
        }
        let open: Vec<&HostPattern> = self
            .config
            .hosts
            .iter()
            .filter(|(pattern, host)| is_on_demand(host) && pattern.suffix().is_some())
            .map(|(pattern, _)| pattern)
            .collect();
        for pattern in open {
            let title = format!("nobody says which names of `{pattern}` may have a certificate");
            let help =
                "write `tls: { on_demand: { ask: URL } }`: a page of yours that answers 200 for names of customers";
            self.at_value(IssueCode::OnDemandRules, &["hosts", pattern.as_str(), "tls"], title, help);
        }
    }

    /// That authorities find an answer where they ask: on port 80, without TLS.
    fn answers_on_port_80(&mut self, first: Option<&HostPattern>, has_hook: bool) {
        let (Some(first), false) = (first, has_hook) else { return };
        // Of listeners that were reported, nothing is left.
        let listeners = &self.config.listeners;
        if !listeners.is_empty() && listeners.iter().all(|listener| listener.tls) {
            let title = format!("authorities ask for `{first}` on port 80, without TLS, and no listener answers there");
            let help = match self.config.hosts.get(first).and_then(|host| host.tls.as_ref()) {
                Some(HostTls::OnDemand) => "add a listener without `tls`, to which port 80 leads",
                _ => "add a listener without `tls`, to which port 80 leads; or set records in DNS by `dns_hook`",
            };
            self.at_value(IssueCode::TlsRules, &["listeners", "0", "tls"], title, help);
        }
    }

    fn second_of_a_kind(&mut self, path: &[&str], files: &CertificateFiles, kind: KeyKind) {
        let title = format!(
            "the certificate in `{}` is never used: another one with such a key, {}, stands before it",
            files.cert.display(),
            kind.word()
        );
        self.at_value(IssueCode::CertificateRules, path, title, "name one certificate for each kind of key");
    }

    /// That redirects lead somewhere, and browsers are told to use TLS only where there is some.
    fn way_to(&mut self, pattern: &HostPattern, host: &Host, listens: bool) {
        let has_way = listens || !self.config.server.trusted_proxies.is_empty();
        if host.redirect_http && !has_way {
            let path = ["hosts", pattern.as_str(), "redirect_http"];
            let title = "callers are sent to where nobody listens: there is no TLS here".to_owned();
            let help =
                "add a listener with `tls: true`; if a proxy in front speaks TLS, name it in `server.trusted_proxies`";
            self.at_key(IssueCode::TlsRules, &path, title, help);
        }
        if host.hsts.is_some_and(|hsts| hsts.duration().subsec_nanos() != 0) {
            let path = ["hosts", pattern.as_str(), "hsts"];
            let title = "browsers count this in whole seconds".to_owned();
            self.at_value(IssueCode::BadValue, &path, title, "write it like 180d; 0s takes back what was said before");
        }
        if host.hsts.is_some() && !has_way {
            let path = ["hosts", pattern.as_str(), "hsts"];
            let title = "`hsts` has no effect: it is said over TLS only, and there is no TLS here".to_owned();
            let help =
                "add a listener with `tls: true`; if a proxy in front speaks TLS, name it in `server.trusted_proxies`";
            self.at_key(IssueCode::NoEffect, &path, title, help);
        }
    }

    /// That there are certificates for a listener with TLS, and for every host.
    fn reachable_over_tls(&mut self) {
        if self.config.tls.default != DefaultCertificate::Refuse || self.is_a_host_reported() || self.reported(&["tls"])
        {
            return;
        }
        if ["hosts", "tls"].iter().any(|key| self.document.is_reported(&[], key)) {
            return;
        }
        // What was written and is no certificate was reported, and is not to be missed once more.
        let has_tls = |(pattern, host): (&HostPattern, &Host)| {
            let path = ["hosts", pattern.as_str()];
            let is_written = |host: &Node| host.child("tls").is_some_and(|tls| !tls.is_empty());
            host.tls.is_some()
                || self.document.node(&path).is_some_and(is_written)
                || self.document.is_reported(&path, "tls")
        };
        if !self.config.hosts.iter().any(has_tls) {
            let title = "no certificate: every connection to a listener with `tls: true` would be refused".to_owned();
            let help = "write `tls` for a host, or `tls: { default: { cert: FILE, key: FILE } }`; `internal` makes one for development";
            let first = self.config.listeners.iter().position(|listener| listener.tls).unwrap_or_default().to_string();
            self.at_value(IssueCode::TlsRules, &["listeners", &first, "tls"], title, help);
            return;
        }
        let hosts = &self.config.hosts;
        let above = |pattern: &HostPattern| {
            let domain = pattern.as_str().split_once('.').map(|(_, domain)| domain);
            domain.is_some_and(|domain| hosts.iter().any(|other| other.0.suffix() == Some(domain) && has_tls(other)))
        };
        let bare: Vec<&HostPattern> = hosts
            .iter()
            .filter(|(pattern, host)| !has_tls((pattern, host)) && !above(pattern))
            .map(|(pattern, _)| pattern)
            .collect();
        for pattern in bare {
            let title = format!("`{pattern}` has no certificate: callers who come over TLS are refused");
            let help = "write its `tls`, or `tls: { default: .. }` for all that have none";
            self.at_key(IssueCode::NoCertificate, &["hosts", pattern.as_str()], title, help);
        }
    }

    fn without_listener(&mut self) {
        let help = "add a listener with `tls: true`, or remove this";
        if let Some((pattern, _)) = self.config.hosts.iter().find(|(_, host)| host.tls.is_some()) {
            let title = "`tls` has no effect: no listener has `tls: true`".to_owned();
            self.at_key(IssueCode::NoEffect, &["hosts", pattern.as_str(), "tls"], title, help);
        }
        if self.config.tls.default != DefaultCertificate::Refuse {
            let title = "`default` has no effect: no listener has `tls: true`".to_owned();
            self.at_key(IssueCode::NoEffect, &["tls", "default"], title, help);
        }
    }
}

fn is_mail(text: &str) -> bool {
    let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':' || c == ',');
    is_plain
        && text.split_once('@').is_some_and(|(who, host)| !who.is_empty() && !host.is_empty() && !host.contains('@'))
}

/// In either of its alphabets, as authorities show keys.
fn is_base64(text: &str) -> bool {
    let text = text.trim_end_matches('=');
    !text.is_empty() && (URL_SAFE_NO_PAD.decode(text).is_ok() || STANDARD_NO_PAD.decode(text).is_ok())
}

/// Why a name is nobody's in the world.
fn private(pattern: &str) -> Option<&'static str> {
    let last = pattern.rsplit('.').next().unwrap_or_default();
    match () {
        () if !pattern.contains('.') => Some("it is one label"),
        () if PRIVATE_SUFFIXES.contains(&last) => Some("such names are nobody's"),
        () => None,
    }
}

/// The names that a certificate is for, the first few.
fn of(pair: &KeyPair) -> String {
    let shown: Vec<String> = pair.names().iter().take(3).map(|name| format!("`{name}`")).collect();
    let more = pair.names().len().saturating_sub(shown.len());
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
