use std::fmt::Write as _;

use super::*;
use crate::config::scalar::KeyId;

const A: &str = "aaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbb";

/// 64 hexadecimal digits that are another number for each.
fn hash(number: usize) -> String {
    format!("{number:064x}")
}

fn flow(id: &str) -> String {
    format!("{{ id: {id}, sha256: \"{}\" }}", hash(id.len() * 7 + usize::from(id.as_bytes()[0])))
}

fn file(text: &str) -> KeyFile {
    KeyFile::of("keys.yaml", text).unwrap_or_else(|issues| panic!("{issues}\nin\n{text}"))
}

fn id(text: &str) -> KeyId {
    text.parse().unwrap()
}

fn record(id: &str) -> KeyRecord {
    file(&format!("- {}", flow(id))).records()[0].clone()
}

/// `text` with `before` replaced by `after`, which must be all that a change has done.
fn only(text: &str, before: &str, after: &str) -> String {
    assert_eq!(text.matches(before).count(), 1, "{before} in {text}");
    text.replace(before, after)
}

#[test]
fn an_empty_file_has_no_keys() {
    for text in ["", "\n", "# nobody yet\n", "[]", "[ ] # nobody\n", "---\n", "\u{feff}", "~"] {
        assert_eq!(file(text).records(), [], "{text:?}");
    }
}

#[test]
fn a_new_key_is_one_line_at_the_end_and_touches_nothing() {
    let new = record(B);
    for before in [
        String::new(),
        "# mine\n".to_owned(),
        format!("# mine\n- {}  # first\n\n# end\n", flow(A)),
        format!("- {}", flow(A)),
        format!("- {} # no line break", flow(A)),
        format!("---\n- {}\r\n", flow(A)),
        format!("  - {}\n", flow(A)),
        format!("- id: {A}\n  sha256: \"{}\"\n  meta:\n    a: b\n", hash(1)),
        format!("\u{feff}- {}\n", flow(A)),
    ] {
        let after = file(&before).adding(&new).unwrap();
        let added = after.strip_prefix(&before).unwrap_or_else(|| panic!("{before:?} became {after:?}"));
        assert_eq!(added.trim_start_matches('\n').lines().count(), 1, "{added:?}");
        assert!(added.ends_with('\n') && file(&after).records().last() == Some(&new), "{added:?}");
    }
    assert_eq!(file("# a\n[]\n").adding(&new).unwrap().lines().count(), 2);
    for closed in [format!("[{}]\n", flow(A)), format!("- {}\n...\n", flow(A)), "~".to_owned()] {
        assert_eq!(file(&closed).adding(&new), Err(Unchangeable), "{closed}");
    }
}

#[test]
fn what_is_written_reads_back_whatever_the_words() {
    let text = format!(
        "- id: {A}\n  sha256: {}\n  name: |-\n    a: \"b\" {{c}}, [d] 'e' # f $${{G}} é\n  tenant: '007'\n  \
         scopes: ['true', a:b, \"0x1\", '*', '- ']\n",
        hash(1)
    )
    .replace("'- '", "'-'");
    let odd = file(&text).records()[0].clone();
    let mut meta = odd.clone();
    for (at, value) in
        ["null", "2026-11-22", "1e3", "yes", " x ", "#", "&a", "!t", "%", "@", "`", "\\", "ä"].iter().enumerate()
    {
        meta.meta.insert(format!("{at} {value}:"), value.parse().unwrap());
    }
    for record in [odd, meta] {
        let new = file("").adding(&record).unwrap();
        assert_eq!(file(&new).records(), [record], "{new}");
    }
}

#[test]
fn revoking_changes_one_word() {
    let (a, b) = (flow(A), flow(B));
    let enabled = |text: &str, flag: &str| text.replace(" }", &format!(", enabled: {flag} }}"));
    for (before, old, new) in [
        (format!("# x\n- {}  # y\n- {b}\n", enabled(&a, "true")), "enabled: true", "enabled: false"),
        (format!("- {b}\n- {}\n", enabled(&a, "   true")), "enabled:    true", "enabled:    false"),
        (format!("- {b}\n- {a}\n"), "{ id: aaaa", "{ enabled: false, id: aaaa"),
        (format!("- id: {A}\n  sha256: '{}' # z\n- {b}\n", hash(1)), "- id: a", "- enabled: false\n  id: a"),
        (format!("-\n   id: {A}\n   sha256: '{}'\n", hash(1)), "   id: a", "   enabled: false\n   id: a"),
        (format!("- id: {A}\n  enabled:   true   # for now\n  sha256: '{}'\n", hash(1)), "  true  ", "  false  "),
        (format!("\u{feff}- {a}\n"), "{ id", "{ enabled: false, id"),
    ] {
        let after = file(&before).revoking(&id(A)).unwrap();
        assert_eq!(after, only(&before, old, new));
        let revoked = file(&after);
        let is_enabled = |record: &KeyRecord| (record.id.to_string(), record.enabled);
        for (id, is_enabled) in revoked.records().iter().map(is_enabled) {
            assert_eq!(is_enabled, id != A);
        }
    }
    assert_eq!(file(&a.replacen('{', "- {", 1)).revoking(&id(B)), Err(Unchangeable), "it is not there");
}

#[test]
fn removing_takes_the_lines_of_one_record() {
    let (a, b) = (flow(A), flow(B));
    let block = format!("- id: {A}\n  sha256: '{}'\n  meta:\n    x: y\n", hash(1));
    let long = format!("- {{\n    id: {A},\n    sha256: '{}',\n    scopes: [\n      a,\n    ],\n  }}\n", hash(1));
    for (before, after) in [
        (format!("# x\n- {a} # of a\n# of b\n- {b}\n"), format!("# x\n# of b\n- {b}\n")),
        (format!("- {a}"), String::new()),
        (format!("- {b}\n{block}"), format!("- {b}\n")),
        (format!("{block}- {b}\n"), format!("- {b}\n")),
        (format!("{long}- {b}\n"), format!("- {b}\n")),
    ] {
        assert_eq!(file(&before).removing(&id(A)), Ok(after));
    }
    for closed in [format!("[{a}, {b}]\n"), format!("[{b},\n {a},\n]\n")] {
        let removed = file(&closed).removing(&id(A));
        assert!(removed.is_err() || file(&removed.unwrap()).records().len() == 1, "{closed}");
    }
}

#[test]
fn what_stands_elsewhere_is_never_touched_for_a_record() {
    // The second record is the first one's meta by another name.
    let text = format!(
        "- {{ id: {A}, sha256: '{}', enabled: &on true }}\n- {{ id: {B}, sha256: '{}', enabled: *on }}\n",
        hash(1),
        hash(2)
    );
    assert_eq!(file(&text).revoking(&id(A)), Err(Unchangeable), "it would revoke both, or break the other");
    let after = file(&text).revoking(&id(B)).unwrap();
    assert_eq!(after, only(&text, "*on", "false"));
}

#[test]
fn a_file_of_many_keys_is_read() {
    // Every fourth of them is revoked, as in a file that has grown.
    let mut text = String::new();
    for number in 0..2_000 {
        let _ = writeln!(text, "- {{ id: k{number:011}, sha256: \"{}\", enabled: {} }}", hash(number), number % 4 != 0);
    }
    let keys = file(&text);
    assert_eq!(keys.records().len(), 2_000);
    assert_eq!(keys.records().iter().filter(|record| record.enabled).count(), 1_500);
}

#[test]
fn many_mistakes_end_the_reading_early() {
    for wrong in ["- x\n", "- { id: aaaaaaaaaaaa, sha256: 1, a: 1, b: 2, c: 3 }\n", "-\n", "- [[]]\n"] {
        let issues = KeyFile::of("keys.yaml", &wrong.repeat(20_000)).unwrap_err();
        assert!(issues.is_enough() && issues.count().contains("more"), "{wrong}: {}", issues.count());
    }
}

#[test]
fn a_thousand_secrets_are_found_and_none_is_shown() {
    let prefix = crate::config::scalar::KeyPrefix::default();
    let key = api_key::generate(&prefix).unwrap();
    let secret = key.expose().rsplit_once('_').unwrap().1;
    let mut text = String::new();
    for number in 0..1_000 {
        let _ = writeln!(text, "- {{ id: k{number:011}, sha256: {}, name: {} }}", key.expose(), key.expose());
    }
    // The same where the file is no YAML at all.
    for text in [text.clone(), format!("{text}- [\n"), text.replace("sha256", key.expose())] {
        let issues = KeyFile::of("keys.yaml", &text).unwrap_err();
        assert!(issues.has_errors() && !issues.to_string().contains(secret), "{issues}");
    }
}

#[test]
fn a_file_that_is_read_is_watched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.yaml");
    let mut reader = Reader::default();
    let place = Document::new(std::sync::Arc::default(), "".into(), Node { span: 0..0, kind: NodeKind::Null });
    let named = Named { place: Some(place.place(&(0..0))), order: 1 };
    let (keys, issues) = read(&path, &named, &mut reader);
    assert!(keys.is_empty() && issues.to_string().contains("there is no file"), "{issues}");
    let mut touched = reader.into_touched();
    let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1 << 40);
    assert!(!touched.is_changed(later));
    std::fs::write(&path, format!("- {}\n", flow(A))).unwrap();
    assert!(touched.is_changed(later), "it was made");

    let mut reader = Reader::default();
    let (keys, issues) = read(&path, &named, &mut reader);
    assert_eq!((keys, issues.is_empty()), (vec![record(A)], true));
    let mut touched = reader.into_touched();
    std::fs::write(&path, "- { sub: alice }\n").unwrap();
    assert!(touched.is_changed(later), "it says something else");
    let (revoked, issues) = read_revoked(&path, &named, &mut Reader::default());
    assert_eq!((revoked.len(), issues.is_empty()), (1, true));
}
