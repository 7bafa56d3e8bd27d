//! Documents about the pipes: the list, one definition with its SQL, OpenAPI 3.0, the regions.
//!
//! In: `PIPES` and the address links point to. Out: JSON. All of it names the upstream's own host,
//! as the vendor's does; a gateway has to close or rewrite it.
//! **Not here**: who may read it (`surface`).

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::jwt::WORKSPACE_ID;
use super::parameter::{Kind, Parameter, Presence};
use super::pipes::{Column, PIPES, Pipe};

/// `GET /v0/pipes`.
pub(super) fn list(origin: SocketAddr) -> Value {
    let pipes: Vec<Value> = PIPES.iter().map(|pipe| summary(pipe, origin)).collect();
    json!({ "pipes": pipes })
}

/// `GET /v0/pipes/{name}`: everything, the SQL included.
pub(super) fn definition(pipe: &Pipe, origin: SocketAddr) -> Value {
    let parameters: Vec<Value> = pipe.parameters.iter().map(definition_parameter).collect();
    let mut document = summary(pipe, origin);
    if let Some(members) = document.as_object_mut() {
        let node = json!({ "name": "endpoint", "sql": pipe.sql, "dependencies": pipe.tables, "params": parameters });
        members.insert("nodes".to_owned(), json!([node]));
        members.insert("workspace_id".to_owned(), json!(WORKSPACE_ID));
    }
    document
}

/// `GET /v0/pipes/openapi.json`.
pub(super) fn openapi(origin: SocketAddr) -> Value {
    let paths: Map<String, Value> =
        PIPES.iter().map(|pipe| (format!("/pipes/{}.{{format}}", pipe.name), path_item(pipe))).collect();
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Tinybird demo", "description": "The bundled pipes of the demo upstream", "version": "1.0.0" },
        "servers": [{ "url": format!("http://{origin}/v0") }],
        "security": [{ "bearer": [] }, { "token": [] }],
        "paths": paths,
        "components": {
            "schemas": { "Error": error_schema() },
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "token": { "type": "apiKey", "in": "query", "name": "token" },
            },
        },
    })
}

/// `GET /v0/regions`, which needs no token.
pub(super) fn regions(origin: SocketAddr) -> Value {
    json!({ "regions": [{ "name": "demo", "provider": "local", "host": format!("http://{origin}"), "api_host": format!("http://{origin}") }] })
}

fn summary(pipe: &Pipe, origin: SocketAddr) -> Value {
    json!({
        "id": pipe.id(),
        "name": pipe.name,
        "description": pipe.description,
        "type": "endpoint",
        "endpoint": "endpoint",
        "url": format!("http://{origin}/v0/pipes/{}.json", pipe.name),
    })
}

fn definition_parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "type": parameter.kind.label(),
        "required": parameter.presence == Presence::Required,
        "default": default(parameter),
        "description": parameter.description,
    })
}

fn path_item(pipe: &Pipe) -> Value {
    let format = json!({
        "name": "format",
        "in": "path",
        "required": true,
        "schema": { "type": "string", "enum": ["csv", "json", "ndjson"], "default": "json" },
    });
    let parameters: Vec<Value> = std::iter::once(format).chain(pipe.parameters.iter().map(query_parameter)).collect();
    json!({
        "get": {
            "operationId": pipe.name,
            "summary": pipe.description,
            "parameters": parameters,
            "responses": {
                "200": { "description": "The rows", "content": { "application/json": { "schema": answer_schema(pipe.columns) } } },
                "400": error_response("A parameter is missing or not of its type"),
                "403": error_response("The token is missing or wrong, or lacks the scope"),
            },
        },
    })
}

fn query_parameter(parameter: &Parameter) -> Value {
    let mut schema = match parameter.kind {
        Kind::ArrayInt32 => {
            json!({ "type": "array", "items": { "type": "integer", "format": "int32" } })
        }
        Kind::ArrayString => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Date => json!({ "type": "string", "format": "date" }),
        Kind::DateTime | Kind::String => json!({ "type": "string" }),
        Kind::Int32 => json!({ "type": "integer", "format": "int32" }),
    };
    if let (Some(schema), Some(value)) = (schema.as_object_mut(), typed_default(parameter)) {
        schema.insert("default".to_owned(), value);
    }
    let mut document = json!({
        "name": parameter.name,
        "in": "query",
        "required": parameter.presence == Presence::Required,
        "description": parameter.description,
        "schema": schema,
    });
    if let (Some(document), Kind::ArrayInt32 | Kind::ArrayString) = (document.as_object_mut(), parameter.kind) {
        document.insert("style".to_owned(), json!("form"));
        document.insert("explode".to_owned(), json!(false));
    }
    document
}

fn default(parameter: &Parameter) -> Option<&'static str> {
    match parameter.presence {
        Presence::Default(text) => Some(text),
        Presence::Optional | Presence::Required => None,
    }
}

/// The default as a JSON value of the declared type; what parses as JSON for numbers and booleans
/// is one.
fn typed_default(parameter: &Parameter) -> Option<Value> {
    let text = default(parameter)?;
    match parameter.kind {
        Kind::Boolean | Kind::Int32 => serde_json::from_str(text).ok(),
        Kind::ArrayInt32 | Kind::ArrayString | Kind::Date | Kind::DateTime | Kind::String => Some(Value::from(text)),
    }
}

fn answer_schema(columns: &[Column]) -> Value {
    let row: Map<String, Value> =
        columns.iter().map(|column| (column.name.to_owned(), column_schema(column.kind))).collect();
    let meta =
        json!({ "type": "object", "properties": { "name": { "type": "string" }, "type": { "type": "string" } } });
    let statistics = json!({
        "elapsed": { "type": "number" },
        "rows_read": { "type": "integer", "format": "int64" },
        "bytes_read": { "type": "integer", "format": "int64" },
    });
    json!({
        "type": "object",
        "properties": {
            "meta": { "type": "array", "items": meta },
            "data": { "type": "array", "items": { "type": "object", "properties": row } },
            "rows": { "type": "integer", "format": "int64" },
            "rows_before_limit_at_least": { "type": "integer", "format": "int64" },
            "statistics": { "type": "object", "properties": statistics },
        },
    })
}

fn column_schema(kind: &str) -> Value {
    match kind {
        "Date" => json!({ "type": "string", "format": "date" }),
        "Float64" => json!({ "type": "number", "format": "double" }),
        "UInt64" => json!({ "type": "integer", "format": "int64" }),
        "UInt8" | "UInt32" => json!({ "type": "integer", "format": "int32" }),
        _ => json!({ "type": "string" }),
    }
}

fn error_response(description: &str) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Error" });
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn error_schema() -> Value {
    let text = json!({ "type": "string" });
    json!({ "type": "object", "properties": { "error": text, "documentation": text }, "required": ["error"] })
}
