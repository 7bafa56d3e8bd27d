//! Looks whether a name may have a certificate: somebody approves of it, and it
//! leads to this gateway.
//!
//! In: a name. Out: yes, or in words why not. Whatever fails means no. Not here:
//! how often there may be a look, and what is remembered (`state::looks`).

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rand::RngCore as _;
use rand::rngs::OsRng;

use crate::clock::Clock;
use crate::outbound::{Call, Client, Target};
use crate::tls::acme::{self, Challenges};
use crate::tls::certificates::Approval;

use super::Rules;

/// For each question.
const TIME: Duration = Duration::from_secs(5);
/// Of an answer, more is not read.
const SIZE: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Look {
    clock: Clock,
    challenges: Arc<Challenges>,
}

impl Look {
    pub(super) fn new(clock: Clock, challenges: Arc<Challenges>) -> Self {
        Look { clock, challenges }
    }

    /// Whether this name may have one.
    ///
    /// # Errors
    /// Why not, behind a colon.
    pub(super) async fn at(&self, name: &str, approval: Approval, rules: &Rules) -> Result<(), String> {
        match approval {
            Approval::Given => {}
            Approval::Asked => self.ask(name, rules.ask.as_ref()).await?,
        }
        self.leads_here(name, rules).await
    }

    async fn ask(&self, name: &str, ask: Option<&Target>) -> Result<(), String> {
        let ask = ask.ok_or("nobody approves of it: `tls.on_demand.ask` is not set")?;
        // No character of a name has a meaning in a query.
        let query = match ask.query() {
            Some(query) => format!("{query}&domain={name}"),
            None => format!("domain={name}"),
        };
        let call = Call { size: SIZE, ..Call::get(ask.with_query(Some(&query))).within(TIME) };
        match Client::direct(self.clock.clone()).call(&call).await {
            Ok(answer) if answer.status == StatusCode::OK => Ok(()),
            Ok(answer) => Err(format!("{ask} does not approve of it, it answers {}", answer.status.as_u16())),
            Err(failure) => Err(format!("{ask} could not be asked: {failure}")),
        }
    }

    /// Before an authority looks, and counts that nothing is there: what is asked at the name has to come from this process.
    pub(super) async fn leads_here(&self, name: &str, rules: &Rules) -> Result<(), String> {
        let (token, answer) = (secret()?, secret()?);
        let _posted = self.challenges.post(&token, &answer);
        let target = format!("http://{name}{}{token}", acme::PATH).parse::<Target>();
        let target = target.map_err(|_| "it is no name that can be called".to_owned())?;
        let call = Call { size: SIZE, ..Call::get(target).within(TIME) };
        let client = Client::through(rules.via.clone(), self.clock.clone());
        match client.call(&call).await {
            Ok(found) if found.body == answer.as_bytes() => Ok(()),
            Ok(found) => Err(format!(
                "it does not lead to this gateway: something else answers http://{name}, with status {}",
                found.status.as_u16()
            )),
            Err(failure) => Err(format!("it does not lead to this gateway, http://{name}: {failure}")),
        }
    }
}

/// What nobody guesses.
fn secret() -> Result<String, String> {
    let mut bytes = [0; 16];
    OsRng.try_fill_bytes(&mut bytes).map_err(|error| format!("the system has no random numbers: {error}"))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
