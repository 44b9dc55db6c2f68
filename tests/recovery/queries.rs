//! The queries that are killed.

use pelton::prelude::*;

/// A query over visits.
pub(crate) struct Query {
    pub(crate) name: &'static str,
    pub(crate) stream: fn(&DStream) -> Result<DStream>,
}

pub(crate) const ALL: &[Query] = &[
    Query {
        name: "rows",
        stream: |visits| Ok(visits.filter(col("n").gt(10)).select([col("city"), col("n") * lit(2)])),
    },
    Query {
        name: "batches",
        stream: |visits| Ok(visits.key_by([col("city")]).aggregate([len().alias("visits"), col("n").sum().alias("n")])),
    },
];

pub(crate) fn by_name(name: &str) -> &'static Query {
    ALL.iter().find(|query| query.name == name).unwrap()
}
