//! The addresses of a gateway, so that nobody comes between.
//!
//! In: the addresses of a configuration, and the sockets of a gateway before this
//! one. Out: sockets that are ours. Not here: who listens there (`serving`,
//! `operators`).

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;

use crate::config::Config;
use crate::proxy::sockets::{Claim, Sockets};

use super::upgrade::Predecessor;

/// All of them.
pub(super) struct Claims {
    listeners: Vec<Claim>,
    admin: Claim,
}

impl Claims {
    /// Those of the gateway before this one, or of nobody.
    pub(super) fn stake(config: &Config, mut predecessor: Option<&mut Predecessor>) -> anyhow::Result<Self> {
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            let address = listener.address;
            let inherited = predecessor.as_mut().and_then(|before| before.listener(address));
            let claim = inherited.map_or_else(|| Claim::stake(address), Claim::inherit);
            listeners.push(claim.with_context(|| busy(address, "listeners"))?);
        }
        let address = config.admin.address;
        let inherited = predecessor.as_mut().and_then(|before| before.admin(address));
        let admin = inherited.map_or_else(|| Claim::stake(address), Claim::inherit);
        Ok(Claims { listeners, admin: admin.with_context(|| busy(address, "admin.address"))? })
    }

    /// Those of callers, and that of operators.
    pub(super) fn addresses(&self) -> (Vec<SocketAddr>, SocketAddr) {
        (self.listeners.iter().map(Claim::address).collect(), self.admin.address())
    }

    /// Connections wait from now on, those of callers and those of operators.
    pub(super) fn listen(self) -> anyhow::Result<(Arc<Sockets>, Arc<Sockets>)> {
        for claim in &self.listeners {
            claim.listen().with_context(|| busy(claim.address(), "listeners"))?;
        }
        self.admin.listen().with_context(|| busy(self.admin.address(), "admin.address"))?;
        Ok((Sockets::new(self.listeners), Sockets::new(vec![self.admin])))
    }
}

fn busy(address: SocketAddr, key: &str) -> String {
    format!("cannot listen on {address}; stop the program that uses it, or change `{key}`")
}
