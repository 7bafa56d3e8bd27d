//! An explanation as a person reads it in a terminal.
//!
//! In: an [`Explanation`]. Out: aligned plain text without colour, and without
//! any character that a terminal would obey. Not here: facts.

use std::fmt;

use crate::config::scalar::Period;
use crate::state::retry_budget::{FLOOR, WINDOW};

use super::Explanation;
use super::callers::{Callers, Known, Providers};
use super::facts::{Matched, Page, Read, Repeats, Retries, Sent, Verdict};
use super::hosted::Hosted;
use super::limits::{Asking, Plan};
use super::nearby::Nearby;
use super::parameters::{Parameter, ParameterFate, Place};

/// The width of the left column.
const LABEL: usize = 12;
/// Characters of a body or a value that are shown.
const LONGEST: usize = 2_000;
const LONGEST_VALUE: usize = 60;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation {
            request,
            host,
            route,
            nearby,
            callers,
            cors,
            parameters,
            plan,
            limits,
            upstream,
            retries,
            verdict,
        } = self;
        section(f, "request", &of_request(request))?;
        section(f, "host", &host.as_ref().map(of_host).unwrap_or_default())?;
        section(f, "route", &route.as_ref().map(of_route).unwrap_or_default())?;
        section(f, "route", &nearby.as_ref().map(of_nearby).unwrap_or_default())?;
        section(f, "callers", &callers.as_ref().map(of_callers).unwrap_or_default())?;
        section(f, "cors", &of_page(cors, verdict))?;
        section(f, "parameters", &of_parameters(parameters))?;
        section(f, "limits", &of_limits(plan.as_ref(), limits))?;
        section(f, "upstream", &upstream.as_ref().map(of_sent).unwrap_or_default())?;
        section(f, "retries", &retries.as_ref().map(of_retries).unwrap_or_default())?;
        section(f, "verdict", &of_verdict(verdict))
    }
}

/// Lines under a label.
fn section(f: &mut fmt::Formatter<'_>, label: &str, lines: &[String]) -> fmt::Result {
    for (index, line) in lines.iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        let line = format!("{label:LABEL$}{line}");
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

fn of_request(request: &Read) -> Vec<String> {
    let Read { method, host, path, query, client, scheme, body_bytes } = request;
    let query = if query.is_empty() { String::new() } else { format!("?{}", tame(query)) };
    let body = match body_bytes {
        0 => String::new(),
        1 => ", with a body of 1 byte".to_owned(),
        bytes => format!(", with a body of {bytes} bytes"),
    };
    vec![
        format!("{} {}{query}", tame(method), tame(path)),
        format!("to host {}, from {client} over {scheme}{body}", tame(host)),
    ]
}

fn of_host(host: &Hosted) -> Vec<String> {
    let Hosted { pattern, tenant, near } = host;
    let mut lines = match pattern {
        Some(pattern) => vec![pattern.clone()],
        None => vec!["not served: none under `hosts` matches".to_owned()],
    };
    lines.extend(tenant.as_deref().map(|tenant| format!("belongs to the tenant {}", quoted(tenant))));
    if !near.is_empty() {
        lines.push(format!("served, and near: {}", near.join(", ")));
    }
    lines
}

fn of_route(route: &Matched) -> Vec<String> {
    let Matched { pattern, key, host, place, captures, others } = route;
    let place = place.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
    let mut lines = vec![format!("{pattern}{place}")];
    if key != pattern {
        lines.push(format!("opened by the route {key}"));
    }
    if host.is_some() {
        lines.push("is a route of this host alone".to_owned());
    }
    if captures.is_empty() {
        lines.push("is exactly this path".to_owned());
    }
    lines.extend(captures.iter().map(|field| format!("{{{}}} is {}", field.name, quoted(&field.value))));
    if !others.is_empty() {
        lines.push(format!("wins over {}, less specific", others.join(", then ")));
    }
    lines
}

fn of_nearby(nearby: &Nearby) -> Vec<String> {
    let mut lines = vec!["none matches this path".to_owned()];
    lines.extend(nearby.hint.as_deref().map(tame));
    if !nearby.patterns.is_empty() {
        lines.push(format!("served, and near: {}", nearby.patterns.join(", ")));
    }
    lines
}

fn of_callers(callers: &Callers) -> Vec<String> {
    let Providers { providers, caller, why_not } = match callers {
        Callers::Public => return vec!["anyone may call".to_owned()],
        Callers::Of(providers) => providers,
    };
    let mut lines = vec![format!("who has a credential for {} may call", providers.join(" or "))];
    if let Some(Known { provider, kind, id, tenant, scopes }) = caller {
        lines.push(format!("this is {} by {provider} ({kind})", quoted(id)));
        lines.push(match tenant {
            Some(tenant) => format!("its tenant is {tenant}"),
            None => "it has no tenant".to_owned(),
        });
        lines.extend(scopes.as_ref().map(|scopes| match scopes.is_empty() {
            true => "it has no scopes".to_owned(),
            false => format!("its scopes are {}", tame(&scopes.join(" "))),
        }));
    }
    lines.extend(why_not.as_ref().map(|why| format!("it is not known who this is: {}", tame(why))));
    lines
}

fn of_page(page: &Page, verdict: &Verdict) -> Vec<String> {
    let Page { origin, readable, headers } = page;
    let Some(origin) = origin.as_deref().map(tame) else { return Vec::new() };
    let preflight = match verdict {
        Verdict::Answered { status: 204 } => "preflight answered: ",
        // Beside what is refused: the description of the host's routes.
        Verdict::Answered { .. } | Verdict::Refused { .. } | Verdict::Unparsed { .. } | Verdict::Upstream => "",
    };
    let words = if *readable { "may read the answer" } else { "may not read the answer: no `cors` rule names it" };
    let mut lines = vec![format!("{preflight}pages of {origin} {words}")];
    lines.extend(headers.iter().map(|field| format!("{}: {}", field.name, tame(&field.value))));
    lines
}

fn of_limits(plan: Option<&Plan>, limits: &[Asking]) -> Vec<String> {
    let bought = plan.map(|Plan { name, sentence, .. }| format!("the plan is {name}, {sentence}"));
    let rows = limits.iter().map(|asking| {
        let Asking { limit, allows, counts, attached, dry_run } = asking;
        let limit = if *dry_run { format!("{limit} (dry run)") } else { limit.clone() };
        [limit, allows.clone(), tame(counts), attached.join(", ")]
    });
    bought.into_iter().chain(aligned(rows.collect())).collect()
}

fn of_parameters(parameters: &[Parameter]) -> Vec<String> {
    aligned(parameters.iter().map(row).collect())
}

fn aligned(rows: Vec<[String; 4]>) -> Vec<String> {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let (name, place, value) = (width(0), width(1), width(2));
    let line = |[a, b, c, d]: &[String; 4]| format!("{a:name$}  {b:place$}  {c:value$}  {d}");
    rows.iter().map(line).collect()
}

fn row(parameter: &Parameter) -> [String; 4] {
    let Parameter { name, place, before, after, fate, why } = parameter;
    let place = match place {
        Place::Form => "form",
        Place::Json => "json",
        Place::Query => "query",
        Place::Route => "route",
    };
    // Never both different: a value goes on as it is or not at all.
    let value = before.as_ref().or(after.as_ref()).map(|value| shortened(&tame(value))).unwrap_or_default();
    let fate = match fate {
        ParameterFate::Defaulted => "default added",
        ParameterFate::Dropped | ParameterFate::Overridden => "dropped",
        ParameterFate::Fixed => "forced",
        ParameterFate::Kept => "kept",
        ParameterFate::Refused => "refused",
    };
    let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    [tame(name), place.to_owned(), value, format!("{fate}{why}")]
}

fn of_sent(sent: &Sent) -> Vec<String> {
    let Sent { name, method, url, or_at, headers, body } = sent;
    let mut lines = vec![name.clone(), format!("{method} {url}")];
    lines.extend(or_at.iter().map(|other| format!("or at {other}")));
    lines.extend(headers.iter().map(|field| format!("{}: {}", field.name, tame(&field.value))));
    if let Some(body) = body {
        lines.push(String::new());
        match &body.text {
            Some(text) => lines.extend(text.chars().take(LONGEST).collect::<String>().lines().map(tame)),
            None => lines.push(format!("({} bytes that are not text)", body.bytes)),
        }
        if body.text.as_ref().is_some_and(|text| text.chars().nth(LONGEST).is_some()) {
            lines.push(format!("... ({} bytes in all)", body.bytes));
        }
    }
    lines
}

fn of_retries(retries: &Retries) -> Vec<String> {
    let Retries { repeats, attempts, statuses, waits_ms, attempt_ms, total_ms, budget_percent } = retries;
    let span = |millis: u64| Period::of_millis(millis).to_string();
    let (attempt, total) = (span(*attempt_ms), span(*total_ms));
    if *attempts <= 1 {
        return vec![format!("none: one try of at most {}", span((*attempt_ms).min(*total_ms)))];
    }
    let statuses: Vec<String> = statuses.iter().map(u16::to_string).collect();
    let when = match (repeats, statuses.is_empty()) {
        (Repeats::Anything, false) => format!("after {}, or where the connection fails", statuses.join(", ")),
        (Repeats::Anything, true) => "where the connection fails".to_owned(),
        (Repeats::Connecting, _) => "only where no connection can be opened, because nothing was sent then".to_owned(),
    };
    let waits = waits_ms
        .iter()
        .zip(2..)
        .map(|(longest, number): (_, u32)| format!("try {number} after 0 to {}", span(*longest)));
    let waits: Vec<String> = waits.collect();
    vec![
        format!("at most {attempts} tries of {attempt} each, {total} in all"),
        when,
        format!("{}; later if Retry-After asks for it", waits.join(", ")),
        format!(
            "retries are at most {budget_percent:.0}% of the upstream's requests in {WINDOW}s; {FLOOR} are always allowed"
        ),
    ]
}

fn of_verdict(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Answered { status } => vec![format!("answered by the gateway: {status}")],
        Verdict::Refused { status, code, error, rule } => {
            vec![format!("refused: {status} {code}"), format!("\"{error}\""), format!("rule: {rule}")]
        }
        Verdict::Unparsed { status, why } => {
            vec![format!("refused: a bare {status}, and the connection is closed"), format!("rule: {why}")]
        }
        Verdict::Upstream => vec!["goes upstream".to_owned()],
    }
}

fn quoted(value: &str) -> String {
    if value.is_empty() { "empty".to_owned() } else { tame(value) }
}

/// Without characters that a terminal obeys: callers' words are in it.
fn tame(text: &str) -> String {
    let mut tamed = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => tamed.extend(c.escape_default()),
            false => tamed.push(c),
        }
    }
    tamed
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
