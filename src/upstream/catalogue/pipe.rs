//! From one path of the document to a pipe.
//!
//! In: a path like `/pipes/kpis.{format}` and its item. Out: the pipe in the
//! catalogue, or a remark why not. Not here: references (`reference`), what a
//! POST carries (`body`).

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::config::section::routes::Format;

use super::reading::{KEEP, LOOK, Reading, Spent};
use super::reference::Document;
use super::{Parameter, Pipe, cut, shape};

/// Methods that a pipe knows; HEAD comes with GET.
const READING: [&str; 2] = ["get", "post"];
/// Methods that a path may describe and a route of a pipe cannot take over.
const OTHERS: [&str; 3] = ["delete", "patch", "put"];
/// What a path may say beside its `$ref`, which is then not read.
const BESIDE: [&str; 4] = ["get", "parameters", "post", "servers"];
/// More parameters than these are no pipe.
const MAX_PARAMETERS: usize = 1_000;
/// Longer names than this are none.
const MAX_NAME: usize = 200;
/// Characters of a description or a default that are kept; less is shown.
const MAX_TEXT: usize = 500;
/// In 3.1 a schema may have several types; there are seven.
pub(super) const MAX_TYPES: usize = 7;

impl<'a> Reading<'a> {
    pub(super) fn path(&mut self, path: &'a str, item: &'a Value) -> Result<(), Spent> {
        self.pay(LOOK)?;
        let named = match parse(path) {
            Ok(named) => named,
            Err(why) => {
                self.dropped(path, why);
                return Ok(());
            }
        };
        if item.get("$ref").is_some() && BESIDE.iter().any(|key| item.get(key).is_some()) {
            self.dropped(path, "what stands beside its `$ref` is not read");
        }
        let item = match self.document.resolve(item) {
            Ok(item) => item,
            Err(why) => {
                self.dropped(path, why);
                return Ok(());
            }
        };
        let document = self.document;
        let mut reader = Reader {
            document,
            path,
            item,
            found: Pipe::default(),
            names: HashSet::new(),
            of_path: HashMap::new(),
            is_full: false,
            reading: self,
        };
        reader.read(&named)?;
        let mut found = reader.found;
        if !found.get && !found.post {
            self.dropped(path, "it is described with neither GET nor POST");
            return Ok(());
        }
        if found.formats.is_empty() {
            self.dropped(path, "none of its formats is one that the gateway serves");
            return Ok(());
        }
        found.folders = vec![named.folder.to_owned()];
        self.join(named.name, path, found)
    }

    /// Puts what one path says to what others said of the same pipe.
    fn join(&mut self, name: &str, path: &str, found: Pipe) -> Result<(), Spent> {
        let Some(mut known) = self.catalogue.pipes.remove(name) else {
            self.catalogue.pipes.insert(name.to_owned(), found);
            return Ok(());
        };
        let paid = self.pay(LOOK * (known.parameters.len() + found.parameters.len() + known.folders.len()));
        if paid.is_ok() {
            let Pipe { folders, formats, get, post, description: _, parameters } = found;
            let names: HashSet<String> = known.parameters.iter().map(|one| one.name.clone()).collect();
            let (new, again): (Vec<_>, Vec<_>) = parameters.into_iter().partition(|one| !names.contains(&one.name));
            let differs = !new.is_empty() || again.len() < names.len() || (known.get, known.post) != (get, post);
            known.get |= get;
            known.post |= post;
            add_new(&mut known.folders, folders);
            add_new(&mut known.formats, formats);
            if known.parameters.len() + new.len() > MAX_PARAMETERS {
                self.dropped(path, &too_many());
            }
            known.parameters.extend(new);
            known.parameters.truncate(MAX_PARAMETERS);
            if differs {
                let why = "other formats of this pipe are described differently: one route takes it all";
                self.approximated(path, why);
            }
        }
        self.catalogue.pipes.insert(name.to_owned(), known);
        paid
    }
}

/// A path taken apart.
struct Named<'a> {
    folder: &'a str,
    name: &'a str,
    ending: Ending<'a>,
}

enum Ending<'a> {
    /// `.csv`.
    Format(Format),
    /// `.{format}`: the name of the path's parameter.
    Parameter(&'a str),
}

/// The pipe that a path is about, whatever else it says.
pub(super) fn name_of(path: &str) -> Option<String> {
    let (folder, file) = path.rsplit_once('/')?;
    let name = file.split('.').next().filter(|name| !name.is_empty() && name.len() <= MAX_NAME)?;
    (folder.rsplit('/').next() == Some("pipes")).then(|| name.to_owned())
}

fn parse(path: &str) -> Result<Named<'_>, &'static str> {
    let not_a_pipe = "it is not the path of a pipe, like /pipes/NAME.json";
    let (folder, file) = path.rsplit_once('/').ok_or(not_a_pipe)?;
    if folder.rsplit('/').next() != Some("pipes") || !folder.starts_with('/') {
        return Err(not_a_pipe);
    }
    let (name, ending) = file.split_once('.').ok_or("it has no format, like /pipes/NAME.json")?;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Err("the name of the pipe has other characters than letters, digits, `_` and `-`");
    }
    if name.len() > MAX_NAME {
        return Err("the name of the pipe is longer than 200 bytes");
    }
    let ending = match ending.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(parameter) => Ending::Parameter(parameter),
        None => Ending::Format(format(ending).ok_or("the gateway does not serve this format")?),
    };
    Ok(Named { folder, name, ending })
}

fn format(extension: &str) -> Option<Format> {
    Format::ALL.into_iter().find(|format| format.extension() == extension)
}

/// Reads one path item.
pub(super) struct Reader<'a, 'r> {
    pub(super) document: Document<'a>,
    path: &'a str,
    item: &'a Value,
    found: Pipe,
    /// Those of the parameters.
    names: HashSet<&'a str>,
    /// Parameters in the path, such as the format.
    of_path: HashMap<&'a str, &'a Value>,
    /// It has had all parameters that a pipe may have.
    is_full: bool,
    pub(super) reading: &'r mut Reading<'a>,
}

impl<'a> Reader<'a, '_> {
    fn read(&mut self, named: &Named<'_>) -> Result<(), Spent> {
        if !self.item.is_object() {
            self.dropped(&format!("it is {} where an object is wanted", shape::kind(self.item)));
            return Ok(());
        }
        for method in OTHERS.into_iter().filter(|method| self.item.get(method).is_some()) {
            self.dropped(&format!("{}: a pipe knows GET, HEAD and POST", method.to_uppercase()));
        }
        self.found.description = words(self.item);
        self.own_server(self.item);
        for method in READING {
            self.operation(method)?;
        }
        // Last: what an operation says of a parameter counts more than what the path says.
        self.parameters(self.item)?;
        self.formats(named)
    }

    fn operation(&mut self, method: &str) -> Result<(), Spent> {
        let Some(operation) = self.item.get(method) else { return Ok(()) };
        if !operation.is_object() || operation.get("$ref").is_some() {
            let kind = shape::kind(operation);
            self.dropped(&format!("{}: it is {kind} where an operation is wanted", method.to_uppercase()));
            return Ok(());
        }
        match method {
            "get" => self.found.get = true,
            _ => self.found.post = true,
        }
        self.found.description = self.found.description.take().or_else(|| words(operation));
        self.own_server(operation);
        self.parameters(operation)?;
        if method == "post" { self.body(operation) } else { Ok(()) }
    }

    /// An upstream has one URL.
    fn own_server(&mut self, holder: &Value) {
        if holder.get("servers").is_some() {
            self.approximated("it names servers of its own, and the upstream is that of the whole document");
        }
    }

    fn parameters(&mut self, holder: &'a Value) -> Result<(), Spent> {
        let list = match shape::list(holder, "parameters") {
            Ok(list) => list,
            Err(why) => {
                self.dropped(&why);
                return Ok(());
            }
        };
        for written in list {
            self.reading.pay(LOOK)?;
            match self.document.resolve(written) {
                Ok(parameter) => self.parameter(parameter)?,
                Err(why) => {
                    let reference = written.get("$ref").map(value_text).unwrap_or_default();
                    self.dropped(&format!("the parameter {}: {why}", quoted(&reference)));
                }
            }
        }
        Ok(())
    }

    fn parameter(&mut self, parameter: &'a Value) -> Result<(), Spent> {
        let text = |key: &str| parameter.get(key).and_then(Value::as_str);
        let Some(name) = text("name") else {
            self.dropped("a parameter without a name");
            return Ok(());
        };
        match text("in") {
            Some("query") => {
                let required = parameter.get("required") == Some(&Value::Bool(true));
                if parameter.get("schema").is_none() && parameter.get("content").is_some() {
                    self.approximated(&format!("{}: taken over as a plain value, and it has `content`", quoted(name)));
                }
                return self.add(name, parameter.get("schema"), required, text("description"));
            }
            Some("path") => {
                self.of_path.entry(name).or_insert(parameter);
            }
            Some("header") if name.eq_ignore_ascii_case("authorization") => {}
            Some("header") => {
                let why = "a header: the route passes it on if `pass_headers` names it";
                self.dropped(&format!("{}: {why}", quoted(name)));
            }
            Some(_) | None => self.dropped(&format!("{}: not in the query", quoted(name))),
        }
        Ok(())
    }

    /// Keeps a parameter, unless it is known.
    pub(super) fn add(
        &mut self,
        name: &'a str,
        schema: Option<&'a Value>,
        required: bool,
        description: Option<&str>,
    ) -> Result<(), Spent> {
        if name.len() > MAX_NAME {
            self.dropped(&format!("{}: its name is longer than {MAX_NAME} bytes", quoted(name)));
            return Ok(());
        }
        if self.is_full || self.names.contains(name) {
            return Ok(());
        }
        let written = schema.unwrap_or(&Value::Bool(true));
        let schema = match self.document.resolve(written) {
            Ok(schema @ (Value::Bool(_) | Value::Object(_))) => schema,
            Ok(other) => {
                let kind = shape::kind(other);
                self.approximated(&format!("{}: taken over without its schema, which is {kind}", quoted(name)));
                &Value::Null
            }
            Err(why) => {
                self.approximated(&format!("{}: taken over without its schema: {why}", quoted(name)));
                &Value::Null
            }
        };
        if is_object(schema) {
            self.dropped(&format!("{}: an object, and parameters of a pipe are values and lists", quoted(name)));
            return Ok(());
        }
        if self.found.parameters.len() == MAX_PARAMETERS {
            self.is_full = true;
            self.dropped(&too_many());
            return Ok(());
        }
        self.reading.pay(KEEP)?;
        self.names.insert(name);
        // In 3.1 a default may stand beside the reference.
        let default = written.get("default").or_else(|| schema.get("default"));
        self.found.parameters.push(Parameter {
            name: name.to_owned(),
            required,
            default: default.filter(|value| !value.is_null()).map(value_text),
            description: description.and_then(kept),
        });
        Ok(())
    }

    /// The formats that the path's ending stands for.
    fn formats(&mut self, named: &Named<'_>) -> Result<(), Spent> {
        let parameter = match named.ending {
            Ending::Format(format) => {
                self.found.formats = vec![format];
                return Ok(());
            }
            Ending::Parameter(parameter) => parameter,
        };
        let Some(values) = self.values_of(parameter) else {
            self.found.formats = vec![Format::Json];
            self.approximated("the document does not list its formats: json is served");
            return Ok(());
        };
        for value in values {
            self.reading.pay(LOOK)?;
            match value.as_str().and_then(format) {
                Some(format) => add_new(&mut self.found.formats, vec![format]),
                None => {
                    let format = quoted(&value_text(value));
                    self.dropped(&format!("the format {format}: the gateway does not serve it"));
                }
            }
        }
        Ok(())
    }

    /// What the path's parameter may be, from its `enum`.
    fn values_of(&self, name: &str) -> Option<&'a Vec<Value>> {
        self.document.resolve(self.of_path.get(name)?.get("schema")?).ok()?.get("enum")?.as_array()
    }

    pub(super) fn dropped(&mut self, why: &str) {
        self.reading.dropped(self.path, why);
    }

    pub(super) fn approximated(&mut self, why: &str) {
        self.reading.approximated(self.path, why);
    }
}

fn too_many() -> String {
    format!("it has more than {MAX_PARAMETERS} parameters: the others are left out")
}

/// What something is, in the document's words.
fn words(value: &Value) -> Option<String> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).and_then(kept);
    text("summary").or_else(|| text("description"))
}

/// The beginning of a text that says something.
fn kept(text: &str) -> Option<String> {
    let text = cut(text, MAX_TEXT);
    (!text.trim().is_empty()).then(|| text.to_owned())
}

fn is_object(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::Array(types)) => types.iter().take(MAX_TYPES).any(|one| one == "object"),
        Some(one) => one == "object",
        None => schema.get("properties").is_some(),
    }
}

/// The beginning of a value as text.
fn value_text(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::String(value) => text.push_str(cut(value, MAX_TEXT)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => write(value, &mut text),
    }
    text
}

/// As JSON, until there is more than anybody reads.
fn write(value: &Value, text: &mut String) {
    let string = |value: &str| Value::from(cut(value, MAX_TEXT)).to_string();
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
        Value::String(value) => text.push_str(&string(value)),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if text.len() > MAX_TEXT {
                    return;
                }
                text.push_str(if index == 0 { "" } else { "," });
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                if text.len() > MAX_TEXT {
                    return;
                }
                text.push_str(if index == 0 { "" } else { "," });
                text.push_str(&string(name));
                text.push(':');
                write(member, text);
            }
            text.push('}');
        }
    }
}

pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", cut(name, MAX_NAME))
}

fn add_new<T: PartialEq>(known: &mut Vec<T>, found: Vec<T>) {
    for one in found {
        if !known.contains(&one) {
            known.push(one);
        }
    }
}
