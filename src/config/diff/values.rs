//! Comparing what has no keys of its own: scalars, lists, credentials, and maps of what has.
//!
//! In: two of a kind. Out: changes in the [`Walk`]. Not here: sections (`compare`).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;

use std::num::NonZeroU32;

use serde::Serialize;

use super::Kind;
use super::compare::{Compare, Walk, text};
use crate::config::scalar::{
    AcmeDirectory, AddressRange, Algorithm, Amount, ByteSize, Counters, Endpoint, FieldName, KeyPrefix, MASK, Moment,
    OriginPattern, PathPattern, Percent, Period, PublicKey, Quota, Rate, Secret, Store, Template, TenantName,
    WebAddress,
};
use crate::config::section::auth::{Audience, AuthRule, ProviderKind};
use crate::config::section::limits::{By, Cost};
use crate::config::section::listeners::Listener;
use crate::config::section::log::{Access, Format as LogFormat, Level, ServiceName};
use crate::config::section::params::Conflict;
use crate::config::section::routes::Format;
use crate::config::section::server::Threads;
use crate::config::section::state::OnCounterFailure;
use crate::config::section::tls::{Acme, CertificateFiles, DefaultCertificate, HostTls};
use crate::config::section::upstreams::{AllOut, UpstreamAuth};
use crate::config::section::usage::DataSource;
use crate::config::section::white_label::{AnswerKey, ErrorText, Sentence};

/// Values without parts.
macro_rules! values {
    ($($type:ty),* $(,)?) => {
        $(impl Compare for $type {
            fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
                if self != new {
                    walk.changed(self.summary(), new.summary());
                }
            }

            fn summary(&self) -> String {
                text(self)
            }
        })*
    };
}

values!(
    bool,
    AcmeDirectory,
    AllOut,
    Amount,
    By,
    Cost,
    DataSource,
    Moment,
    NonZeroU32,
    OnCounterFailure,
    Quota,
    Rate,
    ServiceName,
    u16,
    u32,
    String,
    SocketAddr,
    Access,
    Audience,
    AuthRule,
    ByteSize,
    Conflict,
    Endpoint,
    FieldName,
    KeyPrefix,
    ProviderKind,
    PublicKey,
    ErrorText,
    Sentence,
    Level,
    PathPattern,
    Percent,
    Period,
    Template,
    Threads,
    UpstreamAuth,
    WebAddress,
    LogFormat,
);
// The first format answers the bare path, so their order counts.
values!(Vec<Format>);

/// Lists whose order means nothing.
macro_rules! sets {
    ($($type:ty),* $(,)?) => {
        $(impl Compare for Vec<$type> {
            fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
                if self != new && sorted(self) != sorted(new) {
                    walk.changed(self.summary(), new.summary());
                }
            }

            fn summary(&self) -> String {
                text(self)
            }
        })*
    };
}

sets!(u16, AddressRange, Algorithm, AnswerKey, Endpoint, FieldName, TenantName, OriginPattern, String);

fn sorted(values: &[impl Serialize]) -> Vec<String> {
    let mut texts: Vec<String> = values.iter().map(text).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

impl Compare for Vec<Listener> {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        walk.changed(self.summary(), new.summary());
    }

    fn summary(&self) -> String {
        let each =
            self.iter().map(|Listener { address, tls, client_certificates }| (*address, *tls, *client_certificates));
        let mut listeners: Vec<(SocketAddr, bool, bool)> = each.collect();
        listeners.sort_unstable();
        let word = |(address, tls, client_certificates): &(SocketAddr, bool, bool)| {
            let tls = if *tls { " with TLS" } else { "" };
            let asks = if *client_certificates { "" } else { ", without client certificates" };
            format!("{address}{tls}{asks}")
        };
        text(&listeners.iter().map(word).collect::<Vec<_>>())
    }
}

/// Places with a login, which shows neither before nor after.
macro_rules! with_login {
    ($($type:ty),*) => { $(
        impl Compare for $type {
            fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
                let (before, after) = (self.summary(), new.summary());
                match before == after && self != new {
                    true => walk.push(Kind::ContentChanged, Some(MASK.to_owned()), Some(MASK.to_owned())),
                    false => walk.changed(before, after),
                }
            }

            fn summary(&self) -> String {
                text(self)
            }
        }
    )* };
}

with_login!(Counters, Store);

impl Compare for Secret {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        if self != new {
            walk.push(Kind::ContentChanged, Some(MASK.to_owned()), Some(MASK.to_owned()));
        }
    }

    fn summary(&self) -> String {
        MASK.to_owned()
    }
}

impl<T: Compare> Compare for Option<T> {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        match (self, new) {
            (None, None) => {}
            (None, Some(new)) => walk.push(Kind::Added, None, Some(new.summary())),
            (Some(old), None) => walk.push(Kind::Removed, Some(old.summary()), None),
            (Some(old), Some(new)) => old.compare(new, walk),
        }
    }

    fn summary(&self) -> String {
        self.as_ref().map(T::summary).unwrap_or_default()
    }
}

impl<K: Ord + Display, V: Compare + PartialEq> Compare for BTreeMap<K, V> {
    /// Both are sorted, so one walk along both finds what is in which.
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        let (mut before, mut after) = (self.iter().peekable(), new.iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let gone = if order.is_le() { before.next() } else { None };
            let came = if order.is_ge() { after.next() } else { None };
            match (gone, came) {
                (Some((_, old)), Some((_, new))) if old == new => {}
                (Some((key, old)), Some((_, new))) => walk.at(key.to_string(), |walk| old.compare(new, walk)),
                (Some((key, old)), None) => {
                    walk.at(key.to_string(), |walk| walk.push(Kind::Removed, Some(old.summary()), None));
                }
                (None, Some((key, new))) => {
                    walk.at(key.to_string(), |walk| walk.push(Kind::Added, None, Some(new.summary())));
                }
                (None, None) => return,
            }
        }
    }

    fn summary(&self) -> String {
        self.values().map(V::summary).collect::<Vec<_>>().join(", ")
    }
}

impl Compare for HostTls {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        of_files((self.summary(), self.files()), (new.summary(), new.files()), walk);
    }

    fn summary(&self) -> String {
        match self {
            HostTls::Files(files) => of_all(files),
            HostTls::Auto | HostTls::Internal | HostTls::OnDemand => text(self),
        }
    }
}

impl Compare for DefaultCertificate {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        of_files((self.summary(), self.files()), (new.summary(), new.files()), walk);
    }

    fn summary(&self) -> String {
        match self {
            DefaultCertificate::Files(files) => of_all(files),
            DefaultCertificate::Internal | DefaultCertificate::Refuse => text(self),
        }
    }
}

/// Certificates from files, or a word.
fn of_files(old: (String, &[CertificateFiles]), new: (String, &[CertificateFiles]), walk: &mut Walk<'_>) {
    let is_same = old.1 == new.1;
    match old.0 == new.0 {
        true if !is_same => walk.push(Kind::ContentChanged, Some(old.0), Some(new.0)),
        true => {}
        false => walk.changed(old.0, new.0),
    }
}

fn of_all(files: &[CertificateFiles]) -> String {
    files.iter().map(|files| crate::config::scalar::absolute(&files.cert)).collect::<Vec<_>>().join(", ")
}

impl Compare for Vec<Acme> {
    /// By their places: the order is that in which they are tried.
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        if self.len() != new.len() {
            return walk.changed(self.summary(), new.summary());
        }
        for (index, (old, new)) in self.iter().zip(new).enumerate() {
            match self.len() {
                1 => old.compare(new, walk),
                _ => walk.at(index.to_string(), |walk| old.compare(new, walk)),
            }
        }
    }

    fn summary(&self) -> String {
        self.iter().map(Acme::summary).collect::<Vec<_>>().join(", ")
    }
}
