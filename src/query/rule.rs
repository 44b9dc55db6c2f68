//! Rules for rows, as a program says them.

use std::fmt;

use super::table::{JoinOn, StaticTable};
use crate::columnar::Scalar;
use crate::expr::{Expr, all_of, col};
use crate::plan::logical::Remember;
use crate::plan::rules::{Verdict, unique_text};

/// Something that rows must keep, and what becomes of those that do not. Unless told otherwise they are only counted.
///
/// ```
/// use pelton::prelude::*;
///
/// let rules = [
///     Rule::not_null(["id", "time"]).or_quarantine(),
///     Rule::between("age", 0, 150).or_drop(),
///     Rule::one_of("city", ["Oslo", "Rome"]),
///     Rule::matches("email", "^[^@]+@[^@]+$").named("email"),
///     Rule::length("name", 1, 80),
///     Rule::holds(col("begin").lt_eq(col("end"))).or_fail(),
/// ];
/// assert_eq!(rules[1].to_string(), "age >= 0 AND age <= 150 or drop");
/// ```
#[derive(Debug, Clone)]
pub struct Rule {
    pub(super) name: Option<String>,
    pub(super) test: RuleTest,
    pub(super) verdict: Verdict,
}

/// What a rule looks at.
#[derive(Debug, Clone)]
pub(super) enum RuleTest {
    Holds(Expr),
    Found(Vec<JoinOn>, StaticTable),
    Unique(Vec<String>, Remember),
}

impl Rule {
    fn new(test: RuleTest) -> Self {
        Self { name: None, test, verdict: Verdict::default() }
    }

    /// The condition is true, or null.
    pub fn holds(condition: Expr) -> Self {
        Self::new(RuleTest::Holds(condition))
    }

    /// None of these columns is null.
    pub fn not_null<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self::holds(all_of(columns.into_iter().map(|column| col(column).is_not_null())))
    }

    /// The value lies between these, or is one of them.
    pub fn between(column: &str, low: impl Into<Expr>, high: impl Into<Expr>) -> Self {
        Self::holds(col(column).between(low, high))
    }

    /// The value is one of these.
    pub fn one_of<T: Into<Scalar>>(column: &str, set: impl IntoIterator<Item = T>) -> Self {
        Self::holds(col(column).is_in(set))
    }

    /// The regular expression matches somewhere in the text.
    pub fn matches(column: &str, regex: impl Into<String>) -> Self {
        Self::holds(col(column).matches(regex))
    }

    /// The text has between `least` and `most` characters.
    pub fn length(column: &str, least: i64, most: i64) -> Self {
        Self::holds(col(column).length().between(least, most))
    }

    /// A row of the table has these keys: a foreign key. A row with a null among them breaks nothing.
    pub fn found_in<O: Into<JoinOn>>(table: impl Into<StaticTable>, on: impl IntoIterator<Item = O>) -> Self {
        Self::new(RuleTest::Found(on.into_iter().map(Into::into).collect(), table.into()))
    }

    /// No earlier row has the same values in these columns, of all batches; in all columns if none are named. Of a key the
    /// first row keeps the rule, and the others break it; a row with a null among the columns breaks nothing. It looks at the
    /// rows that the other rules of its step let through. Every key is remembered for good.
    pub fn unique<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self::unique_by(columns, Remember::Always)
    }

    /// As [`Rule::unique`], saying how long keys are remembered. Within a watermark, and in windows of event time, rows that
    /// come too late to be told from duplicates, and rows without a time, are counted as late and left out, whatever the
    /// verdict.
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # use std::time::Duration;
    /// # fn example(ads: DStream) -> DStream {
    /// let hour = Remember::Window(Duration::from_secs(3600));
    /// ads.with_watermark("event_time", Duration::from_secs(60)).validate([Rule::unique_by(["id"], hour).or_quarantine()])
    /// # }
    /// ```
    pub fn unique_by<S: Into<String>>(columns: impl IntoIterator<Item = S>, memory: Remember) -> Self {
        Self::new(RuleTest::Unique(columns.into_iter().map(Into::into).collect(), memory))
    }

    /// A name for counts, errors and the quarantine; without it, a rule is called by what it says.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What becomes of rows that break it.
    #[must_use]
    pub fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }

    /// Rows that break it are left out.
    #[must_use]
    pub fn or_drop(self) -> Self {
        self.verdict(Verdict::Drop)
    }

    /// Rows that break it are left out, and kept in the quarantine of the query.
    #[must_use]
    pub fn or_quarantine(self) -> Self {
        self.verdict(Verdict::Quarantine)
    }

    /// A row that breaks it stops the query.
    #[must_use]
    pub fn or_fail(self) -> Self {
        self.verdict(Verdict::Fail)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.test {
            RuleTest::Holds(condition) => write!(f, "{condition} or {}", self.verdict),
            RuleTest::Found(on, table) => {
                let columns = on.iter().map(|JoinOn(stream, _)| stream.as_str()).collect::<Vec<_>>();
                write!(f, "{} in {} or {}", columns.join(", "), table.name, self.verdict)
            }
            RuleTest::Unique(columns, _) => write!(f, "{} or {}", unique_text(columns), self.verdict),
        }
    }
}
