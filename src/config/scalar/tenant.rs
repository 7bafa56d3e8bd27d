//! Names of tenants.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Whose rows somebody may see; compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(Arc<str>);

impl TenantName {
    /// Characters of the longest.
    pub const MAX: usize = 128;

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` can name a tenant. No comma: Tinybird splits arrays on it.
    pub fn is_legal(text: &str) -> bool {
        (1..=TenantName::MAX).contains(&text.len()) && text.chars().all(TenantName::may_have)
    }

    /// Whether the character can stand in a name.
    pub fn may_have(c: char) -> bool {
        c.is_ascii_alphanumeric() || "._:@-".contains(c)
    }
}

impl FromStr for TenantName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("this tenant is empty: write its name, or leave it out".to_owned());
        }
        match TenantName::is_legal(text) {
            true => Ok(TenantName(text.into())),
            false => Err(format!(
                "`{text}` is not the name of a tenant: write 1 to {} letters, digits and `.`, `_`, `:`, `@`, `-`",
                TenantName::MAX
            )),
        }
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::from_text!(TenantName, "the name of a tenant");
super::as_text!(TenantName);
