//! Page hits and clicks of three tenants, shaped like the events of the public web analytics
//! starter kit.
//!
//! In: an open transaction. Out: some nine thousand rows in `analytics_events`.
//! **Not here**: the shop (`shop`).

use rusqlite::{Statement, Transaction, params};
use serde_json::json;

use super::TENANTS;
use super::random::{DAY_SECONDS, DAYS, Random, mix, moment};

/// Makes up all sessions.
pub(super) fn fill(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut random = Random::seeded(2026);
    let mut insert =
        transaction.prepare("INSERT INTO analytics_events VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)")?;
    for (tenant, sessions) in TENANTS.into_iter().zip([1_500_u64, 800, 400]) {
        for number in 0..sessions {
            Session::invent(tenant, number, &mut random).write(&mut random, &mut insert)?;
        }
    }
    Ok(())
}

struct Session {
    tenant: &'static str,
    id: String,
    domain: String,
    referrer: &'static str,
    country: &'static str,
    device: &'static str,
    visitor_hash: u64,
    start: u64,
    hits: u64,
}

impl Session {
    fn invent(tenant: &'static str, number: u64, random: &mut Random) -> Self {
        let visitor = random.below(700);
        // Between 2^62 and 2^63: beyond any double's precision, and still inside SQLite's signed
        // integers.
        let visitor_hash =
            (mix(visitor * 31 + tenant.len() as u64 * 7 + u64::from(tenant.as_bytes().first().copied().unwrap_or(0)))
                >> 2)
                | (1 << 62)
                | 1;
        let subdomain = random.skewed(&["www", "shop", "docs"]);
        Self {
            tenant,
            id: format!("{:016x}{number:08x}", random.next()),
            domain: format!("{subdomain}.{tenant}.example"),
            referrer: random.skewed(&[
                "",
                "https://search.example/",
                "https://news.example/item",
                "https://social.example/",
                "https://partner.example/blog",
            ]),
            country: random.skewed(&["US", "DE", "ES", "GB", "FR", "IN", "BR", "JP"]),
            device: random.skewed(&["desktop", "mobile-android", "mobile-ios", "tablet", "bot"]),
            visitor_hash,
            // The last hour of a day stays free, so that no session crosses midnight.
            start: random.below(DAYS) * DAY_SECONDS + random.below(23) * 3_600 + random.below(3_600),
            hits: 1 + random.below(7).min(random.below(7)),
        }
    }

    fn write(&self, random: &mut Random, insert: &mut Statement<'_>) -> rusqlite::Result<()> {
        let mut second = self.start;
        for _ in 0..self.hits {
            let path = random.skewed(&PATHS);
            let duration_ms = 400 + random.below(90_000).min(random.below(90_000));
            self.event(insert, ("page_hit", path), second, duration_ms)?;
            if random.below(4) == 0 {
                self.event(insert, ("click", path), second + duration_ms / 1_000, 0)?;
            }
            second += 1 + duration_ms / 1_000;
        }
        Ok(())
    }

    fn event(
        &self,
        insert: &mut Statement<'_>,
        what: (&str, &str),
        second: u64,
        duration_ms: u64,
    ) -> rusqlite::Result<()> {
        let (action, path) = what;
        let payload = json!({
            "href": format!("https://{}{path}", self.domain),
            "locale": "en-US",
            "user-agent": "Mozilla/5.0 (demo)",
        });
        insert.execute(params![
            moment(second),
            self.id,
            action,
            "1",
            payload.to_string(),
            self.tenant,
            self.domain,
            path,
            self.referrer,
            self.country,
            self.device,
            i64::try_from(duration_ms).unwrap_or_default(),
            i64::try_from(self.visitor_hash).unwrap_or_default(),
        ])?;
        Ok(())
    }
}

const PATHS: [&str; 10] = [
    "/",
    "/pricing",
    "/docs",
    "/blog",
    "/docs/quick-start",
    "/blog/launch",
    "/about",
    "/contact",
    "/docs/api",
    "/careers",
];
