//! Parameters that a POST carries in its body.
//!
//! In: an operation. Out: parameters of the pipe, and remarks on every body
//! that says more than their names. Not here: parameters elsewhere (`pipe`).

use std::collections::HashSet;

use serde_json::Value;

use super::pipe::{MAX_TYPES, Reader, quoted};
use super::reading::{LOOK, Spent};
use super::shape;

/// What puts a schema together from several.
const SEVERAL: [&str; 5] = ["allOf", "anyOf", "dependentSchemas", "if", "oneOf"];
/// What lets an object have members that its schema does not name.
const OPEN: [&str; 3] = ["additionalProperties", "patternProperties", "unevaluatedProperties"];

impl<'a> Reader<'a, '_> {
    pub(super) fn body(&mut self, operation: &'a Value) -> Result<(), Spent> {
        let Some(written) = operation.get("requestBody") else { return Ok(()) };
        let body = match self.document.resolve(written) {
            Ok(body) if body.is_object() => body,
            Ok(other) => return self.lost(&format!("it is {} where an object is wanted", shape::kind(other))),
            Err(why) => return self.lost(why),
        };
        let contents = match shape::object(body, "content") {
            Ok(Some(contents)) => contents,
            Ok(None) => return self.lost("it has no `content`"),
            Err(why) => return self.lost(&why),
        };
        for (media, content) in contents {
            self.reading.pay(LOOK)?;
            match media.as_str() {
                "application/json" | "application/x-www-form-urlencoded" => self.members(content)?,
                other => {
                    let why = "parameters travel as a form or as JSON";
                    self.dropped(&format!("a body of POST as {}: {why}", quoted(other)));
                }
            }
        }
        Ok(())
    }

    fn lost(&mut self, why: &str) -> Result<(), Spent> {
        self.dropped(&format!("the body of POST: {why}"));
        Ok(())
    }

    /// The members of the object that a body is.
    fn members(&mut self, content: &'a Value) -> Result<(), Spent> {
        let Some(written) = content.get("schema") else { return self.lost("it is described without a schema") };
        let schema = match self.document.resolve(written) {
            Ok(schema) => schema,
            Err(why) => return self.lost(why),
        };
        let is_several = SEVERAL.iter().any(|key| schema.get(key).is_some());
        if is_several {
            self.lost("its schema is put together from several")?;
        }
        let is_open = OPEN.iter().any(|key| schema.get(key).is_some_and(|open| *open != Value::Bool(false)));
        if is_open {
            self.lost("it may have members that the document does not name")?;
        }
        if !is_of_members(schema) {
            return self.lost("it is no object, and parameters are the members of one");
        }
        let members = match shape::object(schema, "properties") {
            Ok(None) if !is_several && !is_open => return self.lost("the document does not name its members"),
            Ok(members) => members,
            Err(why) => return self.lost(&why),
        };
        let required = match shape::list(schema, "required") {
            Ok(required) => self.names_in(required)?,
            Err(why) => {
                self.approximated(&format!("the body of POST: {why}"));
                HashSet::new()
            }
        };
        for (name, member) in members.into_iter().flatten() {
            self.reading.pay(LOOK)?;
            let words = member.get("description").and_then(Value::as_str);
            self.add(name, Some(member), required.contains(name.as_str()), words)?;
        }
        Ok(())
    }

    fn names_in(&mut self, list: &'a [Value]) -> Result<HashSet<&'a str>, Spent> {
        let mut names = HashSet::new();
        for name in list.iter().filter_map(Value::as_str) {
            self.reading.pay(LOOK + name.len())?;
            names.insert(name);
        }
        Ok(names)
    }
}

/// Whether a schema is that of an object, as far as it says.
fn is_of_members(schema: &Value) -> bool {
    match schema.get("type") {
        None => schema.is_object(),
        Some(Value::Array(types)) => types.iter().take(MAX_TYPES).any(|one| one == "object"),
        Some(one) => one == "object",
    }
}
