//! One published key (JWK, RFC 7517).
//!
//! In: a member of a set. Out: a key for verifying, or in words why it is left
//! out. What a key says about itself can only narrow what it is used for;
//! certificates and addresses in it (`x5c`, `x5u`) are not looked at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Key;
use crate::config::scalar::{Algorithm, Curve, PublicKey};

/// A key with its id.
pub(super) struct Published {
    pub(super) id: Option<String>,
    pub(super) key: Key,
}

/// The key that a member of a set is.
pub(super) fn read(value: &Value) -> Result<Published, String> {
    let members = value.as_object().ok_or("it is not a JSON object")?;
    let kind = text(members, "kty")?.ok_or("it has no `kty`")?;
    if kind == "oct" {
        return Err("it is a symmetric key (`oct`), and one that is published is nobody's secret".to_owned());
    }
    // An `oct` has no `d`; of any other kind, whoever serves it has given his signature away.
    if members.contains_key("d") {
        return Err("it is a private key (`d`): everybody who can read the set can sign with it".to_owned());
    }
    is_for_verifying(members)?;
    let key = match kind {
        "EC" => elliptic(members)?,
        "OKP" => match text(members, "crv")? {
            Some("Ed25519") => PublicKey::ed25519(&bytes(members, "x")?)?,
            Some(_) | None => return Err("its curve (`crv`) is not supported".to_owned()),
        },
        "RSA" => PublicKey::rsa(&bytes(members, "n")?, &bytes(members, "e")?)?,
        _ => return Err("its kind (`kty`) is not supported".to_owned()),
    };
    let key = Key::public(&key);
    let key = match text(members, "alg")? {
        None => key,
        Some(name) => {
            let own = Algorithm::named(name).filter(|own| key.algorithms().contains(own));
            key.restrict(&[own.ok_or("its algorithm (`alg`) is not supported, or not one for such a key")?])
        }
    };
    Ok(Published { id: text(members, "kid")?.map(str::to_owned), key })
}

fn elliptic(members: &Map<String, Value>) -> Result<PublicKey, String> {
    let (curve, size) = match text(members, "crv")? {
        Some("P-256") => (Curve::P256, 32),
        Some("P-384") => (Curve::P384, 48),
        Some(_) | None => return Err("its curve (`crv`) is not supported".to_owned()),
    };
    let (x, y) = (bytes(members, "x")?, bytes(members, "y")?);
    // Each by itself: together they could have the right length and a wrong border.
    if x.len() != size || y.len() != size {
        return Err(format!("its `x` and `y` have {} and {} bytes instead of {size}", x.len(), y.len()));
    }
    let point: Vec<u8> = std::iter::once(4).chain(x).chain(y).collect();
    PublicKey::elliptic(curve, &point)
}

fn is_for_verifying(members: &Map<String, Value>) -> Result<(), String> {
    if text(members, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err("it is not for signatures (`use`)".to_owned());
    }
    match members.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(uses)) if uses.iter().any(|purpose| purpose == "verify") => Ok(()),
        Some(_) => Err("it is not for verifying (`key_ops`)".to_owned()),
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("its `{name}` is not a text")),
    }
}

fn bytes(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let text = text(members, name)?.ok_or_else(|| format!("it has no `{name}`"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("its `{name}` is not base64url"))
}
