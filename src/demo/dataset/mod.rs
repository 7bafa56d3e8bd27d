//! The bundled rows: three tenants' web analytics and shop sales in the first quarter of 2026.
//!
//! In: an empty database. Out: the tables of `schema.sql`, filled; the same rows in every run and
//! on every machine.
//! **Not here**: how the rows are made up (`analytics`, `shop`), queries over them (`pipes`).

use rusqlite::Connection;

mod analytics;
mod random;
mod shop;

/// The three tenants; the shop calls them companies.
const TENANTS: [&str; 3] = ["acme", "beta", "gamma"];

/// Creates and fills all tables.
pub(super) fn fill(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(include_str!("schema.sql"))?;
    analytics::fill(&transaction)?;
    shop::fill(&transaction)?;
    transaction.commit()
}

/// The names of the tables, for those who describe or confine.
pub(super) const TABLES: [&str; 3] = ["analytics_events", "products", "sales"];

/// What a full scan of one table costs: its rows, and the bytes its values would take in a column
/// store.
pub(super) fn volume_query(table: &str) -> String {
    let widths = match table {
        "analytics_events" => {
            "4 + length(session_id) + 1 + length(action) + 1 + length(version) + 1 + length(payload) + 1 + length(tenant_id) + 1 + \
             length(domain) + 1 + length(pathname) + 1 + length(referrer) + 1 + length(country) + 1 + length(device) + 1 + 4 + 8"
        }
        "products" => "length(product_id) + 1 + length(name) + 1 + length(category) + 1 + 8 + length(company_id) + 1",
        _ => "8 + length(product_id) + 1 + length(company_id) + 1 + 4 + 4 + 8",
    };
    format!("SELECT count(*), sum({widths}) FROM {table}")
}
