//! The pipes over the shop.
//!
//! Out: `Pipe` constants for the table in `mod.rs`.
//! **Not here**: products and sales (`dataset`).

use super::super::parameter::{Kind, Parameter, Presence};
use super::{Behaviour, FIRST_DAY, LAST_DAY, LIMIT, Pipe, column, parameter};

/// The products that earned the most.
pub(super) const TOP_10_PRODUCTS: Pipe = Pipe {
    name: "top-10-products",
    description: "The products that earned the most",
    sql: include_str!("sql/top-10-products.sql"),
    parameters: &[DATE_START, DATE_END, LIMIT, COMPANY_ID],
    columns: &[
        column("product_id", "String"),
        column("name", "String"),
        column("category", "LowCardinality(String)"),
        column("units", "UInt64"),
        column("revenue", "Float64"),
    ],
    tables: &["products", "sales"],
    behaviour: Behaviour::Ranking,
    example: "date_start=2026-01-01&date_end=2026-01-31&company_id=acme",
};

/// Sales per month of chosen products.
pub(super) const SALES_BY_PRODUCTS: Pipe = Pipe {
    name: "sales_by_products",
    description: "Sales per month of chosen products",
    sql: include_str!("sql/sales_by_products.sql"),
    parameters: &[
        parameter("products", Kind::ArrayString, Presence::Optional, "Product ids; none means all"),
        DATE_START,
        DATE_END,
        COMPANY_ID,
    ],
    columns: &[
        column("product_id", "String"),
        column("month", "Date"),
        column("units", "UInt64"),
        column("revenue", "Float64"),
    ],
    tables: &["sales"],
    behaviour: Behaviour::Querying,
    example: "products=acme-01,acme-02",
};

const DATE_START: Parameter = parameter("date_start", Kind::Date, Presence::Default(FIRST_DAY), "The first day");
const DATE_END: Parameter = parameter("date_end", Kind::Date, Presence::Default(LAST_DAY), "The last day");
const COMPANY_ID: Parameter =
    parameter("company_id", Kind::String, Presence::Optional, "Only this company; missing or empty means all");
