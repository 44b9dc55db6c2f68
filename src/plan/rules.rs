//! Rules that rows must keep, and what becomes of rows that break one.
//!
//! A rule is a condition on a row, or says that the row is found in a static table, or that no row before it has its key. As
//! in SQL, a condition that is null is not broken: that a value must be there is a rule of its own. Conditions and tables look
//! at every row that reaches a step, so their counts do not depend on each other; of the verdicts on one row the hardest
//! counts. Keys that may come once look at the rows that the others let through: a row that is left out does not stand in the
//! way of a good one.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::analyze::{self, Given, Node, Op};
use super::analyze_state;
use super::logical::Remember;
use super::stage::{Join, JoinKind, TableId};
use crate::columnar::{DataType, SchemaRef};
use crate::error::{Error, Result};
use crate::expr::{Expr, TypedExpr};

/// What becomes of a row that breaks a rule; the later, the harder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It goes on, and is counted.
    #[default]
    Keep,
    /// It is left out.
    Drop,
    /// It is left out, and kept in the quarantine of the query.
    Quarantine,
    /// The query stops.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::Quarantine => "quarantine",
            Self::Fail => "fail",
        })
    }
}

/// Which rule of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleId(pub usize);

/// A rule as it was said.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What it looks at.
    pub test: Test,
    /// What becomes of rows that break it.
    pub verdict: Verdict,
}

/// What a rule looks at.
#[derive(Debug, Clone)]
pub enum Test {
    /// The condition is not false.
    Holds(Expr),
    /// The row is found in a static table. A null among its columns is not looked for, and breaks nothing.
    Found {
        /// The table.
        table: TableId,
        /// Its name.
        name: String,
        /// Its schema.
        schema: SchemaRef,
        /// Pairs of columns that must be equal: of the stream, of the table.
        on: Vec<(String, String)>,
    },
    /// No row that is remembered has the same key. A row with a null in its key breaks nothing and is not remembered.
    Unique {
        /// The columns of the key; all if there are none.
        columns: Vec<String>,
        /// How long a key is remembered.
        memory: Remember,
    },
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds(condition) => condition.fmt(f),
            Self::Found { name, on, .. } => {
                let columns = on.iter().map(|(stream, _)| stream.as_str()).collect::<Vec<_>>();
                write!(f, "{} in {name}", columns.join(", "))
            }
            Self::Unique { columns, .. } => f.write_str(&unique_text(columns)),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or {}", self.test, self.verdict)
    }
}

/// What a rule of keys that may come once says.
pub(crate) fn unique_text(columns: &[String]) -> String {
    if columns.is_empty() { "unique".to_owned() } else { format!("unique {}", columns.join(", ")) }
}

/// A rule as counts, errors and the quarantine know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleLabel {
    /// Its id.
    pub id: RuleId,
    /// Its name: the one it was given, or what it says.
    pub name: Arc<str>,
    /// What becomes of rows that break it.
    pub verdict: Verdict,
}

/// A rule of one row, checked against the columns it is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TypedRule {
    /// Who it is.
    pub label: RuleLabel,
    /// What it looks at.
    pub test: TypedTest,
}

/// What a rule looks at, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TypedTest {
    /// A `Boolean` that is not false.
    Holds(TypedExpr),
    /// A semi join with a static table that keeps the row.
    Found(Join),
}

impl TypedTest {
    /// The columns it reads.
    pub fn columns(&self) -> Vec<usize> {
        match self {
            Self::Holds(condition) => condition.columns().into_iter().collect(),
            Self::Found(join) => join.left_keys.clone(),
        }
    }

    /// The same over columns that have moved to other places, in rows of this schema.
    #[must_use]
    pub(super) fn moved(&self, schema: &SchemaRef, place: &dyn Fn(usize) -> usize) -> Self {
        match self {
            Self::Holds(condition) => Self::Holds(condition.map_columns(place)),
            Self::Found(join) => Self::Found(Join {
                left_keys: join.left_keys.iter().map(|index| place(*index)).collect(),
                schema: Arc::clone(schema),
                ..join.clone()
            }),
        }
    }
}

/// Resolves the rules of a step.
pub(super) fn validate(input: Arc<Node>, rules: &[Rule], given: &mut Given) -> Result<Node> {
    if rules.is_empty() {
        return Err(Error::invalid_query("there must be at least one rule"));
    }
    let labels = labelled(rules, given)?;
    let at = |label: &RuleLabel, error: Error| error.context(format!("rule \"{}\"", label.name));
    let mut typed: Vec<TypedRule> = Vec::with_capacity(rules.len());
    for (rule, label) in rules.iter().zip(&labels) {
        if let Some(test) = resolve(&input, &rule.test).map_err(|error| at(label, error))? {
            typed.push(TypedRule { label: label.clone(), test });
        }
    }
    let schema = Arc::clone(&input.schema);
    let of_rows = |rules| Node { op: Op::Validate { input: Arc::clone(&input), rules }, schema };
    let mut last = if typed.is_empty() { None } else { Some(of_rows(typed)) };
    for (rule, label) in rules.iter().zip(&labels) {
        if let Test::Unique { columns, memory } = &rule.test {
            let below = last.take().map_or_else(|| Arc::clone(&input), Arc::new);
            let unique = analyze_state::unique_rule(below, rule.name.as_deref(), (columns, *memory), label, given);
            last = Some(unique.map_err(|error| at(label, error))?);
        }
    }
    last.ok_or_else(|| Error::internal("rules look at nothing"))
}

/// Each rule with its id and name, which must differ.
fn labelled(rules: &[Rule], given: &mut Given) -> Result<Vec<RuleLabel>> {
    let mut labels: Vec<RuleLabel> = Vec::with_capacity(rules.len());
    for rule in rules {
        let name = rule.name.clone().unwrap_or_else(|| rule.test.to_string());
        if labels.iter().any(|other| *other.name == *name) {
            return Err(Error::invalid_query(format!("there are two rules \"{name}\""))
                .advice("give each rule a name of its own"));
        }
        labels.push(RuleLabel { id: RuleId(given.rules), name: name.into(), verdict: rule.verdict });
        given.rules += 1;
    }
    Ok(labels)
}

/// What a rule looks at in a row; none for one that looks at other rows as well.
fn resolve(input: &Arc<Node>, test: &Test) -> Result<Option<TypedTest>> {
    match test {
        Test::Unique { .. } => Ok(None),
        Test::Holds(condition) => {
            let condition = condition.typed(&input.schema)?;
            if !matches!(condition.data_type, DataType::Boolean | DataType::Null) {
                let message = format!("the condition `{condition}` is {}, not Boolean", condition.data_type);
                return Err(Error::invalid_query(message).advice("write a comparison, for example `column >= 0`"));
            }
            Ok(Some(TypedTest::Holds(condition)))
        }
        Test::Found { table, name, schema, on } => {
            let joined = analyze::join(Arc::clone(input), *table, name, schema, on, JoinKind::Semi)?;
            match joined.op {
                Op::Join { join, .. } => Ok(Some(TypedTest::Found(join))),
                _ => Err(Error::internal("a join was analysed as another operation")),
            }
        }
    }
}
