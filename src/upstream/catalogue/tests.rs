use serde_json::json;

use super::*;

fn read(document: &Value) -> Catalogue {
    Catalogue::read(document.to_string().as_bytes()).unwrap()
}

#[test]
fn a_pipe_has_its_formats_methods_and_parameters() {
    let catalogue = read(&json!({
        "openapi": "3.1.0",
        "servers": [{ "url": "https://{region}.example.com/v0", "variables": { "region": { "default": "eu" } } }],
        "paths": { "/pipes/kpis.{format}": {
            "parameters": [{ "name": "format", "in": "path", "schema": { "enum": ["json", "csv", "xml"] } }],
            "get": { "summary": "Numbers", "parameters": [
                { "name": "limit", "in": "query", "schema": { "type": ["integer", "null"], "default": 10 } },
                { "name": "X-Trace", "in": "header" },
                { "name": "filter", "in": "query", "style": "deepObject", "schema": { "type": "object" } },
            ] },
            "put": {},
        } },
    }));
    assert_eq!(catalogue.server.as_deref(), Some("https://eu.example.com/v0"));
    let kpis = &catalogue.pipes["kpis"];
    assert_eq!(kpis.formats, [Format::Json, Format::Csv]);
    assert_eq!((kpis.get, kpis.post, kpis.description.as_deref()), (true, false, Some("Numbers")));
    assert_eq!(kpis.folders, ["/pipes"]);
    let limit = Parameter { name: "limit".to_owned(), default: Some("10".to_owned()), ..Parameter::default() };
    assert_eq!(kpis.parameters, [limit]);
    let dropped: Vec<&str> = catalogue.remarks.iter().map(|remark| remark.why.as_str()).collect();
    assert_eq!(dropped.len(), 4, "{dropped:?}");
}

#[test]
fn references_are_followed_inside_the_document_only_and_never_in_circles() {
    let catalogue = read(&json!({
        "openapi": "3.0.3",
        "paths": { "/v0/pipes/a.json": { "get": { "parameters": [
            { "$ref": "#/components/parameters/good" },
            { "$ref": "#/components/parameters/loop" },
            { "$ref": "#/components/parameters/gone" },
            { "$ref": "https://example.com/p.json#/p" },
            { "$ref": 7 },
        ] } } },
        "components": { "parameters": {
            "good": { "name": "limit", "in": "query" },
            "loop": { "$ref": "#/components/parameters/pool" },
            "pool": { "$ref": "#/components/parameters/loop" },
        } },
    }));
    assert_eq!(catalogue.pipes["a"].parameters.len(), 1);
    let why: Vec<&str> = catalogue.remarks.iter().map(|remark| remark.why.as_str()).collect();
    for words in ["in a circle", "leads nowhere", "out of the document", "not a text"] {
        assert!(why.iter().any(|why| why.contains(words)), "{words}: {why:?}");
    }
}

#[test]
fn a_path_that_stands_twice_is_dropped_and_a_key_is_remarked() {
    let text = r#"{"openapi": "3.0.0", "paths": {
        "/pipes/a.json": {"get": {}}, "/pipes/a.json": {"post": {}},
        "/pipes/b.json": {"get": {"parameters": []}, "get": {}}
    }}"#;
    let catalogue = Catalogue::read(text.as_bytes()).unwrap();
    assert_eq!(catalogue.pipes.keys().collect::<Vec<_>>(), ["b"]);
    let losses: Vec<(Loss, &str)> =
        catalogue.remarks.iter().map(|remark| (remark.loss, remark.subject.as_str())).collect();
    assert_eq!(losses, [(Loss::Dropped, "/pipes/a.json"), (Loss::Approximated, "/paths/~1pipes~1b.json/get")]);
}

#[test]
fn parameters_of_a_body_and_of_other_formats_are_joined() {
    let catalogue = read(&json!({
        "openapi": "3.0.0",
        "paths": {
            "/pipes/a.json": { "post": { "requestBody": { "content": {
                "application/json": { "schema": { "required": ["ids"], "properties": {
                    "ids": { "type": "array", "default": ["x"] }, "deep": { "type": "object" } } } },
                "text/plain": {},
            } } } },
            "/pipes/a.csv": { "get": { "parameters": [{ "name": "limit", "in": "query" }] } },
        },
    }));
    let pipe = &catalogue.pipes["a"];
    assert!(pipe.get && pipe.post);
    assert_eq!(pipe.formats, [Format::Csv, Format::Json]);
    let names: Vec<(&str, bool)> = pipe.parameters.iter().map(|one| (one.name.as_str(), one.required)).collect();
    assert_eq!(names, [("limit", false), ("ids", true)]);
    assert_eq!(pipe.parameters[1].default.as_deref(), Some(r#"["x"]"#));
    assert_eq!(catalogue.remarks.len(), 3, "{:?}", catalogue.remarks);
}

#[test]
fn what_is_no_pipe_is_named() {
    for path in
        ["/kpis", "/pipes/a", "/pipes/{name}.json", "/pipes/a b.json", "/pipes/a.tsv", "pipes/a.json", "/pipes/.json"]
    {
        let catalogue = read(&json!({ "openapi": "3.0.0", "paths": { path: { "get": {} } } }));
        assert!(catalogue.pipes.is_empty(), "{path}");
        assert_eq!((catalogue.remarks[0].loss, catalogue.remarks[0].subject.as_str()), (Loss::Dropped, path));
    }
}

#[test]
fn what_is_no_document_is_said_in_a_sentence() {
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    for (text, words) in [
        ("openapi: 3.0.0", "not JSON"),
        ("{}", "no `openapi` version"),
        (r#"{"swagger": "2.0"}"#, "Swagger 2.0"),
        (r#"{"openapi": "4.0"}"#, "another version"),
        (r#"{"openapi": "3.0.0"}"#, "no `paths`"),
        (r#"{"openapi": "3.0.0", "paths": {}} x"#, "not JSON"),
        (deep.as_str(), "recursion limit"),
    ] {
        let problem = Catalogue::read(text.as_bytes()).unwrap_err();
        assert!(problem.contains(words), "{words}: {problem}");
    }
    assert!(Catalogue::read(&vec![b' '; MAX_SIZE + 1]).unwrap_err().contains("10 MiB"));
}

/// What was dropped of one pipe, whose path has this item.
fn dropped(item: Value) -> Vec<String> {
    let catalogue = read(&json!({ "openapi": "3.1.0", "paths": { "/pipes/a.json": item } }));
    let dropped = catalogue.remarks.into_iter().filter(|remark| remark.loss == Loss::Dropped);
    dropped.map(|remark| remark.why).collect()
}

#[test]
fn what_is_not_of_the_expected_kind_is_never_passed_over() {
    for (item, words) in [
        (json!([]), "a list where an object is wanted"),
        (json!({ "get": true }), "GET: it is true or false where an operation is wanted"),
        (json!({ "get": [] }), "GET: it is a list"),
        (json!({ "get": null }), "GET: it is null"),
        (json!({ "get": { "$ref": "#/components/operations/a" } }), "GET: it is a `$ref`"),
        (json!({ "get": {}, "parameters": {} }), "`parameters` is an object where a list is wanted"),
        (json!({ "get": { "parameters": { "$ref": "#/components/lists/a" } } }), "`parameters` is a `$ref`"),
        (json!({ "get": { "parameters": ["limit"] } }), "a parameter without a name"),
        (json!({ "$ref": "#/components/pathItems/a", "get": {} }), "beside its `$ref`"),
    ] {
        let found = dropped(item.clone());
        assert!(found.iter().any(|why| why.contains(words)), "{item}: {found:?}");
    }
}

#[test]
fn a_body_that_says_more_than_names_is_never_passed_over() {
    let json_of = |schema: Value| json!({ "content": { "application/json": { "schema": schema } } });
    for (body, words) in [
        (json!([]), "a list where an object is wanted"),
        (json!({}), "no `content`"),
        (json!({ "content": [] }), "`content` is a list"),
        (json!({ "content": { "application/json": {} } }), "without a schema"),
        (json!({ "content": { "application/json": [] } }), "without a schema"),
        (json_of(json!([])), "no object"),
        (json_of(json!(true)), "no object"),
        (json_of(json!({ "type": "array" })), "no object"),
        (json_of(json!({ "type": "object" })), "does not name its members"),
        (json_of(json!({ "properties": [] })), "`properties` is a list"),
        (json_of(json!({ "properties": {}, "additionalProperties": {} })), "members that the document does not name"),
        (json_of(json!({ "properties": {}, "patternProperties": {} })), "members that the document does not name"),
        (json_of(json!({ "properties": {}, "allOf": [] })), "put together from several"),
    ] {
        let found = dropped(json!({ "post": { "requestBody": body.clone() } }));
        assert_eq!(found.len(), 1, "{body}: {found:?}");
        assert!(found[0].contains(words), "{body}: {found:?}");
    }
    let fine = json_of(json!({ "properties": { "a": true }, "additionalProperties": false }));
    assert_eq!(dropped(json!({ "post": { "requestBody": fine } })), [""; 0]);
}

#[test]
fn keys_that_stand_twice_are_named_wherever_they_stand() {
    let text = r#"{"openapi": "3.0.0",
        "paths": {"/pipes/a.json": {"get": {}}}, "paths": {"/pipes/b.json": {"get": {}}},
        "components": {}, "components": {"x": [{"y": 1, "y": 2}]}, "info": {"a/b": 1, "a/b": 2}
    }"#;
    let catalogue = Catalogue::read(text.as_bytes()).unwrap();
    assert_eq!(catalogue.pipes.keys().collect::<Vec<_>>(), ["a"]);
    let losses: Vec<(Loss, &str)> =
        catalogue.remarks.iter().map(|remark| (remark.loss, remark.subject.as_str())).collect();
    let wanted = [(Loss::Approximated, "/components"), (Loss::Approximated, "/info/a~1b"), (Loss::Dropped, "paths")];
    assert_eq!(losses, wanted);
}

/// Documents that took minutes, or all memory, when everything was compared with everything.
#[test]
fn no_document_costs_more_than_it_is_worth() {
    let parameter = |number: usize| json!({ "name": format!("p{number}"), "in": "query" });
    let many: Vec<Value> = (0..150_000).map(parameter).collect();
    let one = read(&json!({ "openapi": "3.0.0", "paths": { "/pipes/a.json": { "get": { "parameters": many } } } }));
    assert_eq!(one.pipes["a"].parameters.len(), 1_000);
    assert!(one.remarks[0].why.contains("more than 1000 parameters"), "{:?}", one.remarks);
    assert_eq!((one.remarks.len(), one.remarks[0].loss), (1, Loss::Dropped));

    let shared: Vec<Value> = (0..2_000).map(parameter).collect();
    let path = |number: usize| (format!("/pipes/p{number}.json"), json!({ "$ref": "#/components/pathItems/x" }));
    let paths: serde_json::Map<String, Value> = (0..40_000).map(path).collect();
    let amplified = read(&json!({
        "openapi": "3.0.0", "paths": paths,
        "components": { "pathItems": { "x": { "get": { "parameters": shared } } } },
    }));
    let kept: usize = amplified.pipes.values().map(|pipe| pipe.parameters.len()).sum();
    assert!(!amplified.pipes.is_empty() && kept < 200_000, "{kept}");
    let last = amplified.remarks.last().unwrap();
    assert!(last.loss == Loss::Dropped && last.why.contains("more are not read"), "{last:?}");

    // The other formats of one pipe, and long texts that each of them repeats.
    let path = |number: usize| (format!("/{number}/pipes/a.json"), json!({ "$ref": "#/components/pathItems/x" }));
    let paths: serde_json::Map<String, Value> = (0..40_000).map(path).collect();
    let long = "x".repeat(1 << 20);
    let joined = read(&json!({
        "openapi": "3.0.0", "paths": paths,
        "components": { "pathItems": { "x": { "get": { "summary": long, "parameters": [
            { "name": long, "in": "query" },
            { "name": "a", "in": "query", "description": long, "schema": { "default": [long, long] } },
            { "$ref": long },
        ] } } } },
    }));
    let pipe = &joined.pipes["a"];
    let kept = &pipe.parameters[0];
    assert!(pipe.parameters.len() == 1 && kept.default.as_ref().unwrap().len() < 2_000, "{kept:?}");
    assert!(joined.remarks.iter().all(|remark| remark.subject.len() + remark.why.len() < 1_000));
}

#[test]
fn a_long_key_above_many_values_is_read_at_once() {
    let text =
        format!(r#"{{"openapi": "3.0.0", "paths": {{}}, "{}": [{}0]}}"#, "k".repeat(3 << 20), "0,".repeat(1 << 20));
    assert!(Catalogue::read(text.as_bytes()).unwrap().remarks.is_empty());
    assert_eq!(Names::read(text.as_bytes()).unwrap(), Names::default());
}

#[test]
fn names_are_read_without_what_is_below_them() {
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let text = format!(
        r#"{{"openapi": "3.0.0", "servers": {deep}, "paths": {{
            "/v0/pipes/a.json": {deep}, "/pipes/b.{{format}}": null, "/pipes/c d.json": {{}}, "/pipes/": {{}}, "/x": {{}} }} }}"#
    );
    let names = Names::read(text.as_bytes()).unwrap();
    assert_eq!(names.pipes.iter().collect::<Vec<_>>(), ["a", "b", "c d"]);
    assert_eq!(names.paths, 5);
    assert!(Names::read(b"{\"openapi\": \"3.0.0\", \"paths\": []}").unwrap_err().contains("`paths` is a list"));
}

#[test]
fn a_pipe_that_is_taken_over_is_among_the_names() {
    for (length, is_one) in [(200, true), (201, false)] {
        let path = format!("/v0/pipes/{}.json", "a".repeat(length));
        let text = json!({ "openapi": "3.0.3", "paths": { path: { "get": {} } } }).to_string();
        let (catalogue, names) = (Catalogue::read(text.as_bytes()).unwrap(), Names::read(text.as_bytes()).unwrap());
        assert_eq!((catalogue.pipes.len(), names.pipes.len()), (usize::from(is_one), usize::from(is_one)), "{length}");
        assert_eq!(catalogue.remarks.is_empty(), is_one, "{length}");
    }
}
