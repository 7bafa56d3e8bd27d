//! Credentials that lie where others may read them.
//!
//! In: the tree of the file, before defaults. Out: warnings about credentials
//! in the file itself and about files that anyone may read. Not here: what a
//! credential may look like (`scalar`), what of it is shown (`mask`).

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::config::document::{Node, NodeKind, Scalar};
use crate::config::issue::{Issue, IssueCode, Place};
use crate::config::mask::is_credential;
use crate::config::scalar::{Counters, Store, is_credential_name, is_this_machine};
use crate::config::section::upstreams::Upstream;

use super::{Checker, is_loopback};

impl Checker<'_> {
    pub(super) fn secrets(&mut self) {
        let document = self.document;
        for section in ["admin", "auth", "log", "upstreams"] {
            let Some(node) = document.root.child(section) else { continue };
            walk(node, &mut vec![section], &mut |path, node, scalar| self.secret(path, node, scalar));
        }
        let state = &self.config.state;
        if let Counters::Redis(address) = &state.counters {
            self.password_in_url("counters", &address.host, "redis://:${REDIS_PASSWORD}@HOST");
        }
        if let Store::Postgres(address) = &state.store {
            self.password_in_url("store", &address.host, "postgres://USER:${POSTGRES_PASSWORD}@HOST/DATABASE");
        }
    }

    /// The password in the URL of a Redis or a Postgres.
    fn password_in_url(&mut self, key: &str, host: &str, better: &str) {
        let Some(node) = self.document.node(&["state", key]) else { return };
        let place = self.document.place(&node.span);
        let written = place.listing.text.get(place.span.clone()).unwrap_or_default().trim_matches(['"', '\'']);
        if let Some(file) = written.strip_prefix("file://") {
            let path = self.document.folder_at(node.span.start).join(file);
            self.readable_file(&path, place);
            return;
        }
        // What must not be shown of a file is shown as stars; what is left then are variables.
        let login = written.split_once("://").and_then(|(_, behind)| behind.rsplit_once('@')).map(|(login, _)| login);
        let password = login.and_then(|login| login.split_once(':')).map(|(_, password)| password);
        if password.is_some_and(|password| password.contains('*')) && !is_this_machine(host) {
            let whose = if key == "store" { "ledger" } else { key };
            let title = format!("the password of the {whose} is written in the file itself");
            let help =
                format!("write {better} and set that variable; replace the password if others have seen the file");
            self.issues.push(Issue::at(IssueCode::PlainCredential, place, title).help(help));
        }
    }

    fn secret(&mut self, path: &[&str], node: &Node, scalar: &Scalar) {
        if !is_credential(path) || !Self::is_worth_hiding(path, &scalar.text) {
            return;
        }
        let name = path.last().copied().unwrap_or_default();
        let place = self.document.place(&node.span);
        let written = place.listing.text.get(place.span.clone()).unwrap_or_default().trim_matches(['"', '\'']);
        // The text was replaced by what it stands for, and only the file knows where that came from.
        let file = written.strip_prefix("file://").filter(|_| scalar.hidden).map(str::to_owned);
        if let Some(file) = file {
            let path = self.document.folder_at(node.span.start).join(file);
            self.readable_file(&path, place);
            return;
        }
        // What must not be shown of a file is shown as stars; what is left then are variables and aliases.
        let is_literal = !scalar.hidden || written.chars().all(|c| c == '*');
        let (title, help) = match is_literal {
            true => (
                format!("`{name}` is written in the file itself"),
                "write `${NAME}` and set that variable, or `file://PATH`; replace it if others have seen the file",
            ),
            false if written.contains(":-*") => (
                format!("the default of `{name}` is written in the file"),
                "remove the default: an unset variable is then an error, and not a credential that others know",
            ),
            false if written.contains("${") && written.contains('*') => {
                (format!("a part of `{name}` is written in the file"), "put the whole value into the variable")
            }
            false => return,
        };
        if !self.is_local(path) {
            self.issues.push(Issue::at(IssueCode::PlainCredential, place, title).help(help));
        }
    }

    /// A header that the gateway sets may be a plain setting: `X-ClickHouse-User: reader`.
    fn is_worth_hiding(path: &[&str], value: &str) -> bool {
        let (["upstreams", _, "headers", header] | ["log", "traces", "headers", header]) = path else {
            return !matches!(path, ["auth", _, "key"]);
        };
        let has_scheme = ["Bearer ", "Basic "]
            .iter()
            .any(|scheme| value.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        has_scheme || is_credential_name(header)
    }

    /// Whether a credential is of use only on this machine, as those of demonstrations are.
    fn is_local(&self, path: &[&str]) -> bool {
        // Where the URL itself was reported, nobody knows where the upstream is.
        let somewhere = |upstream: &&Upstream| upstream.endpoints().next().is_some();
        match path {
            ["upstreams", name, ..] => self.config.upstreams.get(*name).filter(somewhere).is_none_or(is_loopback),
            ["usage", "export", ..] => {
                let upstream = self.config.usage.export.as_ref().map(|export| &export.upstream);
                let upstream = upstream.and_then(|name| self.config.upstreams.get(name));
                upstream.filter(somewhere).is_some_and(is_loopback)
            }
            // Whoever can make tokens gets at what is behind the gateway.
            ["auth", ..] => {
                self.config.upstreams.values().all(|upstream| somewhere(&upstream) && is_loopback(upstream))
            }
            ["log", "traces", ..] => {
                self.config.log.traces.as_ref().is_none_or(|traces| is_this_machine(traces.url.host()))
            }
            _ => self.config.admin.address.ip().is_loopback(),
        }
    }

    fn readable_file(&mut self, path: &Path, place: Place) {
        let Ok(metadata) = std::fs::metadata(path) else { return };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o004 != 0 && !is_mounted(path) {
            let title = format!("every user of this machine may read `{}` (mode {mode:04o})", path.display());
            self.issues.push(Issue::at(IssueCode::ReadableCredential, place, title).help(format!(
                "chmod {:o} {}",
                mode & 0o770,
                path.display()
            )));
        }
    }
}

/// Whether a container's runtime put the file there: it is readable by everybody in a container that has one user.
fn is_mounted(path: &Path) -> bool {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let by_docker =
        ["/run/secrets", "/var/run/secrets"].iter().any(|folder| path.starts_with(folder) || real.starts_with(folder));
    // Kubernetes' volumes: `token` is a link to `..data/token`, and that to `..2026_01_31_…/token`.
    by_docker || real.components().any(|part| part.as_os_str().to_string_lossy().starts_with("..20"))
}

fn walk<'a>(node: &'a Node, path: &mut Vec<&'a str>, act: &mut impl FnMut(&[&str], &'a Node, &'a Scalar)) {
    match &node.kind {
        NodeKind::List(items) => {
            for item in items {
                path.push("");
                walk(item, path, act);
                path.pop();
            }
        }
        NodeKind::Map(entries) => {
            for (key, child) in entries {
                path.push(&key.text);
                walk(child, path, act);
                path.pop();
            }
        }
        NodeKind::Scalar(scalar) => act(path, node, scalar),
        NodeKind::Broken | NodeKind::Null => {}
    }
}
