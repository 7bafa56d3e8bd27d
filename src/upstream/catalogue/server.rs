//! Where a document says that its API is.
//!
//! In: the document. Out: the URL of its first server, the variables filled in
//! once: what a default holds is a value and no template. Not here: whether
//! that can be called.

use serde_json::Value;

use super::shape;

/// Longer URLs than this are none.
const MAX_URL: usize = 8 << 10;

/// The first server, with the defaults of its variables.
///
/// # Errors
/// In one sentence, where there is one and it cannot be read.
pub(super) fn of(document: &Value) -> Result<Option<String>, String> {
    let Some(server) = shape::list(document, "servers")?.first() else { return Ok(None) };
    let url = server.get("url").and_then(Value::as_str).ok_or("the first server has no `url`")?;
    let variables = server.get("variables");
    let default = |name: &str| variables?.get(name)?.get("default")?.as_str();
    filled(url, default).map(Some).ok_or_else(|| format!("the URL of the first server is longer than {MAX_URL} bytes"))
}

/// One pass over `url`, or none where that makes too much of it.
fn filled<'a>(url: &str, default: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let mut filled = String::new();
    let mut add = |piece: &str| {
        filled.push_str(piece);
        (filled.len() <= MAX_URL).then_some(())
    };
    let mut rest = url;
    while let Some((before, behind)) = rest.split_once('{') {
        add(before)?;
        match behind.split_once('}').map(|(name, behind)| (default(name), name, behind)) {
            Some((Some(value), _, behind)) => {
                add(value)?;
                rest = behind;
            }
            Some((None, name, behind)) => {
                [add("{"), add(name), add("}")].into_iter().collect::<Option<()>>()?;
                rest = behind;
            }
            None => {
                add("{")?;
                rest = behind;
            }
        }
    }
    add(rest)?;
    Some(filled)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_first(server: &Value) -> Result<Option<String>, String> {
        of(&json!({ "servers": [server, { "url": "https://second.example.com" }] }))
    }

    #[test]
    fn variables_are_filled_in_once() {
        let variables = json!({ "a": { "default": "{b}{a}" }, "b": { "default": "x" } });
        for (url, filled) in [
            ("https://{b}.example.com/{b}", "https://x.example.com/x"),
            ("https://{a}/", "https://{b}{a}/"),
            ("https://{unknown}/{b", "https://{unknown}/{b"),
            ("", ""),
        ] {
            let found = of_first(&json!({ "url": url, "variables": variables }));
            assert_eq!(found, Ok(Some(filled.to_owned())), "{url}");
        }
        assert_eq!(of(&json!({})), Ok(None));
        assert_eq!(of(&json!({ "servers": [] })), Ok(None));
    }

    #[test]
    fn a_url_that_grows_without_end_is_refused_at_once() {
        // The billion laughs: each variable is ten times the next.
        let mut variables = serde_json::Map::new();
        for level in 0..12 {
            variables.insert(format!("v{level}"), json!({ "default": format!("{{v{}}}", level + 1).repeat(10) }));
        }
        let laughs = of_first(&json!({ "url": "https://{v0}", "variables": variables }));
        assert_eq!(laughs, Ok(Some(format!("https://{}", "{v1}".repeat(10)))));
        let large = json!({ "v": { "default": "x".repeat(5_000) } });
        let problem = of_first(&json!({ "url": "{v}".repeat(100_000), "variables": large })).unwrap_err();
        assert!(problem.contains("longer than 8192 bytes"), "{problem}");
    }

    #[test]
    fn what_is_no_server_is_said() {
        for servers in [json!({}), json!("https://x.example.com"), json!(null)] {
            assert!(of(&json!({ "servers": servers })).unwrap_err().contains("where a list is wanted"), "{servers}");
        }
        for server in [json!({}), json!([]), json!({ "url": 1 })] {
            assert!(of_first(&server).unwrap_err().contains("no `url`"), "{server}");
        }
    }
}
