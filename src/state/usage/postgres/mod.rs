//! The Postgres that usage is written to, by several gateways.
//!
//! In: batches. Out: sums of any stretch, by what they are asked by. A batch is
//! added once, however often it is sent: its number is written with it. Not here:
//! when it is written (`ledger`), the connection (`link`).

mod link;
mod spool;
mod trouble;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::Row as Found;
use tokio_postgres::types::Type;

use crate::clock::Clock;
use crate::config::scalar::PostgresAddress;
use crate::exchange::usage::Used;
use crate::outbound::Client;
use crate::state::private::Fault;

use super::brake::Brake;
use super::mark::{Closing, Sending, Turn};
use super::question::{Answer, Line, Question};
use super::row::Row;
use super::sql::{Columns, Dialect, MINUTE, WHOSE, signed, widenings};
use super::waiting::Batch;
use link::{CONNECT, Link, Value};
use trouble::Trouble;

const SQL: Dialect = Dialect::Postgres;
/// Which tables there are.
const VERSION: i64 = 1;
/// What the server may take for a batch; who sent it waits a little longer.
const WRITE: Duration = Duration::from_secs(10);
/// What it may take to answer, and to tidy up.
const LONG: Duration = Duration::from_secs(60);
/// Lines that are read at once.
const PAGE: i64 = 10_000;
/// What its own time-outs need to be heard of.
const MORE: Duration = Duration::from_secs(2);
/// Locks of a database have numbers: "tollgate", for who makes tables.
const MAKING: i64 = 0x746f_6c6c_6761_7465;
/// As [`MAKING`], for who tidies up.
const TIDYING: i64 = MAKING + 1;
/// Bytes of the longest text: an entry of an index has room for four of these.
const LONGEST: usize = 512;

/// The database, and what its connection lives on.
#[derive(Debug)]
pub(super) struct Store {
    way: Way,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.way.link = None;
        // A name that is being looked up must not hold who is done with it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The connection, and what is needed to open another one.
#[derive(Debug)]
struct Way {
    link: Option<Link>,
    address: PostgresAddress,
    client: Client,
}

impl Store {
    /// Connects, and makes the tables if they are not there.
    pub(super) fn open(address: &PostgresAddress, clock: &Clock, brake: &Brake) -> Result<Self, Fault> {
        let mut store = Store::new(address, clock)?;
        store.work(CONNECT * 2, brake, async |way| {
            let link = way.link().await?;
            match version(link).await {
                Err(Trouble::Missing) => make_tables(link).await?,
                known => known?,
            }
            Ok(())
        })?;
        Ok(store)
    }

    /// Connects to ask only; none if there are no tables.
    pub(super) fn look(address: &PostgresAddress) -> Result<Option<Self>, Fault> {
        let mut store = Store::new(address, &Clock::system())?;
        let known = store.work(CONNECT * 2, &Brake::none(), async |way| version(way.link().await?).await);
        match known {
            Err(Trouble::Missing) => Ok(None),
            known => Ok(known.map(|()| Some(store))?),
        }
    }

    /// Connects, changes nothing, and tells what a gateway would find.
    pub(super) fn try_out(address: &PostgresAddress) -> Result<&'static str, Fault> {
        let mut store = Store::new(address, &Clock::system())?;
        Ok(store.work(CONNECT, &Brake::none(), async |way| try_out(way.link().await?).await)?)
    }

    fn new(address: &PostgresAddress, clock: &Clock) -> Result<Self, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let way = Way { link: None, address: address.clone(), client: Client::direct(clock.clone()) };
        Ok(Store { way, runtime: Some(runtime) })
    }

    /// Adds a batch, unless it was added before.
    pub(super) fn add(&mut self, batch: &Batch, brake: &Brake) -> Result<(), Fault> {
        let arrays = Arrays::of(batch);
        self.again(WRITE + MORE, brake, async |way| {
            way.link().await?.at_once(WRITE, &add(), &arrays.values()).await.map(drop)
        })
    }

    /// As the file's, by one gateway at a time.
    pub(super) fn tidy(&mut self, (now, retention): (u64, u64), sending: Sending, brake: &Brake) -> Result<u64, Fault> {
        let times = (signed(now), signed(retention));
        self.again(LONG + MORE, brake, async |way| tidy(way.link().await?, times, sending).await)
    }

    /// See [`super::place::Store::gateway`].
    pub(super) fn gateway(&mut self, brake: &Brake) -> Result<String, Fault> {
        self.again(WRITE + MORE, brake, async |way| spool::gateway(way.link().await?).await)
    }

    /// See [`super::place::Store::close`].
    pub(super) fn close(&mut self, closing: Closing, sender: &str, brake: &Brake) -> Result<Turn, Fault> {
        self.again(WRITE + MORE, brake, async |way| spool::close(way.link().await?, closing, sender).await)
    }

    /// See [`super::place::Store::release`].
    pub(super) fn release(&mut self, sender: &str, brake: &Brake) -> Result<(), Fault> {
        self.again(WRITE + MORE, brake, async |way| spool::release(way.link().await?, sender).await)
    }

    /// See [`super::place::Store::next`].
    pub(super) fn next(&mut self, most: usize, brake: &Brake) -> Result<Vec<Row>, Fault> {
        self.again(WRITE + MORE, brake, async |way| spool::next(way.link().await?, most).await)
    }

    /// See [`super::place::Store::waiting`].
    pub(super) fn waiting(&mut self, brake: &Brake) -> Result<u64, Fault> {
        self.again(WRITE + MORE, brake, async |way| spool::waiting(way.link().await?).await)
    }

    /// See [`super::place::Store::sent`].
    pub(super) fn sent(&mut self, last: &Row, brake: &Brake) -> Result<(), Fault> {
        self.again(WRITE + MORE, brake, async |way| spool::sent(way.link().await?, last).await)
    }

    /// See [`super::place::Store::read`]; so many at a time.
    pub(super) fn read(&mut self, since: u64, until: u64, each: &mut dyn FnMut(&Row)) -> Result<(), Fault> {
        let (times, mut last) = ((signed(since), signed(until)), None);
        loop {
            let rows = self.again(LONG + MORE, &Brake::none(), async |way| {
                spool::read(way.link().await?, times, last.as_ref(), PAGE).await
            })?;
            rows.iter().for_each(&mut *each);
            match rows.into_iter().next_back() {
                Some(row) => last = Some(row),
                None => return Ok(()),
            }
        }
    }

    /// What was used, by what it is asked by.
    pub(super) fn answer(&mut self, question: &Question) -> Result<Answer, Fault> {
        let times = question.times();
        let mut values: Vec<Value<'_>> = times.iter().map(|time| (time as _, Type::INT8)).collect();
        values.extend(question.words().map(|word| (word as _, Type::TEXT)));
        let text = question.sql(SQL);
        let rows =
            self.again(LONG + MORE, &Brake::none(), async |way| way.link().await?.at_once(LONG, &text, &values).await)?;
        let mut answer = Answer::default();
        for row in rows {
            answer.add(line(&row, question.by.len()).map_err(Trouble::from)?);
        }
        Ok(answer)
    }

    /// Whether the connection is there, as far as that was seen.
    pub(super) fn is_in_place(&self) -> bool {
        self.way.link.as_ref().is_some_and(Link::is_open)
    }

    /// As [`Store::work`]. A connection that was open before may have been closed meanwhile, which says nothing about the
    /// next one; what is done twice thereby counts once.
    fn again<T>(
        &mut self,
        time: Duration,
        brake: &Brake,
        mut work: impl AsyncFnMut(&mut Way) -> Result<T, Trouble>,
    ) -> Result<T, Fault> {
        let was_open = self.way.link.is_some();
        match self.work(time, brake, &mut work) {
            Err(Trouble::Broken(_)) if was_open => Ok(self.work(time, brake, work)?),
            done => Ok(done?),
        }
    }

    /// Does something in this time; the connection is not used again after anything went wrong.
    fn work<T>(
        &mut self,
        time: Duration,
        brake: &Brake,
        mut work: impl AsyncFnMut(&mut Way) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let Store { way, runtime: Some(runtime) } = self else {
            return Err(Trouble::Other("is not used any more".to_owned()));
        };
        let done = runtime.block_on(async {
            tokio::select! {
                done = work(way) => done,
                () = tokio::time::sleep(time) => Err(Trouble::slow(time)),
                () = brake.held() => Err(Trouble::Other("did not answer before the gateway had to go on".to_owned())),
            }
        });
        if done.is_err() {
            self.way.link = None;
        }
        done
    }
}

impl Way {
    async fn link(&mut self) -> Result<&Link, Trouble> {
        let link = match self.link.take().filter(Link::is_open) {
            Some(link) => link,
            None => Link::open(&self.address, &self.client).await?,
        };
        Ok(self.link.insert(link))
    }
}

/// Whether the tables are those that this gateway knows.
async fn version(link: &Link) -> Result<(), Trouble> {
    let rows = link.ask("SELECT text FROM tollgate_usage_notes WHERE name = 'version'", &[]).await?;
    let found = rows.first().ok_or(Trouble::Missing)?.try_get::<_, String>(0)?;
    match found.parse() {
        Ok(VERSION) => Ok(()),
        Ok(_) | Err(_) => Err(Trouble::Newer),
    }
}

async fn try_out(link: &Link) -> Result<&'static str, Trouble> {
    let (missing, question) = match version(link).await {
        Err(Trouble::Missing) => {
            (Trouble::Missing, "coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)".to_owned())
        }
        known => {
            known?;
            let rights = ["SELECT", "INSERT", "UPDATE", "DELETE"];
            let tables = [SQL.table(), "tollgate_usage_writers", "tollgate_usage_notes"];
            let each =
                |right: &str| tables.map(|table| format!("has_table_privilege('{table}', '{right}')")).join(" AND ");
            let words =
                "does not let this user read and write its tables: let the user that made them GRANT ALL on them";
            (Trouble::Other(words.to_owned()), rights.map(each).join(" AND "))
        }
    };
    let text = format!("SELECT {question}, current_setting('transaction_read_only') = 'on'");
    let rows = link.ask(&text, &[]).await?;
    let row = rows.first().ok_or(Trouble::Missing)?;
    match (row.try_get(0)?, row.try_get(1)?, missing) {
        (_, true, _) => Err(Trouble::read_only()),
        (true, false, Trouble::Missing) => Ok("answers, and lets the gateway make its tables"),
        (true, false, _) => Ok("answers, and lets the gateway write its tables"),
        (false, false, Trouble::Missing) => Err(Trouble::no_tables("this user may not make them")),
        (false, false, missing) => Err(missing),
    }
}

async fn make_tables(link: &Link) -> Result<(), Trouble> {
    let encoding = link.ask("SELECT current_setting('server_encoding')", &[]).await?;
    let encoding = encoding.first().map(|row| row.try_get::<_, String>(0)).transpose()?.unwrap_or_default();
    if encoding != "UTF8" {
        let words = format!("keeps its texts in {encoding}: make a database for the ledger with ENCODING 'UTF8'");
        return Err(Trouble::Other(words));
    }
    link.begin(WRITE).await?;
    // Gateways that start together make them one after the other.
    link.ask("SELECT pg_advisory_xact_lock($1)", &[(&MAKING, Type::INT8)]).await?;
    link.tell(&tables()).await.map_err(Trouble::of_making)?;
    link.tell("COMMIT").await?;
    version(link).await
}

fn tables() -> String {
    let mut sums = String::new();
    for name in Used::NAMES {
        let _ = write!(sums, "{name} bigint NOT NULL, ");
    }
    // Sorted as the file sorts, whatever the database's language; and with room beside rows that change twice a second.
    format!(
        r#"
        CREATE TABLE IF NOT EXISTS tollgate_usage (
            start bigint NOT NULL,
            span bigint NOT NULL,
            tenant text COLLATE "C" NOT NULL,
            provider text COLLATE "C" NOT NULL,
            caller text COLLATE "C" NOT NULL,
            route text COLLATE "C" NOT NULL,
            class smallint NOT NULL,
            {sums}
            PRIMARY KEY (start, span, {WHOSE})
        ) WITH (fillfactor = 70);
        CREATE TABLE IF NOT EXISTS tollgate_usage_writers (
            writer text PRIMARY KEY,
            batch bigint NOT NULL,
            written timestamptz NOT NULL
        ) WITH (fillfactor = 70);
        CREATE TABLE IF NOT EXISTS tollgate_usage_notes (name text PRIMARY KEY, text text NOT NULL);
        {};
        INSERT INTO tollgate_usage_notes (name, text) VALUES ('version', '{VERSION}') ON CONFLICT DO NOTHING"#,
        spool::NOTES
    )
}

/// Adds a batch, and notes its number, in one statement: neither is there without the other. Where the number is noted
/// already, or another connection is about to, nothing is added.
fn add() -> String {
    let names = Used::NAMES.join(", ");
    let places = (3..=8 + Used::NAMES.len()).map(|number| SQL.place(number)).collect::<Vec<_>>().join(", ");
    let sums = Used::NAMES.map(|name| SQL.sum(name)).join(", ");
    // What was sent must not change any more: what belongs to closed minutes is added to the first that is open, and none
    // is closed while this is under way. One order for all gateways, so that none waits for another in a ring.
    let source = format!(
        "SELECT begun, {MINUTE}, {WHOSE}, {sums} FROM (SELECT greatest(start, since) AS begun, {WHOSE}, {names} FROM \
         unnest({places}) AS added (start, {WHOSE}, {names}), \
         (SELECT coalesce((SELECT since FROM opened), 0) AS since) AS first) AS moved WHERE EXISTS (SELECT FROM noted) \
         GROUP BY begun, {WHOSE} ORDER BY begun, {WHOSE}"
    );
    format!(
        "WITH opened AS (SELECT text::bigint AS since FROM tollgate_usage_notes WHERE name = 'open_from' FOR SHARE), \
         noted AS (INSERT INTO tollgate_usage_writers AS known (writer, batch, written) VALUES ($1, $2, now()) ON \
         CONFLICT (writer) DO UPDATE SET batch = excluded.batch, written = excluded.written WHERE known.batch < \
         excluded.batch RETURNING writer) {}",
        SQL.add(&source)
    )
}

async fn tidy(link: &Link, (now, retention): (i64, i64), sending: Sending) -> Result<u64, Trouble> {
    let steps = widenings(now);
    let kept_until = now.saturating_sub(retention);
    let mut given_up = 0;
    // On its own, because who adds waits for it; afterwards nothing is added to those minutes.
    if let (Sending::Wanted, [(_, _, before), _]) = (sending, steps) {
        given_up = spool::give_up(link, before.max(kept_until)).await?;
    }
    link.begin(LONG).await?;
    let free = link.ask("SELECT pg_try_advisory_xact_lock($1)", &[(&TIDYING, Type::INT8)]).await?;
    if free.first().map(|row| row.try_get::<_, bool>(0)).transpose()? == Some(true) {
        for (span, wider, before) in steps {
            link.ask(&SQL.widen(), &[(&wider, Type::INT8), (&before, Type::INT8), (&span, Type::INT8)]).await?;
        }
        link.ask(&SQL.remove_old(), &[(&kept_until, Type::INT8)]).await?;
        // Batches that wait with a gateway are younger than what is kept.
        let old = "DELETE FROM tollgate_usage_writers WHERE written < to_timestamp($1::bigint)";
        link.ask(old, &[(&kept_until, Type::INT8)]).await?;
    }
    link.tell("COMMIT").await?;
    Ok(given_up)
}

/// A batch as the columns of its rows.
struct Arrays<'a> {
    writer: &'a str,
    number: i64,
    starts: Vec<i64>,
    words: [Vec<Cow<'a, str>>; 4],
    classes: Vec<i16>,
    sums: [Vec<i64>; Used::NAMES.len()],
}

impl<'a> Arrays<'a> {
    fn of(batch: &'a Batch) -> Self {
        let mut arrays = Arrays {
            writer: &batch.writer,
            number: batch.number,
            starts: Vec::new(),
            words: Default::default(),
            classes: Vec::new(),
            sums: Default::default(),
        };
        for (key, used) in &batch.rows {
            let Columns { start, tenant, provider, caller, route, class } = key.into();
            arrays.starts.push(start);
            let words = [tenant, provider, caller, route];
            arrays.words.iter_mut().zip(words).for_each(|(column, word)| column.push(bounded(word)));
            arrays.classes.push(class.into());
            arrays.sums.iter_mut().zip(used.sums()).for_each(|(column, sum)| column.push(signed(sum)));
        }
        arrays
    }

    /// In the order of [`add`]'s places.
    fn values(&self) -> Vec<Value<'_>> {
        let mut values: Vec<Value<'_>> =
            vec![(&self.writer, Type::TEXT), (&self.number, Type::INT8), (&self.starts, Type::INT8_ARRAY)];
        values.extend(self.words.iter().map(|column| (column as _, Type::TEXT_ARRAY)));
        values.push((&self.classes, Type::INT2_ARRAY));
        values.extend(self.sums.iter().map(|column| (column as _, Type::INT8_ARRAY)));
        values
    }
}

/// A text as Postgres takes it. Callers are named by whoever makes tokens: what no text or no index can hold must not keep
/// everybody's usage from being written.
fn bounded(text: &str) -> Cow<'_, str> {
    let text = match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', "\u{fffd}")),
        false => Cow::Borrowed(text),
    };
    if text.len() <= LONGEST {
        return text;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut end = String::from("…");
    digest.as_ref().iter().take(16).for_each(|byte| _ = write!(end, "{byte:02x}"));
    let begin = (0..=LONGEST - end.len()).rev().find_map(|length| text.get(..length)).unwrap_or_default();
    Cow::Owned(format!("{begin}{end}"))
}

fn line(row: &Found, sides: usize) -> Result<Line, tokio_postgres::Error> {
    let mut sums = [0; Used::NAMES.len()];
    for (index, sum) in sums.iter_mut().enumerate() {
        *sum = row.try_get(sides + index)?;
    }
    let behind = sides + sums.len();
    Ok(Line {
        sides: (0..sides).map(|index| row.try_get(index)).collect::<Result<_, _>>()?,
        sums,
        span: (row.try_get(behind)?, row.try_get(behind + 1)?),
        rows: row.try_get(behind + 2)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_no_index_holds_are_cut_and_told_apart() {
        let [one, other] = ["a", "b"].map(|end| format!("{}{end}", "ä".repeat(400)));
        let (one, other) = (bounded(&one), bounded(&other));
        assert!(one.len() <= LONGEST && other.len() <= LONGEST && one != other, "{one} {other}");
        assert_eq!(bounded("a\0b"), "a\u{fffd}b");
        assert_eq!(bounded("acme"), "acme");
    }
}
