//! Does one thing for one name: an order, at one authority after the other, or a
//! question.
//!
//! In: a [`Job`]. Out: its [`Ending`]. Not here: when it is due (`book`).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::{CertificateIdentifier, Error};

use super::book::{Current, Ending, From, Job, Refused, way, worst};
use super::certificate;
use super::files::Place;
use super::issuer::Issuer;
use super::name::Name;
use super::order::{Task, forget_if_done};
use super::schedule;
use super::session::{Desk, Session};
use super::trouble::{Kind, Trouble};

impl Job {
    /// Whom it is for.
    pub(super) fn name(&self) -> &Name {
        match self {
            Job::Check { name, .. } | Job::Order { name, .. } => name,
        }
    }

    /// Does it.
    pub(super) async fn run(&self, desk: &Desk) -> Ending {
        match self {
            Job::Check { name, issuer, current } => check(desk, name, issuer, current).await,
            Job::Order { name, issuers, current: None, attempt } => {
                // A name that was asked for may have had a certificate before.
                match desk.load(name, issuers) {
                    Some(found) if !found.is_due(desk.now()) => {
                        Ending::Got(found.certificate, found.issuer, From::Disk)
                    }
                    found => order(desk, name, issuers, found.as_ref(), *attempt).await,
                }
            }
            Job::Order { name, issuers, current, attempt } => {
                order(desk, name, issuers, current.as_ref(), *attempt).await
            }
        }
    }
}

async fn order(desk: &Desk, name: &Name, issuers: &[Arc<Issuer>], current: Option<&Current>, attempt: u32) -> Ending {
    let (mut troubles, mut refused) = (Vec::new(), Vec::new());
    for issuer in issuers {
        let slug = issuer.slug();
        let own = current.filter(|current| current.issuer == slug);
        let replaces = own.and_then(|current| current.certificate.id.as_deref());
        let task = Task { desk, issuer, name, way: way(name, issuer, attempt), replaces };
        match task.run().await {
            Ok(certificate) => return Ending::Got(certificate, slug, From::Authority),
            Err(trouble) => {
                let until = schedule::hold(desk.clock.wall(), trouble.retry_at);
                refused.push(Refused { issuer: slug, kind: trouble.kind, until });
                troubles.push(trouble);
            }
        }
    }
    let none = || Trouble::new(Kind::Limit, "every authority wants to be left alone for now");
    Ending::Failed(worst(troubles).unwrap_or_else(none), refused)
}

/// Asks when to renew (RFC 9773). An authority that does not know the question is asked rarely.
async fn check(desk: &Desk, name: &Name, issuer: &Issuer, current: &Current) -> Ending {
    let Some(id) = current.certificate.id.as_deref() else { return Ending::Checked(None, None) };
    match ask(desk, name, issuer, id).await {
        Some((window, again)) => Ending::Checked(Some(window), Some(again)),
        None => Ending::Checked(None, None),
    }
}

async fn ask(
    desk: &Desk,
    name: &Name,
    issuer: &Issuer,
    id: &CertificateIdentifier<'static>,
) -> Option<((SystemTime, SystemTime), Duration)> {
    let session = Session::open(desk, issuer, name).await.ok()?;
    match session.account.renewal_info(id).await {
        Ok((info, again)) => {
            let window = info.suggested_window;
            Some(((window.start.into(), window.end.into()), again))
        }
        Err(Error::Unsupported(_)) => None,
        Err(error) => {
            // Not the operator's business: without it, the certificate is renewed at two thirds of its life.
            log::debug!("{} does not say when to renew the certificate for {name}: {error}", issuer.directory);
            None
        }
    }
}

impl Desk {
    /// The certificate on disk, of any of these authorities, that is valid longest.
    pub(super) fn load(&self, name: &Name, issuers: &[Arc<Issuer>]) -> Option<Current> {
        let found = issuers.iter().filter_map(|issuer| self.load_from(&issuer.slug(), name));
        found.max_by_key(|current| current.certificate.issued.not_after)
    }

    fn load_from(&self, slug: &str, name: &Name) -> Option<Current> {
        let place = Place::Certificate(name);
        let bytes = match self.files.read(slug, place) {
            Ok(bytes) => bytes?,
            Err(fault) => {
                log::warn!("the certificate for {name} cannot be read, and another one is ordered: {fault}");
                return None;
            }
        };
        match certificate::read(&bytes, name) {
            Ok(certificate) => {
                forget_if_done(self, slug, name, &bytes);
                Some(Current::new(certificate, slug.to_owned()))
            }
            Err(why) => {
                let aside = self.files.set_aside(slug, place, self.clock.wall());
                let aside = aside.display();
                log::warn!(
                    "the certificate on disk for {name} cannot be used: {why}; it is kept as {aside}, and another one is ordered"
                );
                None
            }
        }
    }
}
