//! From one path of the document to a pipe.
//!
//! In: a path like `/pipes/kpis.{format}` and its item. Out: the pipe in the
//! catalogue, or a remark why not. Not here: references (`reference`).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::config::section::routes::Format;

use super::reference::Document;
use super::{Catalogue, Parameter, Pipe};

/// Methods that a pipe knows; HEAD comes with GET.
const READING: [&str; 2] = ["get", "post"];
/// Methods that a path may describe and a route of a pipe cannot take over.
const OTHERS: [&str; 3] = ["delete", "patch", "put"];

impl Catalogue {
    pub(super) fn path(&mut self, document: &Document<'_>, path: &str, item: &Value) {
        let named = match parse(path) {
            Ok(named) => named,
            Err(why) => return self.dropped(path, why),
        };
        let item = match document.resolve(item) {
            Ok(item) => item,
            Err(why) => return self.dropped(path, why),
        };
        let mut reader = Reader { document: *document, path, item, found: Pipe::default(), catalogue: self };
        reader.operations();
        reader.formats(&named);
        let mut found = reader.found;
        if !found.get && !found.post {
            return self.dropped(path, "it is described with neither GET nor POST");
        }
        if found.formats.is_empty() {
            return self.dropped(path, "none of its formats is one that the gateway serves");
        }
        found.folders = vec![named.folder.to_owned()];
        self.join(named.name, path, found);
    }

    /// Puts what one path says to what others said of the same pipe.
    fn join(&mut self, name: &str, path: &str, found: Pipe) {
        let Some(known) = self.pipes.get_mut(name) else {
            self.pipes.insert(name.to_owned(), found);
            return;
        };
        let names = |pipe: &Pipe| pipe.parameters.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
        let (folders, parameters) = (known.folders.len(), known.parameters.len() + 1);
        self.spent = self.spent.saturating_add(16 * (folders + parameters * (found.parameters.len() + 1)));
        let differs = names(known) != names(&found) || (known.get, known.post) != (found.get, found.post);
        known.get |= found.get;
        known.post |= found.post;
        add_new(&mut known.folders, found.folders, |a, b| a == b);
        add_new(&mut known.formats, found.formats, |a, b| a == b);
        add_new(&mut known.parameters, found.parameters, |a, b| a.name == b.name);
        if differs {
            self.approximated(path, "other formats of this pipe are described differently: one route takes it all");
        }
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
    let name = file.split('.').next().filter(|name| !name.is_empty())?;
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
struct Reader<'a> {
    document: Document<'a>,
    path: &'a str,
    item: &'a Value,
    found: Pipe,
    catalogue: &'a mut Catalogue,
}

impl<'a> Reader<'a> {
    fn operations(&mut self) {
        for method in OTHERS.into_iter().filter(|method| self.item.get(method).is_some()) {
            self.catalogue.dropped(self.path, format!("{}: a pipe knows GET, HEAD and POST", method.to_uppercase()));
        }
        self.found.description = self.words(self.item);
        for method in READING {
            let Some(operation) = self.item.get(method) else { continue };
            match method {
                "get" => self.found.get = true,
                _ => self.found.post = true,
            }
            let words = self.words(operation);
            self.found.description = self.found.description.take().or(words);
            self.parameters(operation.get("parameters"));
            if method == "post" {
                self.body(operation);
            }
        }
        // Last: what an operation says of a parameter counts more than what the path says.
        self.parameters(self.item.get("parameters"));
    }

    fn words(&mut self, value: &Value) -> Option<String> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let words = text("summary").or_else(|| text("description"))?;
        self.catalogue.spend(words.len());
        Some(words.to_owned())
    }

    fn parameters(&mut self, list: Option<&'a Value>) {
        for written in list.and_then(Value::as_array).into_iter().flatten() {
            self.catalogue.spend(0);
            if self.catalogue.is_spent() {
                return;
            }
            match self.document.resolve(written) {
                Ok(parameter) => self.parameter(parameter),
                Err(why) => {
                    let reference = written.get("$ref").map(value_text).unwrap_or_default();
                    self.catalogue.dropped(self.path, format!("the parameter {}: {why}", quoted(&reference)));
                }
            }
        }
    }

    fn parameter(&mut self, parameter: &'a Value) {
        let text = |key: &str| parameter.get(key).and_then(Value::as_str);
        let Some(name) = text("name") else {
            return self.catalogue.dropped(self.path, "a parameter without a name");
        };
        match text("in") {
            Some("query") => {}
            Some("path") => return,
            Some("header") if name.eq_ignore_ascii_case("authorization") => return,
            Some("header") => {
                let why = "a header: the route passes it on if `pass_headers` names it";
                return self.catalogue.dropped(self.path, format!("{}: {why}", quoted(name)));
            }
            Some(_) | None => {
                return self.catalogue.dropped(self.path, format!("{}: not in the query", quoted(name)));
            }
        }
        let schema = parameter.get("schema").unwrap_or(&Value::Null);
        self.add(name, schema, parameter.get("required") == Some(&Value::Bool(true)), text("description"));
    }

    /// Parameters that a POST carries in its body.
    fn body(&mut self, operation: &'a Value) {
        let Some(written) = operation.get("requestBody") else { return };
        let body = match self.document.resolve(written) {
            Ok(body) => body,
            Err(why) => return self.catalogue.dropped(self.path, format!("the body of POST: {why}")),
        };
        for (media, content) in body.get("content").and_then(Value::as_object).into_iter().flatten() {
            if media != "application/json" && media != "application/x-www-form-urlencoded" {
                let why = format!("a body of POST as {}: parameters travel as a form or as JSON", quoted(media));
                self.catalogue.dropped(self.path, why);
                continue;
            }
            let schema = match self.document.resolve(content.get("schema").unwrap_or(&Value::Null)) {
                Ok(schema) => schema,
                Err(why) => {
                    self.catalogue.dropped(self.path, format!("the body of POST: {why}"));
                    continue;
                }
            };
            if ["allOf", "anyOf", "oneOf"].iter().any(|key| schema.get(key).is_some()) {
                self.catalogue.dropped(self.path, "the body of POST: its schema is put together from several");
            }
            let required = schema.get("required").and_then(Value::as_array);
            self.catalogue.spend(required.map_or(0, |names| 16 * names.len()));
            let required: BTreeSet<&str> = required.into_iter().flatten().filter_map(Value::as_str).collect();
            for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if self.catalogue.is_spent() {
                    return;
                }
                let required = required.contains(name.as_str());
                let words = property.get("description").and_then(Value::as_str);
                self.add(name, property, required, words);
            }
        }
    }

    fn add(&mut self, name: &str, schema: &'a Value, required: bool, description: Option<&str>) {
        self.catalogue.spend(name.len() + description.map_or(0, str::len) + 16 * self.found.parameters.len());
        if self.found.parameters.iter().any(|known| known.name == name) {
            return;
        }
        let schema = match self.document.resolve(schema) {
            Ok(schema) => schema,
            Err(why) => {
                let why = format!("{}: taken over without its schema: {why}", quoted(name));
                self.catalogue.approximated(self.path, why);
                &Value::Null
            }
        };
        if is_object(schema) {
            let why = format!("{}: an object, and parameters of a pipe are values and lists", quoted(name));
            return self.catalogue.dropped(self.path, why);
        }
        let default = schema.get("default").filter(|value| !value.is_null()).map(value_text);
        self.catalogue.spend(default.as_ref().map_or(0, String::len));
        self.found.parameters.push(Parameter {
            name: name.to_owned(),
            required,
            default,
            description: description.filter(|text| !text.trim().is_empty()).map(str::to_owned),
        });
    }

    /// The formats that the path's ending stands for.
    fn formats(&mut self, named: &Named<'_>) {
        let parameter = match named.ending {
            Ending::Format(format) => {
                self.found.formats = vec![format];
                return;
            }
            Ending::Parameter(parameter) => parameter,
        };
        let Some(values) = self.values_of(parameter) else {
            self.found.formats = vec![Format::Json];
            return self.catalogue.approximated(self.path, "the document does not list its formats: json is served");
        };
        for value in values {
            self.catalogue.spend(0);
            if self.catalogue.is_spent() {
                return;
            }
            match value.as_str().and_then(format) {
                Some(format) => add_new(&mut self.found.formats, vec![format], |a, b| a == b),
                None => {
                    let why = format!("the format {}: the gateway does not serve it", quoted(&value_text(value)));
                    self.catalogue.dropped(self.path, why);
                }
            }
        }
    }

    /// What the path's parameter may be, from its `enum`.
    fn values_of(&self, name: &str) -> Option<&'a Vec<Value>> {
        let operations = READING.into_iter().filter_map(|method| self.item.get(method));
        let lists = operations.chain([self.item]).filter_map(|holder| holder.get("parameters")?.as_array());
        let found =
            lists.flatten().filter_map(|parameter| self.document.resolve(parameter).ok()).find(|parameter| {
                parameter.get("in").and_then(Value::as_str) == Some("path")
                    && parameter.get("name").and_then(Value::as_str) == Some(name)
            })?;
        self.document.resolve(found.get("schema")?).ok()?.get("enum")?.as_array()
    }
}

/// In 3.1 a schema may have several types.
fn is_object(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(|one| one == "object"),
        Some(one) => one == "object",
        None => schema.get("properties").is_some(),
    }
}

fn value_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn quoted(name: &str) -> String {
    format!("`{name}`")
}

fn add_new<T>(known: &mut Vec<T>, found: Vec<T>, same: impl Fn(&T, &T) -> bool) {
    for one in found {
        if !known.iter().any(|other| same(other, &one)) {
            known.push(one);
        }
    }
}
