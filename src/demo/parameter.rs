//! Typed parameters: what a pipe declares, and how received text becomes a value SQL can bind.
//!
//! In: declarations and a `Received`. Out: values by name, or a 400 that names the parameter and
//! its type.
//! **Not here**: reading the request (`received`), the pipes themselves (`pipes`).

use rusqlite::types::Value;

use super::answer::Failure;
use super::received::Received;

/// One parameter a pipe declares.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name in the URL and, with a colon before it, in the SQL.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// What happens if it is not passed.
    pub presence: Presence,
    /// One line for people.
    pub description: &'static str,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A list of 32-bit integers.
    ArrayInt32,
    /// A list of texts.
    ArrayString,
    /// `true` or `false`, also `1` or `0`.
    Boolean,
    /// `YYYY-MM-DD`.
    Date,
    /// `YYYY-MM-DD HH:MM:SS`, with optional fractions, which are ignored.
    DateTime,
    /// A 32-bit integer.
    Int32,
    /// Any text.
    String,
}

/// What a pipe does without a parameter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    /// This value stands in.
    Default(&'static str),
    /// The SQL sees NULL.
    Optional,
    /// The request is refused.
    Required,
}

impl Kind {
    /// The type's name in messages and definitions.
    pub fn label(self) -> &'static str {
        match self {
            Self::ArrayInt32 => "Array(Int32)",
            Self::ArrayString => "Array(String)",
            Self::Boolean => "Boolean",
            Self::Date => "Date",
            Self::DateTime => "DateTime",
            Self::Int32 => "Int32",
            Self::String => "String",
        }
    }
}

/// The values of all declared parameters, ready to bind; undeclared ones have been ignored.
pub(super) type Bound = Vec<(&'static str, Value)>;

/// Reads every declared parameter.
pub(super) fn bind(declared: &[Parameter], received: &Received) -> Result<Bound, Failure> {
    declared.iter().map(|parameter| Ok((parameter.name, value(parameter, received)?))).collect()
}

/// The value bound under a name.
pub(super) fn bound<'b>(values: &'b Bound, name: &str) -> Option<&'b Value> {
    values.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn value(parameter: &Parameter, received: &Received) -> Result<Value, Failure> {
    let &Parameter { name, kind, presence, .. } = parameter;
    let elements = match kind {
        Kind::ArrayInt32 | Kind::ArrayString => received.list(name),
        Kind::Boolean | Kind::Date | Kind::DateTime | Kind::Int32 | Kind::String => {
            received.text(name).map(|text| vec![text])
        }
    };
    let elements = match (elements, presence) {
        (Some(elements), _) => elements,
        (None, Presence::Default(text)) => vec![text.to_owned()],
        (None, Presence::Optional) => return Ok(Value::Null),
        (None, Presence::Required) => {
            return Err(Failure::bad_request(format!(
                "[Error] Missing required parameter '{name}' ({})",
                kind.label()
            )));
        }
    };
    parse(kind, &elements).ok_or_else(|| {
        let shown: String = elements.join(",").chars().take(60).collect();
        Failure::bad_request(format!(
            "[Error] The value '{shown}' of parameter '{name}' is not of type {}",
            kind.label()
        ))
    })
}

fn parse(kind: Kind, elements: &[String]) -> Option<Value> {
    let single = elements.first().map(String::as_str).unwrap_or_default();
    match kind {
        Kind::ArrayInt32 => {
            let numbers: Option<Vec<i32>> = elements.iter().map(|item| item.parse().ok()).collect();
            Some(Value::Text(serde_json::Value::from(numbers?).to_string()))
        }
        Kind::ArrayString => Some(Value::Text(serde_json::Value::from(elements.to_vec()).to_string())),
        Kind::Boolean => match single.to_ascii_lowercase().as_str() {
            "1" | "true" => Some(Value::Integer(1)),
            "0" | "false" => Some(Value::Integer(0)),
            _ => None,
        },
        Kind::Date => is_date(single).then(|| Value::Text(single.to_owned())),
        Kind::DateTime => date_time(single).map(Value::Text),
        Kind::Int32 => single.parse::<i32>().ok().map(|number| Value::Integer(number.into())),
        Kind::String => Some(Value::Text(single.to_owned())),
    }
}

fn is_date(text: &str) -> bool {
    let [Some(year), Some(month), Some(day)] = numbers(text, '-', [4, 2, 2]) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// The seconds-precise form in which the data stores times, so that texts compare as times.
fn date_time(text: &str) -> Option<String> {
    let (date, time) = text.split_once(['T', ' '])?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [Some(hour), Some(minute), Some(second)] = numbers(time, ':', [2, 2, 2]) else {
        return None;
    };
    let valid =
        is_date(date) && hour < 24 && minute < 60 && second < 60 && fraction.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| format!("{date} {time}"))
}

/// Three numbers of fixed widths; a part that is not one is `None`, and so is everything if there
/// are more parts than three.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> [Option<u32>; 3] {
    let mut parts = text.split(separator);
    let found = widths.map(|width| {
        let part = parts.next().filter(|part| part.len() == width && part.bytes().all(|b| b.is_ascii_digit()));
        part.and_then(|part| part.parse().ok())
    });
    if parts.next().is_some() { [None; 3] } else { found }
}
