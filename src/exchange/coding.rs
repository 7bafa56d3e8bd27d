//! Codings of bodies that a caller likes.
//!
//! In: `Accept-Encoding`. Out: whether gzip is welcome. Not here: compressing.

use http::{HeaderMap, header};

/// Whether gzip is what the caller likes best of what there is (RFC 9110 section 12.5.3).
pub fn likes_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut likes = Likes::default();
    for (coding, weight) in values.flat_map(|value| value.split(',')).filter_map(like) {
        let place = match coding.to_ascii_lowercase().as_str() {
            "*" => &mut likes.other,
            "gzip" | "x-gzip" => &mut likes.gzip,
            "identity" => &mut likes.identity,
            _ => continue,
        };
        // Said twice, it is meant where it is meant more.
        *place = (*place).max(Some(weight));
    }
    // What nobody speaks of is plain; that is welcome, and less so than anything asked for.
    let gzip = likes.gzip.or(likes.other).unwrap_or(0);
    gzip > 0 && gzip >= likes.identity.or(likes.other).unwrap_or(0)
}

/// Weights in thousandths; none where nothing is said.
#[derive(Debug, Default)]
struct Likes {
    gzip: Option<u16>,
    identity: Option<u16>,
    other: Option<u16>,
}

/// A coding and its weight; none where they cannot be read.
fn like(member: &str) -> Option<(&str, u16)> {
    let mut parts = member.split(';').map(str::trim);
    let coding = parts.next().filter(|coding| !coding.is_empty())?;
    let weight = match parts.next() {
        None => 1000,
        Some(parameter) => {
            let (name, weight) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| thousandths(weight.trim()))??
        }
    };
    Some((coding, weight))
}

/// `0.25` is 250: at most three digits behind the point, at most one.
fn thousandths(weight: &str) -> Option<u16> {
    let (ones, digits) = weight.split_once('.').unwrap_or((weight, ""));
    if digits.len() > 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{digits:0<3}").parse().ok()?;
    match ones {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}
