//! Products and sales of three companies.
//!
//! In: an open transaction. Out: 36 rows in `products`, 4000 in `sales`.
//! **Not here**: web analytics (`analytics`).

use rusqlite::{Transaction, params};

use super::TENANTS;
use super::random::{DAY_SECONDS, DAYS, Random, moment};

/// Makes up the catalogue, then the sales.
pub(super) fn fill(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut random = Random::seeded(10);
    let catalogue = products(transaction, &mut random)?;
    let mut insert = transaction.prepare("INSERT INTO sales VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let places: Vec<usize> = (0..catalogue.len()).collect();
    for sale_id in 1..=4_000_i64 {
        let Some(product) = catalogue.get(random.skewed(&places)) else {
            continue;
        };
        let units = 1 + random.skewed(&[0_i64, 1, 2, 3, 4]);
        let sold_at = moment(random.below(DAYS * DAY_SECONDS));
        // Identifiers start high: these are the other column that a parser of doubles would round.
        let sale_id = 9_007_199_254_740_992 + sale_id;
        insert.execute(params![sale_id, product.id, product.company, sold_at, units, units * product.price_cents])?;
    }
    Ok(())
}

struct Product {
    id: String,
    company: &'static str,
    price_cents: i64,
}

fn products(transaction: &Transaction<'_>, random: &mut Random) -> rusqlite::Result<Vec<Product>> {
    let mut insert = transaction.prepare("INSERT INTO products VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut catalogue = Vec::new();
    for (number, (name, category)) in GOODS.into_iter().enumerate() {
        for company in TENANTS {
            let id = format!("{company}-{:02}", number + 1);
            let price_cents = 490 + 10 * random.skewed(&[5_i64, 11, 40, 90, 170, 320, 700]);
            insert.execute(params![id, name, category, price_cents, company])?;
            catalogue.push(Product { id, company, price_cents });
        }
    }
    Ok(catalogue)
}

const GOODS: [(&str, &str); 12] = [
    ("Espresso machine", "kitchen"),
    ("Pour-over kettle", "kitchen"),
    ("Desk lamp", "office"),
    ("Standing desk", "office"),
    ("Notebook, dotted", "office"),
    ("Trail shoes", "outdoor"),
    ("Rain jacket \"Fjord\"", "outdoor"),
    ("Tent, two persons", "outdoor"),
    ("Wireless keyboard", "electronics"),
    ("USB-C hub", "electronics"),
    ("Headphones", "electronics"),
    ("Tea, 100 g", "kitchen"),
];
