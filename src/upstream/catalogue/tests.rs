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

/// What is made of a document must not be many times the document: each of these would be gigabytes.
#[test]
fn d7_a_document_cannot_say_more_than_it_holds() {
    let pipes = |count: usize, item: &str| -> String {
        (0..count).map(|at| format!("\"/v0/pipes/p{at}.json\": {item},")).collect::<String>() + "\"/x\": {}"
    };
    let document = |paths: &str, components: &str| {
        format!(r#"{{"openapi": "3.0.0", "paths": {{{paths}}}, "components": {{{components}}}}}"#)
    };
    let parameters: Vec<String> = (0..20_000).map(|at| format!(r#"{{"name": "n{at}", "in": "query"}}"#)).collect();
    let many = format!(r#""many": {{"get": {{"parameters": [{}]}}}}"#, parameters.join(","));
    let long = format!(
        r#""long": {{"get": {{"summary": "{0}", "parameters": [{{"name": "{0}", "in": "query"}}]}}}}"#,
        "x".repeat(1 << 20)
    );
    for (name, component) in [("many", many), ("long", long)] {
        let paths = pipes(10_000, &format!("{{\"$ref\": \"#/components/{name}\"}}"));
        let problem = Catalogue::read(document(&paths, &component).as_bytes()).unwrap_err();
        assert!(problem.contains("too much"), "{name}: {problem}");
    }
    // Keys that stand twice, below a key that is long.
    let twice = format!("{{\"{}\": {{{}}}}}", "x".repeat(1 << 20), vec!["\"a\": 1"; 100_000].join(","));
    assert!(Catalogue::read(twice.as_bytes()).unwrap_err().contains("twice"));
    let items = format!("{{\"{}\": [{}]}}", "x".repeat(1 << 20), vec!["1"; 500_000].join(","));
    assert!(Catalogue::read(items.as_bytes()).is_err());
}

#[test]
fn d7_variables_inside_variables_do_not_grow_without_bound() {
    let mut variables = serde_json::Map::new();
    for at in 0..26_u8 {
        let (name, next) = (char::from(b'a' + at), char::from(b'a' + (at + 1) % 26));
        variables.insert(name.to_string(), json!({ "default": format!("{{{next}}}").repeat(10) }));
    }
    let catalogue = read(&json!({
        "openapi": "3.0.0", "paths": {},
        "servers": [{ "url": "https://{a}", "variables": variables }],
    }));
    assert_eq!(catalogue.server, None);
}
