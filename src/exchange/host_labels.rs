//! The labels of a request's host.
//!
//! In: the host as a [`super::head::RequestHead`] has it, and templates. Out:
//! `{host.N}` filled. Not here: which hosts are served (`snapshot`), holes that
//! something else than the host fills.

use crate::config::scalar::{Part, Template, is_address};

/// The label at this place from the left, of which the first is 1; an address has none.
pub fn label(host: &str, number: usize) -> Option<&str> {
    if is_address(host) {
        return None;
    }
    host.split('.').nth(number.checked_sub(1)?).filter(|label| !label.is_empty())
}

/// A template of text and `{host.N}`, filled; none where a hole has no value here.
pub fn fill(template: &Template, host: &str) -> Option<String> {
    template.parts().iter().map(|part| value(part, host)).collect()
}

fn value<'a>(part: &'a Part, host: &'a str) -> Option<&'a str> {
    match part {
        Part::Host(number) => label(host, *number),
        Part::Literal(text) => Some(text),
        Part::Certificate(_)
        | Part::Claim(_)
        | Part::FixedParam(_)
        | Part::KeyMeta(_)
        | Part::KeyTenant
        | Part::Path(_)
        | Part::Tenant => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_counted_from_the_left() {
        let host = "acme.customers.example.com";
        assert_eq!(label(host, 1), Some("acme"));
        assert_eq!(label(host, 4), Some("com"));
        assert_eq!((label(host, 0), label(host, 5)), (None, None));
        assert_eq!((label("127.0.0.1", 1), label("[::1]", 1)), (None, None), "an address has no labels");
        assert_eq!(label("a..b", 2), None, "a label that is empty is no value");
    }

    #[test]
    fn a_template_is_filled_whole_or_not_at_all() {
        let fill = |template: &str, host: &str| fill(&template.parse().unwrap(), host);
        assert_eq!(fill("acme", "any"), Some("acme".to_owned()));
        assert_eq!(fill("t-{host.1}-{host.2}", "a.b.c"), Some("t-a-b".to_owned()));
        for (template, host) in [("{host.4}", "a.b.c"), ("x{host.1}", "[::1]"), ("{path.x}", "a"), ("{tenant}", "a")] {
            assert_eq!(fill(template, host), None, "{template} of {host}");
        }
    }
}
