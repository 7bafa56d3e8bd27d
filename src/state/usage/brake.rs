//! Hurries a store on.
//!
//! In: wishes to have everything written, or nothing more done. Out: when what a
//! store may still take is over. Not here: the wishes (`beat`).

use std::time::Duration;

use tokio::sync::watch;

use crate::state::beat::Beat;

/// What a store may still take once everything is to be written, as it is when the process ends.
pub(super) const LAST: Duration = Duration::from_millis(1_500);
/// Shortens what a store does once somebody waits for everything to be written.
#[derive(Clone, Debug)]
pub(super) struct Brake {
    rings: Option<watch::Receiver<u64>>,
    is_pulled: bool,
}

impl Brake {
    /// Pulled by every wish.
    pub(super) fn of(beat: &Beat) -> Self {
        Brake::by(beat.rings())
    }

    /// Pulled by whoever sends.
    pub(super) fn by(pulls: watch::Receiver<u64>) -> Self {
        Brake { rings: Some(pulls), is_pulled: false }
    }

    /// Never pulled.
    pub(super) fn none() -> Self {
        Brake { rings: None, is_pulled: false }
    }

    /// From now on only later wishes count.
    pub(super) fn release(&mut self) {
        self.is_pulled = false;
        if let Some(rings) = &mut self.rings {
            rings.mark_unchanged();
        }
    }

    /// Pulls it for a wish that came before.
    pub(super) fn pull(&mut self) {
        self.is_pulled = true;
    }

    /// Whether somebody wished since.
    pub(super) fn is_pulled(&self) -> bool {
        self.is_pulled || self.rings.as_ref().is_some_and(|rings| rings.has_changed().unwrap_or(true))
    }

    /// Waits until it is pulled, and what may still be done then is over.
    #[cfg(feature = "postgres")]
    pub(super) async fn held(&self) {
        // Its own: who looks later sees the wish as well.
        let is_pulled = match self.rings.clone() {
            _ if self.is_pulled => true,
            Some(mut rings) => rings.changed().await.is_ok(),
            None => false,
        };
        if !is_pulled {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LAST).await;
    }
}
