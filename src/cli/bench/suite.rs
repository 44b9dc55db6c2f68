//! The suites, as plain data: what each case is called, the rows it runs on, and its chain in SQL.
//!
//! To add a case, add a line. A name says what decides the speed: `keys/groups/how`. Nothing here computes.

use KeyForm::{Int, Sparse, Text, Two};
use Skew::{Uniform, Zipf10, Zipf15};

/// Cases that are measured together.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) name: &'static str,
    pub(super) cases: &'static [Case],
}

/// One query on one set of rows.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) rows: Rows,
    pub(super) chain: Chain<'static>,
}

/// Filter, then columns, then groups; what is empty is left out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chain<'a> {
    pub(super) filter: Option<&'a str>,
    pub(super) select: &'a [&'a str],
    pub(super) keys: &'a [&'a str],
    pub(super) aggregates: &'a [&'a str],
}

/// The rows that a case runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// Keys as described, and the values `i` (whole, -1,000 to 99,999), `f` (`Float64`, normal, mean 50, deviation 20)
    /// and `g` (`Float32`, 0 to 1).
    Keyed(Keys),
    /// The same values without keys.
    Values,
    /// `lineitem` of TPC-H, with its decimals as they are or as `Float64`.
    Lineitem(Money),
    /// A sample stream of this kind, in a file of its usual form.
    Text(&'static str),
}

/// The column `k`, or the columns `k` and `s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    /// So many different keys if there are rows enough. For [`KeyForm::Two`] a square.
    pub(super) groups: u64,
    pub(super) form: KeyForm,
    pub(super) skew: Skew,
    /// Whether one in ten keys and values is null.
    pub(super) nulls: bool,
}

/// What keys look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyForm {
    /// `Int32` from 0, without gaps.
    Int,
    /// `Int64`, every 7,919th number.
    Sparse,
    /// `Utf8`: `id0`, `id1`, …
    Text,
    /// `k`: `Int32`, and `s`: `Utf8`, `city0`, …, with the square root of the groups in each.
    Two,
}

/// How often each key occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skew {
    Uniform,
    /// As in Zipf's law with exponent 1: with 100,000 keys, the most frequent one is in 1 of 17 rows.
    Zipf10,
    /// With exponent 1.5: in 3 of 10 rows.
    Zipf15,
}

/// What amounts of money are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Money {
    Decimal,
    Float,
}

const fn keyed(form: KeyForm, groups: u64, skew: Skew, nulls: bool) -> Rows {
    Rows::Keyed(Keys { groups, form, skew, nulls })
}

const fn uniform(form: KeyForm, groups: u64) -> Rows {
    keyed(form, groups, Uniform, false)
}

/// What is usually asked of groups.
const BY_K: Chain<'static> = Chain {
    filter: None,
    select: &[],
    keys: &["k"],
    aggregates: &["sum(i) as total", "avg(f) as mean", "count(*) as rows"],
};

const BY_TWO: Chain<'static> = Chain { keys: &["k", "s"], aggregates: &["sum(i) as total"], ..BY_K };

const PRODUCT: Chain<'static> = Chain {
    filter: Some("i > 50000"),
    aggregates: &["sum(f * g) as product", "min(f) as least", "max(f) as greatest"],
    ..BY_K
};

const fn case(name: &'static str, rows: Rows, chain: Chain<'static>) -> Case {
    Case { name, rows, chain }
}

/// Keyed reduce: keys of all kinds, few and many, even and skewed.
pub(super) const GROUPBY: Suite = Suite {
    name: "groupby",
    cases: &[
        case("int/1", uniform(Int, 1), BY_K),
        case("int/100", uniform(Int, 100), BY_K),
        case("int/10k", uniform(Int, 10_000), BY_K),
        case("int/100k", uniform(Int, 100_000), BY_K),
        case("int/1m", uniform(Int, 1_000_000), BY_K),
        case("sparse/100", uniform(Sparse, 100), BY_K),
        case("sparse/100k", uniform(Sparse, 100_000), BY_K),
        case("sparse/1m", uniform(Sparse, 1_000_000), BY_K),
        case("sparse/5m", uniform(Sparse, 5_000_000), BY_K),
        case("sparse/10m", uniform(Sparse, 10_000_000), BY_K),
        case("text/100", uniform(Text, 100), BY_K),
        case("text/10k", uniform(Text, 10_000), BY_K),
        case("text/100k", uniform(Text, 100_000), BY_K),
        case("text/1m", uniform(Text, 1_000_000), BY_K),
        case("two/100", uniform(Two, 100), BY_TWO),
        case("two/10k", uniform(Two, 10_000), BY_TWO),
        case("two/1m", uniform(Two, 1_000_000), BY_TWO),
        case("int/100k/zipf1.0", keyed(Int, 100_000, Zipf10, false), BY_K),
        case("int/100k/zipf1.5", keyed(Int, 100_000, Zipf15, false), BY_K),
        case("sparse/5m/zipf1.0", keyed(Sparse, 5_000_000, Zipf10, false), BY_K),
        case("sparse/5m/zipf1.5", keyed(Sparse, 5_000_000, Zipf15, false), BY_K),
        case("text/100k/zipf1.0", keyed(Text, 100_000, Zipf10, false), BY_K),
        case("text/100k/zipf1.5", keyed(Text, 100_000, Zipf15, false), BY_K),
        case("int/100/nulls", keyed(Int, 100, Uniform, true), BY_K),
        case("int/100k/nulls", keyed(Int, 100_000, Uniform, true), BY_K),
        case("sparse/1m/nulls", keyed(Sparse, 1_000_000, Uniform, true), BY_K),
        case("text/100k/nulls", keyed(Text, 100_000, Uniform, true), BY_K),
        case("int/100k/product", uniform(Int, 100_000), PRODUCT),
    ],
};

const fn kept(filter: &'static str) -> Chain<'static> {
    Chain { filter: Some(filter), select: &["i", "f", "g"], keys: &[], aggregates: &[] }
}

/// Row by row: filters that keep a share of the rows, columns that are computed, one sum.
pub(super) const SCAN: Suite = Suite {
    name: "scan",
    cases: &[
        case("filter/1%", Rows::Values, kept("i < 10")),
        case("filter/10%", Rows::Values, kept("i < 9100")),
        case("filter/50%", Rows::Values, kept("i < 49500")),
        case("filter/90%", Rows::Values, kept("i < 89900")),
        case("filter/99%", Rows::Values, kept("i < 98990")),
        case(
            "map",
            Rows::Values,
            Chain { filter: None, select: &["i + 1 as next", "f * g as product"], keys: &[], aggregates: &[] },
        ),
        case(
            "filter-product-sum",
            Rows::Values,
            Chain {
                filter: Some("i between 10000 and 60000"),
                select: &[],
                keys: &[],
                aggregates: &["sum(f * g) as product"],
            },
        ),
    ],
};

const TPCH_1: Chain<'static> = Chain {
    filter: Some("l_shipdate <= date '1998-09-02'"),
    select: &[],
    keys: &["l_returnflag", "l_linestatus"],
    aggregates: &[
        "sum(l_quantity) as sum_qty",
        "sum(l_extendedprice) as sum_base_price",
        "sum(l_extendedprice * (1 - l_discount)) as sum_disc_price",
        "sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) as sum_charge",
        "avg(l_quantity) as avg_qty",
        "avg(l_extendedprice) as avg_price",
        "avg(l_discount) as avg_disc",
        "count(*) as count_order",
    ],
};

const TPCH_6: Chain<'static> = Chain {
    filter: Some(
        "l_shipdate >= date '1994-01-01' and l_shipdate < date '1995-01-01' \
         and l_discount between 0.05 and 0.07 and l_quantity < 24",
    ),
    select: &[],
    keys: &[],
    aggregates: &["sum(l_extendedprice * l_discount) as revenue"],
};

/// Queries 1 and 6 of TPC-H, without the order of query 1's four rows.
pub(super) const TPCH: Suite = Suite {
    name: "tpch",
    cases: &[
        case("q1/decimal", Rows::Lineitem(Money::Decimal), TPCH_1),
        case("q6/decimal", Rows::Lineitem(Money::Decimal), TPCH_6),
        case("q1/float", Rows::Lineitem(Money::Float), TPCH_1),
        case("q6/float", Rows::Lineitem(Money::Float), TPCH_6),
    ],
};

/// Files of text, read and reduced.
pub(super) const TEXT: Suite = Suite {
    name: "text",
    cases: &[
        case(
            "ndjson/ads",
            Rows::Text("ads"),
            Chain {
                filter: Some("event_type = 'view'"),
                select: &[],
                keys: &["ad_id"],
                aggregates: &["count(*) as views", "max(event_time) as latest"],
            },
        ),
        case(
            "csv/measurements",
            Rows::Text("measurements"),
            Chain {
                filter: None,
                select: &[],
                keys: &["station"],
                aggregates: &["min(temperature) as least", "avg(temperature) as mean", "max(temperature) as greatest"],
            },
        ),
        case(
            "csv/people",
            Rows::Text("people"),
            Chain {
                filter: Some("age < 65"),
                select: &[],
                keys: &["city"],
                aggregates: &["avg(age) as age", "count(*) as people"],
            },
        ),
        case(
            "lines/access_log",
            Rows::Text("access_log"),
            Chain { filter: None, select: &[], keys: &[], aggregates: &["count(*) as lines", "max(line) as last"] },
        ),
    ],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_of_a_suite_has_a_name_of_its_own() {
        for suite in [GROUPBY, SCAN, TPCH, TEXT] {
            let names: BTreeSet<_> = suite.cases.iter().map(|case| case.name).collect();
            assert_eq!(names.len(), suite.cases.len(), "{}", suite.name);
        }
    }
}
