//! What the configuration refers to on disk: reads it, and makes relative paths absolute.
//!
//! In: a decoded [`Config`]. Out: the same with contents, and an issue for each
//! file that cannot be used. Not here: credentials in files (`interpolate`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Config;
use crate::config::document::{Document, NodeKind};
use crate::config::interpolate::Environment;
use crate::config::issue::{Issue, IssueCode, Issues};
use crate::config::keys::{self, Named};
use crate::config::scalar::{Bundle, Fault, KeyPair, may_sign};
use crate::config::section::auth::ProviderKind;
use crate::config::section::log::Access;
use crate::config::section::tls::{CertificateFiles, HostTls};
use crate::config::touched::Reader;

/// Larger files than this hold no authorities.
const MAX_CA_FILE: u64 = 4 << 20;
/// What DER begins with, and PEM never does.
const SEQUENCE: u8 = 0x30;
/// Larger files than this hold no certificate of a host, nor its key.
const MAX_KEY_FILE: u64 = 1 << 20;

/// Reads what the configuration refers to, and makes relative paths absolute.
pub(in crate::config) fn read_files(
    config: &mut Config,
    document: &Document,
    environment: &Environment,
    reader: &mut Reader,
) -> Issues {
    let mut issues = Issues::default();
    for (name, upstream) in &mut config.upstreams {
        let Some(ca) = &mut upstream.tls.ca else { continue };
        let path = ["upstreams", name, "tls", "ca"];
        upstream.tls.ca_certificates = read_authorities(ca, (document, &path), reader, &mut issues);
    }
    for (name, provider) in &mut config.auth {
        let Some(ca) = &mut provider.ca else { continue };
        let path = ["auth", name, "ca"];
        provider.ca_certificates = read_authorities(ca, (document, &path), reader, &mut issues);
        if provider.kind == ProviderKind::Mtls {
            signers(&mut provider.ca_certificates, ca, (document, &path), &mut issues);
        }
    }
    for (name, host) in &mut config.hosts {
        let files = host.tls.as_mut().map(HostTls::files_mut).unwrap_or_default();
        read_pairs(files, (document, &["hosts", name.as_str(), "tls"]), reader, &mut issues);
    }
    read_pairs(config.tls.default.files_mut(), (document, &["tls", "default"]), reader, &mut issues);
    for (index, acme) in config.tls.acme.iter_mut().enumerate() {
        let index = index.to_string();
        if let Some(ca) = &mut acme.ca {
            let path = acme_path(document, &index, &["ca"]);
            acme.ca_certificates = read_authorities(ca, (document, &path), reader, &mut issues);
        }
        if let Some(hook) = &mut acme.dns_hook {
            *hook = beside(hook, document.folder_of(&acme_path(document, &index, &["dns_hook"])));
        }
    }
    read_lists(config, document, reader, &mut issues);
    if let Access::File(path) = &mut config.log.access {
        *path = document.folder_of(&["log", "access"]).join(&*path);
    }
    config.state.beside = environment.state_directory().unwrap_or_else(|| document.main_folder().to_owned());
    if let Some(dir) = &mut config.state.dir {
        if dir.as_os_str().is_empty() {
            let place = document.value_place(&["state", "dir"]);
            issues.push(
                Issue::at(IssueCode::BadValue, place, "`dir` is empty")
                    .help("write the path of a folder, or leave it out for ./data"),
            );
        }
        *dir = document.folder_of(&["state", "dir"]).join(&*dir);
    }
    config.state.settle();
    issues
}

/// Where a key of an authority stands, which may stand without a list around it.
pub(super) fn acme_path<'a>(document: &Document, index: &'a str, keys: &[&'a str]) -> Vec<&'a str> {
    let is_list = document.node(&["tls", "acme"]).is_some_and(|node| matches!(node.kind, NodeKind::List(_)));
    ["tls", "acme"].into_iter().chain(is_list.then_some(index)).chain(keys.iter().copied()).collect()
}

/// A program and its first words; one without a slash is looked for where programs are.
fn beside(hook: &str, folder: &Path) -> String {
    let hook = hook.trim_start();
    let program = hook.split_ascii_whitespace().next().unwrap_or_default();
    if program.contains('/') { folder.join(hook).to_string_lossy().into_owned() } else { hook.to_owned() }
}

/// The certificates in the file that the value at a place names; its path becomes absolute.
fn read_authorities(
    file: &mut PathBuf,
    (document, path): (&Document, &[&str]),
    reader: &mut Reader,
    issues: &mut Issues,
) -> Vec<Vec<u8>> {
    let Some(bytes) = read_named(file, (document, path), (reader, MAX_CA_FILE), issues) else { return Vec::new() };
    let found = Bundle::read(&bytes);
    if found.is_empty() {
        let title = format!("the file `{}` has no certificate in it", file.display());
        let help = match bytes.first() {
            Some(&SEQUENCE) => {
                "it looks like DER, which is not read: write it as PEM, by `openssl x509 -inform DER -in FILE -out NEW`"
            }
            _ => "a PEM file with `BEGIN CERTIFICATE` is wanted",
        };
        issues.push(Issue::at(IssueCode::BadValue, document.value_place(path), title).help(help));
    }
    for at in &found.damaged {
        let title =
            format!("`{}` cannot be used: certificate {at} of {} in it is damaged", file.display(), found.len());
        let help = "export it again, and keep its line breaks";
        issues.push(Issue::at(IssueCode::CertificateRules, document.value_place(path), title).help(help));
    }
    found.whole
}

/// Leaves those that may sign certificates of callers, each once.
fn signers(found: &mut Vec<Vec<u8>>, file: &Path, (document, path): (&Document, &[&str]), issues: &mut Issues) {
    let mut seen = BTreeSet::new();
    found.retain(|der| match may_sign(der) {
        Ok(()) => seen.insert(der.clone()),
        Err((what, help)) => {
            let title = format!("`{}` cannot be used: {what}", file.display());
            issues.push(Issue::at(IssueCode::CertificateRules, document.value_place(path), title).help(&help));
            false
        }
    });
}

/// Reads certificates and their keys.
fn read_pairs(
    all: &mut [CertificateFiles],
    (document, path): (&Document, &[&str]),
    reader: &mut Reader,
    issues: &mut Issues,
) {
    // One pair may stand without a list around it.
    let is_list = document.node(path).is_some_and(|node| matches!(node.kind, NodeKind::List(_)));
    for (index, files) in all.iter_mut().enumerate() {
        let (index, mut at) = (index.to_string(), path.to_vec());
        at.extend(is_list.then_some(&*index));
        let [of_cert, of_key] = ["cert", "key"].map(|key| at.iter().copied().chain([key]).collect::<Vec<_>>());
        let mut read = |file: &mut PathBuf, at: &[&str]| read_pem(file, (document, at), reader, issues);
        let (cert, key) = (read(&mut files.cert, &of_cert), read(&mut files.key, &of_key));
        let (Some(cert), Some(key)) = (cert, key) else { continue };
        match KeyPair::parse(&cert, &key) {
            Ok(pair) => files.pair = Some(pair),
            Err(Fault::Certificate(words)) => issues.push(unusable(document, &of_cert, &files.cert, &words)),
            Err(Fault::Key(words)) => issues.push(unusable(document, &of_key, &files.key, &words)),
        }
    }
}

fn unusable(document: &Document, path: &[&str], file: &Path, words: &str) -> Issue {
    let (what, help) = words.split_once(": ").unwrap_or((words, "name another file"));
    let title = format!("`{}` cannot be used: {what}", file.display());
    Issue::at(IssueCode::CertificateRules, document.value_place(path), title).help(help)
}

/// The text of the file that the value at a place names; its path becomes absolute.
fn read_pem(
    file: &mut PathBuf,
    (document, path): (&Document, &[&str]),
    reader: &mut Reader,
    issues: &mut Issues,
) -> Option<Arc<[u8]>> {
    if file.to_string_lossy().contains("-----BEGIN") {
        *file = PathBuf::new();
        let title = "this is the text of a key or a certificate, where the path of its file is wanted";
        let issue = Issue::at(IssueCode::BadValue, document.value_place(path), title);
        issues.push(issue.help("write it into a file that only the gateway can read, and its path here"));
        return None;
    }
    read_named(file, (document, path), (reader, MAX_KEY_FILE), issues)
}

/// The content, up to so many bytes, of the file that the value at a place names; its path becomes absolute.
fn read_named(
    file: &mut PathBuf,
    (document, path): (&Document, &[&str]),
    (reader, most): (&mut Reader, u64),
    issues: &mut Issues,
) -> Option<Arc<[u8]>> {
    *file = document.folder_of(path).join(&*file);
    reader
        .read(file, most)
        .inspect_err(|error| {
            let title = format!("the file `{}` cannot be read: {error}", file.display());
            let help = "relative paths start at the folder of the file that names them";
            issues.push(Issue::at(IssueCode::Unreadable, document.value_place(path), title).help(help));
        })
        .ok()
}

/// Reads the files of keys and of revoked tokens.
fn read_lists(config: &mut Config, document: &Document, reader: &mut Reader, issues: &mut Issues) {
    let mut order = document.file_count();
    for (name, provider) in &mut config.auth {
        let mut named = |key: &str, path: &mut PathBuf| {
            let at = ["auth", name, key];
            *path = document.folder_of(&at).join(&*path);
            order += 1;
            Named { place: Some(document.value_place(&at)), order }
        };
        if let Some(path) = &mut provider.keys {
            let named = named("keys", path);
            let (records, found) = keys::read(path, &named, reader);
            provider.key_records = records;
            issues.append(found);
        }
        if let Some(path) = &mut provider.revoked {
            let named = named("revoked", path);
            let (revoked, found) = keys::read_revoked(path, &named, reader);
            provider.revocations = revoked;
            issues.append(found);
        }
    }
}
