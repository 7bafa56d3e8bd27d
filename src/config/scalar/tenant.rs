//! Names of tenants.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longer names than this are none.
const MAX: usize = 128;

/// Whose rows a caller sees: 1 to 128 of `A-Z a-z 0-9 . _ : @ -`, compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tenant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_within = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
        if text.is_empty() {
            return Err("this tenant is empty: write its name, or leave it out".to_owned());
        }
        match text.len() <= MAX && text.bytes().all(is_within) {
            true => Ok(Tenant(Arc::from(text))),
            false => Err(format!(
                "`{}` is not a tenant: write 1 to {MAX} letters, digits and `.`, `_`, `:`, `@`, `-`",
                text.chars().take(MAX).collect::<String>()
            )),
        }
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::from_text!(Tenant, "the name of a tenant");
super::as_text!(Tenant);
