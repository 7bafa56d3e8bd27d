//! What of the ledger was sent elsewhere, and what waits for that, in a Postgres.
//!
//! In: a connection. Out: as for the file (`super::super::spool`), for several
//! gateways of which one sends at a time. Not here: sending (`export`).

use std::time::Duration;

use tokio_postgres::Row as Found;
use tokio_postgres::types::Type;

use crate::exchange::usage::Used;

use super::super::mark::{self, Closing, Mark, Step, Turn};
use super::super::row::Row;
use super::super::sql::{MINUTE, WHOSE, signed, unsigned};
use super::link::{Link, Value};
use super::trouble::Trouble;

/// What a statement here may take.
const TIME: Duration = Duration::from_secs(10);
/// Minutes are closed so long after their end, by the database's clock, in seconds.
const LATE: i64 = 5;
/// Who sends goes on for so long without saying so, in seconds; a call takes 30.
const LEASE: i64 = 120;
/// Behind the mark whose parts are the values 3 to 8, and in its minute the span 1.
const WAITS: &str = "(start, span, tenant, provider, caller, route, class) > ($3, $1, $4, $5, $6, $7, $8)";

/// Notes that are there from the beginning: a row that is not there cannot be locked.
pub(super) const NOTES: &str = "
    INSERT INTO tollgate_usage_notes (name, text) VALUES
        ('gateway', substr(md5(random()::text || clock_timestamp()::text), 1, 16)),
        ('open_from', '0'), ('sent_up_to', ''), ('sender', '0 nobody')
    ON CONFLICT DO NOTHING";

/// The name by which others know this ledger.
pub(super) async fn gateway(link: &Link) -> Result<String, Trouble> {
    note(link, "gateway").await
}

/// Closes minutes that are written, and over by the database's clock, too: clocks of gateways differ. Only whose turn it is
/// does so; it stays so for a while.
pub(super) async fn close(link: &Link, Closing { over, written }: Closing, sender: &str) -> Result<Turn, Trouble> {
    link.begin(TIME).await?;
    let seconds = "extract(epoch FROM clock_timestamp())::bigint";
    // A turn that is longer than any was taken by a clock that was ahead.
    let taken = format!(
        "UPDATE tollgate_usage_notes SET text = ({seconds} + {LEASE}) || ' ' || $1 WHERE name = 'sender' AND \
         (split_part(text, ' ', 2) = $1 OR split_part(text, ' ', 1)::bigint NOT BETWEEN {seconds} AND {seconds} + {LEASE}) \
         RETURNING {seconds}"
    );
    let taken = link.ask(&taken, &[(&sender, Type::TEXT)]).await?;
    let Some(now) = taken.first().map(|row| row.try_get::<_, i64>(0)).transpose()? else {
        link.tell("COMMIT").await?;
        return Ok(Turn::Another);
    };
    // Who adds holds the row until that is written, and is waited for here.
    let known = open_from_alone(link).await?;
    let passed = now - LATE;
    let passed = passed - passed.rem_euclid(MINUTE);
    match mark::step(known, passed, passed.min(signed(over)).min(signed(written))) {
        Step::None => {}
        Step::To(until) => write_note(link, "open_from", &until.to_string()).await?,
        Step::Back => {
            let days = (known - passed) / 86_400;
            log::warn!("the database's clock was set back by {days} days: minutes that come again are sent again");
            write_note(link, "open_from", &passed.to_string()).await?;
            let mark = mark::set_back(mark_of(link).await?, passed);
            write_note(link, "sent_up_to", &mark::text(&mark)).await?;
        }
    }
    link.tell("COMMIT").await?;
    Ok(Turn::Ours)
}

/// Lets another gateway send.
pub(super) async fn release(link: &Link, sender: &str) -> Result<(), Trouble> {
    let text =
        "UPDATE tollgate_usage_notes SET text = '0 nobody' WHERE name = 'sender' AND split_part(text, ' ', 2) = $1";
    link.ask(text, &[(&sender, Type::TEXT)]).await.map(drop)
}

/// The lines that are to be sent next, at most so many.
pub(super) async fn next(link: &Link, most: usize) -> Result<Vec<Row>, Trouble> {
    let (mark, open_from) = (mark_of(link).await?, open_from(link).await?);
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mark = Parts::of(&mark);
    let mut values = mark.values(&MINUTE, &open_from);
    values.push((&most, Type::INT8));
    lines(link, TIME, "span = $1 AND start < $2", &values).await
}

/// How many lines wait.
pub(super) async fn waiting(link: &Link) -> Result<u64, Trouble> {
    let open_from = open_from(link).await?;
    count(link, open_from).await
}

/// Everything up to this line is there.
pub(super) async fn sent(link: &Link, last: &Row) -> Result<(), Trouble> {
    let last = mark::at(last);
    link.begin(TIME).await?;
    if last > mark::read(Some(&note_alone(link, "sent_up_to").await?)) {
        write_note(link, "sent_up_to", &mark::text(&last)).await?;
    }
    link.tell("COMMIT").await
}

/// Gives up what waits of minutes that began before `until`; how many lines that are.
pub(super) async fn give_up(link: &Link, until: i64) -> Result<u64, Trouble> {
    link.begin(super::LONG).await?;
    // Who adds to earlier minutes is waited for.
    let open_from = open_from_alone(link).await?;
    let given_up = count_here(link, until).await?;
    if given_up > 0 {
        write_note(link, "sent_up_to", &mark::text(&mark::before(until))).await?;
    }
    if open_from < until {
        write_note(link, "open_from", &until.to_string()).await?;
    }
    link.tell("COMMIT").await?;
    Ok(given_up)
}

/// Reads lines, sent or not, of any span, that end and begin between two times and come behind one, at most so many.
pub(super) async fn read(
    link: &Link,
    (since, until): (i64, i64),
    behind: Option<&Row>,
    most: i64,
) -> Result<Vec<Row>, Trouble> {
    let (mark, span) = behind.map_or((mark::before(0), 0), |row| (mark::at(row), signed(row.span)));
    let mark = Parts::of(&mark);
    let mut values = mark.values(&span, &until);
    values.extend([(&most as _, Type::INT8), (&since as _, Type::INT8)]);
    lines(link, super::LONG, "start + span > $10 AND start < $2", &values).await
}

/// The lines behind a mark of which this is so, at most so many: the value 9.
async fn lines(link: &Link, time: Duration, which: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Trouble> {
    let text = format!(
        "SELECT start, span, {WHOSE}, {} FROM tollgate_usage WHERE {which} AND {WAITS} ORDER BY start, span, {WHOSE} LIMIT $9",
        Used::NAMES.join(", ")
    );
    let found = link.at_once(time, &text, values).await?;
    found.iter().map(|found| Ok(row(found)?)).collect()
}

async fn count(link: &Link, until: i64) -> Result<u64, Trouble> {
    link.begin(TIME).await?;
    let count = count_here(link, until).await?;
    link.tell("COMMIT").await?;
    Ok(count)
}

/// How many lines of minutes that began before `until` wait.
async fn count_here(link: &Link, until: i64) -> Result<u64, Trouble> {
    let mark = mark_of(link).await?;
    let text = format!("SELECT count(*) FROM tollgate_usage WHERE span = $1 AND start < $2 AND {WAITS}");
    let found = link.ask(&text, &Parts::of(&mark).values(&MINUTE, &until)).await?;
    let count = found.first().map(|row| row.try_get::<_, i64>(0)).transpose()?;
    Ok(count.map_or(0, unsigned))
}

/// A mark as the values 3 to 8 of a statement.
struct Parts<'a> {
    mark: &'a Mark,
    class: i16,
}

impl<'a> Parts<'a> {
    fn of(mark: &'a Mark) -> Self {
        Parts { mark, class: i16::try_from(mark.5).unwrap_or(-1) }
    }

    /// Behind a span and a time.
    fn values(&'a self, span: &'a i64, until: &'a i64) -> Vec<Value<'a>> {
        let (start, tenant, provider, caller, route, _) = self.mark;
        let mut values: Vec<Value<'_>> = vec![(span, Type::INT8), (until, Type::INT8), (start, Type::INT8)];
        values.extend([tenant, provider, caller, route].map(|text| (text as _, Type::TEXT)));
        values.push((&self.class, Type::INT2));
        values
    }
}

fn row(found: &Found) -> Result<Row, tokio_postgres::Error> {
    let number = |index: usize| found.try_get(index).map(unsigned);
    let mut sums = [0; Used::NAMES.len()];
    for (index, sum) in sums.iter_mut().enumerate() {
        *sum = number(7 + index)?;
    }
    Ok(Row {
        start: number(0)?,
        span: number(1)?,
        tenant: found.try_get(2)?,
        provider: found.try_get(3)?,
        caller: found.try_get(4)?,
        route: found.try_get(5)?,
        class: u8::try_from(found.try_get::<_, i16>(6)?).unwrap_or(0),
        used: Used::of(sums),
    })
}

async fn open_from(link: &Link) -> Result<i64, Trouble> {
    Ok(number(&note(link, "open_from").await?))
}

/// As [`open_from`], and nobody adds anything until the transaction ends.
async fn open_from_alone(link: &Link) -> Result<i64, Trouble> {
    Ok(number(&note_alone(link, "open_from").await?))
}

async fn mark_of(link: &Link) -> Result<Mark, Trouble> {
    Ok(mark::read(Some(&note(link, "sent_up_to").await?)))
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or(0)
}

async fn note(link: &Link, name: &str) -> Result<String, Trouble> {
    text_of(link, "SELECT text FROM tollgate_usage_notes WHERE name = $1", name).await
}

/// As [`note`], and nobody else changes it until the transaction ends.
async fn note_alone(link: &Link, name: &str) -> Result<String, Trouble> {
    text_of(link, "SELECT text FROM tollgate_usage_notes WHERE name = $1 FOR UPDATE", name).await
}

async fn text_of(link: &Link, question: &str, name: &str) -> Result<String, Trouble> {
    let found = link.ask(question, &[(&name, Type::TEXT)]).await?;
    Ok(found.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default())
}

async fn write_note(link: &Link, name: &str, text: &str) -> Result<(), Trouble> {
    let update = "UPDATE tollgate_usage_notes SET text = $2 WHERE name = $1";
    link.ask(update, &[(&name, Type::TEXT), (&text, Type::TEXT)]).await.map(drop)
}
