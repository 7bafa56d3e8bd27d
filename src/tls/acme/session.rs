//! The account at an authority: made once, kept, made anew where it is lost.
//!
//! In: an [`Issuer`]. Out: an account that orders can be made with. Not here:
//! orders (`order`). An authority limits how many accounts are made, so one is
//! made only if none is kept, or if the authority itself says that the kept one
//! is not good any more.

use std::sync::Arc;
use std::time::SystemTime;

use instant_acme::{Account, AccountCredentials, Error, NewAccount};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::outbound::Client;

use super::challenges::Challenges;
use super::files::{Files, Place};
use super::issuer::Issuer;
use super::name::Name;
use super::trouble::{self, Kind, Trouble};
use super::wire::{Heard, Wire};

/// How often a request is made again of which the authority says that its nonce is bad; each time with a new one, and twice
/// more below this.
pub(super) const PATIENCE: u32 = 10;

/// Does it again where the authority did not like the nonce (RFC 8555, section 6.5), which may happen to any request.
macro_rules! patiently {
    ($attempt:expr) => {{
        let mut left = $crate::tls::acme::session::PATIENCE;
        loop {
            match $attempt.await {
                Err(error) if left > 0 && $crate::tls::acme::trouble::is(&error, "badNonce") => left -= 1,
                outcome => break outcome,
            }
        }
    }};
}
pub(super) use patiently;

/// What every order works with.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) clock: Clock,
    pub(super) files: Files,
    pub(super) challenges: Arc<Challenges>,
    pub(super) client: Client,
    /// Only one account is made at a time: orders that begin together share it.
    pub(super) door: Semaphore,
}

/// An account that is ready to be used.
pub(super) struct Session {
    pub(super) account: Account,
    heard: Arc<Heard>,
}

/// What is kept of an account.
#[derive(Clone, Deserialize, Serialize)]
struct Saved {
    directory: String,
    id: String,
    contact: Option<String>,
    key_id: Option<String>,
    /// [`AccountCredentials`], which cannot be copied.
    credentials: serde_json::Value,
}

impl Session {
    /// The account that is kept, or a new one.
    pub(super) async fn open(desk: &Desk, issuer: &Issuer, name: &Name) -> Result<Session, Trouble> {
        match saved(desk, issuer)? {
            Some(saved) => restore(desk, issuer, saved, name).await,
            None => register(desk, issuer, None, name).await,
        }
    }

    /// Another account instead of this one, which the authority does not accept any more.
    pub(super) async fn replaced(&self, desk: &Desk, issuer: &Issuer, name: &Name) -> Result<Session, Trouble> {
        register(desk, issuer, Some(self.account.id()), name).await
    }

    /// Whether it is the account that the authority does not accept. It is asked: the same error may be about the name.
    pub(super) async fn is_lost(&self, error: &Error, issuer: &Issuer) -> bool {
        if trouble::is(error, "accountDoesNotExist") {
            return true;
        }
        if !trouble::is(error, "unauthorized") {
            return false;
        }
        match self.tell_contact(issuer).await {
            Ok(()) => false,
            // What the crate says of an account that answers, and is not valid.
            Err(Error::Str(why)) => why.contains("account status"),
            Err(error) => trouble::is(&error, "unauthorized") || trouble::is(&error, "accountDoesNotExist"),
        }
    }

    /// An error as the operator is told, with when to come back.
    pub(super) fn trouble(&self, error: &Error, name: &Name) -> Trouble {
        Trouble::of(error, name).until(self.heard.retry_at())
    }

    /// When the last answer wanted to be asked again.
    pub(super) fn retry_at(&self) -> Option<SystemTime> {
        self.heard.retry_at()
    }

    async fn tell_contact(&self, issuer: &Issuer) -> Result<(), Error> {
        let contact = issuer.contact();
        let contacts: Vec<&str> = contact.iter().map(String::as_str).collect();
        patiently!(self.account.update_contacts(&contacts))
    }
}

/// The account that is kept; one that nobody can read is moved out of the way.
fn saved(desk: &Desk, issuer: &Issuer) -> Result<Option<Saved>, Trouble> {
    let slug = issuer.slug();
    let Some(bytes) = desk.files.read(&slug, Place::Account).map_err(|fault| Trouble::disk(&fault))? else {
        return Ok(None);
    };
    match serde_json::from_slice::<Saved>(&bytes) {
        Ok(saved) if saved.directory != issuer.url() => {}
        // Another account at the authority's own site.
        Ok(saved) if saved.key_id != issuer.eab.as_ref().map(|eab| eab.key_id.clone()) => {}
        Ok(saved) => return Ok(Some(saved)),
        Err(_) => {}
    }
    put_aside(desk, &slug, "does not belong to what the configuration says, or is damaged");
    Ok(None)
}

fn put_aside(desk: &Desk, slug: &str, why: &str) {
    let aside = desk.files.set_aside(slug, Place::Account, desk.clock.wall());
    log::warn!("the ACME account for {slug} {why}; it is kept as {} and another one is made", aside.display());
}

async fn restore(desk: &Desk, issuer: &Issuer, saved: Saved, name: &Name) -> Result<Session, Trouble> {
    let wire = Wire::new(desk.client.clone(), desk.clock.clone(), issuer.trust());
    let heard = wire.heard();
    let told = |error: &Error| Trouble::of(error, name).until(heard.retry_at());
    let credentials: Option<AccountCredentials> = serde_json::from_value(saved.credentials.clone()).ok();
    let builder = Account::builder_with_http(Box::new(wire));
    let restored = match credentials {
        Some(credentials) => builder.from_credentials(credentials).await,
        None => Err(Error::KeyRejected),
    };
    let account = match restored {
        Ok(account) => account,
        Err(Error::KeyRejected | Error::Crypto) => {
            put_aside(desk, &issuer.slug(), "is damaged");
            return Box::pin(register(desk, issuer, None, name)).await;
        }
        Err(error) => return Err(told(&error)),
    };
    let session = Session { account, heard };
    if saved.contact != issuer.contact && session.tell_contact(issuer).await.is_ok() {
        // An authority that does not like the address is told again another time: certificates matter more.
        save(desk, issuer, &Saved { contact: issuer.contact.clone(), ..saved })?;
    }
    Ok(session)
}

/// Makes an account, unless somebody else just did. `lost` is the one that it replaces.
async fn register(desk: &Desk, issuer: &Issuer, lost: Option<&str>, name: &Name) -> Result<Session, Trouble> {
    let _door = desk.door.acquire().await;
    if let Some(saved) = saved(desk, issuer)? {
        if lost != Some(saved.id.as_str()) {
            return restore(desk, issuer, saved, name).await;
        }
        put_aside(desk, &issuer.slug(), "is not accepted any more");
    }
    let key = issuer.external_key().map_err(|why| Trouble::new(Kind::Account, why))?;
    let contact = issuer.contact();
    let contacts: Vec<&str> = contact.iter().map(String::as_str).collect();
    let account = NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
    let wire = Wire::new(desk.client.clone(), desk.clock.clone(), issuer.trust());
    let heard = wire.heard();
    let made = patiently!({
        let builder = Account::builder_with_http(Box::new(wire.clone()));
        builder.create(&account, issuer.url(), key.as_ref())
    });
    let (account, credentials) = made.map_err(|error| refused(&error, name).until(heard.retry_at()))?;
    let credentials = serde_json::to_value(&credentials).map_err(|error| Trouble::disk(&error))?;
    let (id, contact) = (account.id().to_owned(), issuer.contact.clone());
    let key_id = issuer.eab.as_ref().map(|eab| eab.key_id.clone());
    save(desk, issuer, &Saved { directory: issuer.url(), id, contact, key_id, credentials })?;
    log::info!("an ACME account was made at {}", issuer.directory);
    Ok(Session { account, heard })
}

/// Why there is no account.
fn refused(error: &Error, name: &Name) -> Trouble {
    if !trouble::is(error, "unauthorized") {
        return Trouble::of(error, name);
    }
    Trouble::new(
        Kind::Account,
        format!("the authority does not accept a new account: {error}: check the key of `eab`, if it wants one"),
    )
}

fn save(desk: &Desk, issuer: &Issuer, saved: &Saved) -> Result<(), Trouble> {
    let text = serde_json::to_vec_pretty(saved).map_err(|error| Trouble::disk(&error))?;
    desk.files.write(&issuer.slug(), Place::Account, &text).map_err(|fault| Trouble::disk(&fault))
}
