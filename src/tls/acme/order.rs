//! One order, from the name to the certificate.
//!
//! In: a name and an authority. Out: a certificate that is on disk already, or
//! why there is none. Before the authority is told to go on, the order's URL and
//! key are written down: a process that is killed goes on where it was. Not
//! here: when, and what if it fails (`book`).

use std::time::{Duration, Instant};

use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Error, Identifier, KeyAuthorization,
    NewOrder, Order, OrderStatus, Problem,
};
use rcgen::KeyPair;
use serde::{Deserialize, Serialize};

use super::certificate::{self, Certificate};
use super::challenges::Posted;
use super::files::Place;
use super::hook::Action;
use super::issuer::{Hook, Issuer};
use super::name::Name;
use super::session::{Desk, Session, patiently};
use super::trouble::{self, Kind, Trouble};

/// For each of the two things that an authority takes its time for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Between two looks at an order: the first, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LONGEST_LOOK: Duration = Duration::from_secs(15);

/// How it is shown that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By a record in DNS.
    Dns,
    /// By an answer on port 80.
    Http,
}

/// What is to be ordered, and of whom.
#[derive(Debug)]
pub(super) struct Task<'a> {
    pub(super) desk: &'a Desk,
    pub(super) issuer: &'a Issuer,
    pub(super) name: &'a Name,
    pub(super) way: Way,
    /// The certificate that the new one takes the place of, if it is this authority's own.
    pub(super) replaces: Option<&'a CertificateIdentifier<'static>>,
}

/// What is kept of an order that is under way.
#[derive(Deserialize, Serialize)]
struct Pending {
    account: String,
    order: String,
    /// PEM.
    key: String,
}

/// What shows the authority that a name is ours, as long as it has to be shown.
enum Proof<'a> {
    Post { _post: Posted },
    Record { hook: &'a Hook, name: String, value: String },
}

impl Task<'_> {
    /// Gets the certificate.
    pub(super) async fn run(&self) -> Result<Certificate, Trouble> {
        let mut session = Session::open(self.desk, self.issuer, self.name).await?;
        let (mut order, key) = match self.resume(&session).await? {
            Some(found) => found,
            None => self.begin(&mut session).await?,
        };
        let chain = match self.go_on(&session, &mut order, &key).await {
            Ok(chain) => chain,
            Err(trouble) => {
                if order.state().status == OrderStatus::Invalid {
                    self.forget();
                }
                return Err(trouble);
            }
        };
        let text = certificate::join(&key.serialize_pem(), &chain);
        let found = certificate::read(text.as_bytes(), self.name);
        let found = found.map_err(|why| {
            self.forget();
            Trouble::new(Kind::Other, format!("the authority gave a certificate that cannot be used: {why}"))
        })?;
        let (slug, place) = (self.issuer.slug(), Place::Certificate(self.name));
        self.desk.files.write(&slug, place, text.as_bytes()).map_err(|fault| Trouble::disk(&fault))?;
        self.forget();
        Ok(found)
    }

    /// The order that was under way when this process, or the one before it, came to an end.
    async fn resume(&self, session: &Session) -> Result<Option<(Order, KeyPair)>, Trouble> {
        let place = Place::Order(self.name);
        let bytes = self.desk.files.read(&self.issuer.slug(), place).map_err(|fault| Trouble::disk(&fault))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let pending = serde_json::from_slice::<Pending>(&bytes).ok();
        let key = pending.as_ref().and_then(|pending| KeyPair::from_pem(&pending.key).ok());
        if let (Some(pending), Some(key)) = (pending, key)
            && pending.account == session.account.id()
        {
            match patiently!(session.account.order(pending.order.clone())) {
                Ok(mut order) => {
                    if order.state().status != OrderStatus::Invalid {
                        return Ok(Some((order, key)));
                    }
                }
                // The authority does not know it any more.
                Err(Error::Api(_)) => {}
                Err(error) => return Err(session.trouble(&error, self.name)),
            }
        }
        self.forget();
        Ok(None)
    }

    async fn begin(&self, session: &mut Session) -> Result<(Order, KeyPair), Trouble> {
        let key = certificate::new_key().map_err(|why| Trouble::new(Kind::Other, why))?;
        let order = self.place(session).await?;
        let pending = Pending {
            account: session.account.id().to_owned(),
            order: order.url().to_owned(),
            key: key.serialize_pem(),
        };
        let text = serde_json::to_vec(&pending).map_err(|error| Trouble::disk(&error))?;
        let written = self.desk.files.write(&self.issuer.slug(), Place::Order(self.name), &text);
        written.map_err(|fault| Trouble::disk(&fault))?;
        Ok((order, key))
    }

    async fn place(&self, session: &mut Session) -> Result<Order, Trouble> {
        let names = [Identifier::Dns(self.name.as_str().to_owned())];
        let mut replaces = self.replaces.cloned();
        let mut is_new_account = false;
        loop {
            let request = NewOrder::new(&names);
            let request = match replaces.clone() {
                Some(replaces) => request.replaces(replaces),
                None => request,
            };
            let error = match patiently!(session.account.new_order(&request)) {
                Ok(order) => return Ok(order),
                Err(error) => error,
            };
            // What is replaced is a kindness to the authority; an order that it does not want so is made without it.
            let is_about_that = !trouble::is(&error, "rateLimited") && !is_silence(&error);
            if is_about_that && replaces.take().is_some() {
                continue;
            }
            if !is_new_account && session.is_lost(&error, self.issuer).await {
                *session = session.replaced(self.desk, self.issuer, self.name).await?;
                is_new_account = true;
                continue;
            }
            return Err(session.trouble(&error, self.name));
        }
    }

    /// From wherever the order is to the chain of certificates.
    async fn go_on(&self, session: &Session, order: &mut Order, key: &KeyPair) -> Result<String, Trouble> {
        let told = |error: Error| session.trouble(&error, self.name);
        if order.state().status == OrderStatus::Pending {
            let proof = self.prove(session, order).await?;
            let ready = self.wait(session, order, OrderStatus::Pending).await;
            if let Some(proof) = proof {
                self.take_down(proof).await;
            }
            ready?;
        }
        if order.state().status == OrderStatus::Ready {
            let request = certificate::request(key, self.name).map_err(|why| Trouble::new(Kind::Other, why))?;
            patiently!(order.finalize_csr(&request)).map_err(told)?;
        }
        self.wait(session, order, OrderStatus::Processing).await?;
        let chain = patiently!(order.certificate()).map_err(told)?;
        chain.ok_or_else(|| Trouble::new(Kind::Time, "the authority says that there is a certificate, and gives none"))
    }

    /// Shows what the authority wants to see, and tells it to look.
    async fn prove(&self, session: &Session, order: &mut Order) -> Result<Option<Proof<'_>>, Trouble> {
        let told = |error: Error| session.trouble(&error, self.name);
        patiently!(look_at_authorization(order)).map_err(told)?;
        // There is one name in the order, so there is one authorization; it is known by now.
        let mut authorizations = order.authorizations();
        let Some(authorization) = authorizations.next().await else { return Ok(None) };
        let mut authorization = authorization.map_err(told)?;
        if authorization.status != AuthorizationStatus::Pending {
            return Ok(None);
        }
        let kind = match self.way {
            Way::Dns => ChallengeType::Dns01,
            Way::Http => ChallengeType::Http01,
        };
        let Some(mut challenge) = authorization.challenge(kind) else {
            let way = if self.way == Way::Dns { "DNS" } else { "HTTP" };
            return Err(Trouble::new(
                Kind::Other,
                format!("the authority does not offer to check {} by {way}", self.name),
            ));
        };
        let (token, answer) = (challenge.token.clone(), challenge.key_authorization());
        let is_new = challenge.status == ChallengeStatus::Pending;
        let proof = self.show(&token, &answer).await?;
        if !is_new {
            // A process before this one told the authority to look, which may still be looking.
            return Ok(Some(proof));
        }
        match patiently!(challenge.set_ready()) {
            Ok(()) => Ok(Some(proof)),
            Err(error) => {
                self.take_down(proof).await;
                Err(told(error))
            }
        }
    }

    async fn show(&self, token: &str, answer: &KeyAuthorization) -> Result<Proof<'_>, Trouble> {
        let hook = match self.way {
            Way::Http => return Ok(Proof::Post { _post: self.desk.challenges.post(token, answer.as_str()) }),
            Way::Dns => self.issuer.dns_hook.as_ref(),
        };
        let Some(hook) = hook else {
            return Err(Trouble::new(
                Kind::Hook,
                format!("{} can only be checked by DNS: set `dns_hook` to a program that sets records", self.name),
            ));
        };
        let (name, value) = (format!("_acme-challenge.{}", self.name.base()), answer.dns_value());
        match hook.run(&self.desk.clock, Action::Present, &name, &value).await {
            Ok(()) => Ok(Proof::Record { hook, name, value }),
            Err(why) => {
                // It may have set the record before it failed.
                self.take_down(Proof::Record { hook, name, value }).await;
                Err(Trouble::new(Kind::Hook, format!("the record in DNS could not be set: {why}")))
            }
        }
    }

    async fn take_down(&self, proof: Proof<'_>) {
        let (hook, name, value) = match proof {
            Proof::Post { .. } => return,
            Proof::Record { hook, name, value } => (hook, name, value),
        };
        if let Err(why) = hook.run(&self.desk.clock, Action::Cleanup, &name, &value).await {
            log::warn!("the record {name} could not be removed from DNS: {}", trouble::line(&why));
        }
    }

    /// Waits until the order is not at `stage` any more.
    async fn wait(&self, session: &Session, order: &mut Order, stage: OrderStatus) -> Result<(), Trouble> {
        let clock = &self.desk.clock;
        let end = clock.now() + LONGEST_WAIT;
        let mut pause = FIRST_LOOK;
        while order.state().status == stage {
            if clock.now() >= end {
                let what = "the authority has not come to an end within 5 minutes; it is asked again later";
                return Err(Trouble::new(Kind::Time, what));
            }
            clock.sleep(self.next_look(session, pause, end)).await;
            pause = (pause * 2).min(LONGEST_LOOK);
            patiently!(order.refresh()).map_err(|error| session.trouble(&error, self.name))?;
        }
        if order.state().status == OrderStatus::Invalid {
            return Err(self.why_invalid(session, order).await);
        }
        Ok(())
    }

    /// As the authority wants it, if it does, within reason.
    fn next_look(&self, session: &Session, pause: Duration, end: Instant) -> Duration {
        let clock = &self.desk.clock;
        let wanted = session.retry_at().and_then(|at| at.duration_since(clock.wall()).ok());
        wanted.unwrap_or(pause).clamp(FIRST_LOOK, LONGEST_LOOK).min(end.saturating_duration_since(clock.now()))
    }

    /// What the authority found wrong: it stands with the challenge.
    async fn why_invalid(&self, session: &Session, order: &mut Order) -> Trouble {
        if let Err(error) = patiently!(look_at_authorization(order)) {
            return session.trouble(&error, self.name);
        }
        let general = order.state().error.clone();
        let mut found: Option<Problem> = None;
        let mut authorizations = order.authorizations();
        while let Some(Ok(authorization)) = authorizations.next().await {
            found = found.or_else(|| authorization.challenges.iter().find_map(|challenge| challenge.error.clone()));
        }
        match found.or(general) {
            Some(problem) => Trouble::said(&problem, self.name),
            None => Trouble::new(Kind::Other, "the authority gave the order up and does not say why"),
        }
    }

    /// There is nothing to go on with any more.
    fn forget(&self) {
        self.desk.files.remove(&self.issuer.slug(), Place::Order(self.name));
    }
}

/// Forgets an order that has brought this certificate: the process that made it was killed before it could. Gone on with at
/// the next renewal, it would bring the same one again.
pub(super) fn forget_if_done(desk: &Desk, slug: &str, name: &Name, certificate: &[u8]) {
    let place = Place::Order(name);
    let Ok(Some(bytes)) = desk.files.read(slug, place) else { return };
    let pending = serde_json::from_slice::<Pending>(&bytes).ok();
    if pending.is_some_and(|pending| certificate.starts_with(pending.key.trim_end().as_bytes())) {
        desk.files.remove(slug, place);
    }
}

/// Makes the order's authorizations known, so that looking at them again asks nobody.
async fn look_at_authorization(order: &mut Order) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        authorization?;
    }
    Ok(())
}

/// Whether nothing was said at all.
fn is_silence(error: &Error) -> bool {
    matches!(error, Error::Other(inner) if inner.is::<super::wire::NoAnswer>())
}
