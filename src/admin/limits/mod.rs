//! How limits stand for somebody, and forgetting what was counted.
//!
//! In: whose ([`question`]). Out: every count that is theirs, as text and as
//! JSON. Not here: which limits hold (`snapshot::counts`), counting
//! (`state::counters`). Looking spends nothing.
//!
//! Counts that several share are forgotten only where their limit is named.

mod question;
mod table;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::config::section::limits::Dimension;
use crate::pipeline::limits::Limit;
use crate::snapshot::Snapshot;
use crate::snapshot::counts::{Held, Named, Whose};
use crate::state::counters::{Counters, Teller};

use question::{Asked, Question};
use table::{Row, needs, table};

/// Counts of one limit that are shown.
const SHOWN: usize = 20;
/// Counts of one limit that are forgotten at a time.
const FORGOTTEN: usize = 1_000;

type Answer = Response<Vec<u8>>;

/// How the limits stand.
pub(super) async fn show(snapshot: &Snapshot, counters: &Counters, query: &str) -> Answer {
    let question = match Asked::of_query(query).and_then(|asked| Question::of(asked, snapshot)) {
        Ok(question) => question,
        Err(why) => return refuse(&why),
    };
    let mut held = snapshot.held(&question.whose(snapshot), SHOWN);
    held.retain(|held| question.limits.is_empty() || question.limits.contains(&held.limit.name.to_string()));
    let (rows, teller) = rows(&held, counters).await;
    let mut text = head(&question, snapshot);
    if teller == Teller::Substitute {
        text.insert_str(0, "Redis does not answer: these are this gateway's own counts.\n\n");
    }
    match rows.is_empty() {
        true => text.push_str("No limit holds here.\n"),
        false => text.push_str(&table(&snapshot.config, &rows)),
    }
    for held in held.iter().filter(|held| held.more > 0) {
        let than = if held.more_than_that { "more than " } else { "" };
        let narrow = narrowing(held.limit);
        text.push_str(&format!("{}: {than}{} counts more; give {narrow}\n", held.limit.name, held.more));
    }
    let more: Value = held.iter().filter(|held| held.more > 0).map(|held| (&*held.limit.name, held.more)).collect();
    let rows: Vec<Value> = rows.iter().map(|row| row.json(&snapshot.config)).collect();
    let plan = plan(&question, snapshot);
    let redis = redis_answers(counters, teller);
    let told = json!({ "limits": rows, "more": more, "plan": plan, "redis_answers": redis, "text": text });
    super::json(StatusCode::OK, &told)
}

/// Forgets what was counted, and says what that was.
pub(super) async fn reset(snapshot: &Snapshot, counters: &Counters, body: &[u8]) -> (Answer, Option<String>) {
    let asked: Result<Asked, String> = serde_json::from_slice(body).map_err(|error| {
        format!("{error}\nsend {{\"tenant\": \"acme\"}}; also caller, ip, host, route, plan, and limits, a list")
    });
    let question = match asked.and_then(|asked| Question::of(asked, snapshot)) {
        Ok(question) => question,
        Err(why) => return (refuse(&why), None),
    };
    let whose = question.whose(snapshot);
    let held = snapshot.held(&whose, FORGOTTEN);
    let (chosen, left) = match choose(&question, &whose, held) {
        Ok(choice) => choice,
        Err(why) => return (refuse(&why), None),
    };
    let (rows, _) = rows(&chosen, counters).await;
    let mut teller = Teller::Authority;
    for (limit, subject) in rows.iter().filter_map(|row| Some((row.held.limit, row.count.as_ref()?.0))) {
        teller = teller.or(counters.reset(&limit.ask(&subject, 0)).await);
    }
    let mut text = String::new();
    let mut names: Vec<String> = Vec::new();
    for row in &rows {
        if let Some((left, total)) = row.left() {
            text.push_str(&format!("reset {} ({}): {left} of {total} was left\n", row.held.limit.name, row.who()));
            names.push(format!("{} ({})", row.held.limit.name, row.who()));
        }
    }
    for held in &left {
        text.push_str(&format!("not reset: {}, {}\n", held.limit.name, needs(held)));
    }
    if names.is_empty() {
        text.push_str("Nothing was reset: no limit counts them apart from others. Name the limit that is meant.\n");
    }
    if teller == Teller::Substitute {
        text.push_str("Redis does not answer: these will be forgotten in Redis as soon as it is back.\n");
    }
    let left: Vec<&str> = left.iter().map(|held| &*held.limit.name).collect();
    let rows: Vec<Value> = rows.iter().map(|row| row.json(&snapshot.config)).collect();
    let done = (!names.is_empty()).then(|| shortened(&names));
    let redis = redis_answers(counters, teller);
    let told = json!({ "reset": rows, "left": left, "redis_answers": redis, "text": text });
    (super::json(StatusCode::OK, &told), done)
}

/// For programs: null where counts are this gateway's own.
fn redis_answers(counters: &Counters, teller: Teller) -> Option<bool> {
    counters.health().map(|_| teller == Teller::Authority)
}

/// What is forgotten, and what would have to be said to forget more.
fn choose<'a>(
    question: &Question<'_>,
    whose: &Whose<'_>,
    held: Vec<Held<'a>>,
) -> Result<(Vec<Held<'a>>, Vec<Held<'a>>), String> {
    for name in &question.limits {
        match held.iter().find(|held| *held.limit.name == **name) {
            None => return Err(format!("the limit `{name}` does not hold there: `limits show` lists what does")),
            Some(held) if !held.missing.is_empty() => {
                return Err(format!("which count of `{name}`? {}", capitalised(&needs(held))));
            }
            Some(_) => {}
        }
    }
    let is_somebody = !whose.tenant.is_open() || !whose.caller.is_open() || whose.client.is_some();
    if question.limits.is_empty() && !is_somebody {
        return Err("whose? Name a tenant, a caller or an address; or a limit, whose every count is meant then".into());
    }
    let chosen = |held: &Held<'_>| match question.limits.is_empty() {
        true => is_own(held.limit, whose),
        false => question.limits.contains(&held.limit.name.to_string()),
    };
    let (chosen, _): (Vec<_>, Vec<_>) = held.into_iter().partition(chosen);
    let (chosen, left): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|held| held.missing.is_empty());
    match chosen.iter().find(|held| held.more > 0) {
        Some(many) => Err(format!(
            "`{}` has more than {FORGOTTEN} such counts, and nothing was reset: give {}",
            many.limit.name,
            narrowing(many.limit)
        )),
        None => Ok((chosen, left)),
    }
}

/// Whether a limit counts who is meant apart from others. The tenant of a caller is named to tell the caller apart: what
/// the whole tenant shares is not the caller's own.
fn is_own(limit: &Limit, whose: &Whose<'_>) -> bool {
    let by = |dimension| limit.dimensions().contains(&dimension);
    match whose.caller.is_open() {
        true => (!whose.tenant.is_open() && by(Dimension::Tenant)) || (whose.client.is_some() && by(Dimension::Ip)),
        false => by(Dimension::Caller),
    }
}

/// Each count, and whether all of them are those by which is decided.
async fn rows<'a>(held: &'a [Held<'a>], counters: &Counters) -> (Vec<Row<'a>>, Teller) {
    let (mut rows, mut teller) = (Vec::new(), Teller::Authority);
    for held in held {
        if !held.missing.is_empty() {
            rows.push(Row { held, count: None });
        }
        for subject in &held.counts {
            let (standing, by) = counters.inquire(&held.limit.ask(subject, 0)).await;
            teller = teller.or(by);
            rows.push(Row { held, count: Some((*subject, standing)) });
        }
    }
    (rows, teller)
}

/// Who is meant, and which plan that one has.
fn head(question: &Question<'_>, snapshot: &Snapshot) -> String {
    let mut lines = Vec::new();
    match &question.tenant {
        Named::Is(tenant) => lines.push(("tenant", tenant.to_string())),
        Named::Nobody => lines.push(("tenant", "none".to_owned())),
        Named::Open => {}
    }
    if let Some(bought) = question.bought(snapshot).filter(|_| !snapshot.config.plans.is_empty()) {
        let mut plan = match (bought.name, bought.because) {
            (Some(name), Some(because)) => format!("{name}, {}", because.sentence()),
            _ => "none".to_owned(),
        };
        if bought.may_differ {
            plan.push_str("; unless its credential names another: --plan NAME shows that");
        }
        lines.push(("plan", plan));
    }
    let mut text: String = lines.iter().map(|(label, value)| format!("{label:8}{value}\n")).collect();
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn plan(question: &Question<'_>, snapshot: &Snapshot) -> Value {
    match question.bought(snapshot) {
        Some(bought) => json!({
            "name": bought.name,
            "because": bought.because.map(|because| because.word()),
            "may_differ": bought.may_differ,
        }),
        None => Value::Null,
    }
}

/// What makes the counts of a limit fewer.
fn narrowing(limit: &Limit) -> &'static str {
    let by = |dimension| limit.dimensions().contains(&dimension);
    match (by(Dimension::Host), by(Dimension::Route)) {
        (true, true) => "--host HOST or --route KEY",
        (true, false) => "--host HOST",
        (false, _) => "--route KEY",
    }
}

/// A line of a log.
fn shortened(names: &[String]) -> String {
    const NAMED: usize = 10;
    let more = names.len().saturating_sub(NAMED);
    let mut text = names.get(..NAMED).unwrap_or(names).join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

fn refuse(why: &str) -> Answer {
    super::text(StatusCode::BAD_REQUEST, &format!("{why}\n"))
}
