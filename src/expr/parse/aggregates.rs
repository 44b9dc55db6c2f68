//! Aggregates from SQL text.

use sqlparser::ast::{
    DuplicateTreatment, Expr as Tree, Function as Call, FunctionArg, FunctionArgExpr, FunctionArguments,
};

use super::Reader;
use super::functions::{form, name_of};
use crate::columnar::Scalar;
use crate::error::{Error, Result};
use crate::expr::{Aggregate, AggregateFunction as Fn, len};
use crate::suggest;

const NAMES: [&str; 37] = [
    "all",
    "any",
    "avg",
    "bool_and",
    "bool_or",
    "concat",
    "count",
    "first",
    "last",
    "max",
    "mean",
    "median",
    "min",
    "n_unique",
    "ordered_avg",
    "ordered_mean",
    "ordered_std",
    "ordered_std_pop",
    "ordered_sum",
    "ordered_var",
    "ordered_var_pop",
    "quantile",
    "quantile_cont",
    "std",
    "std_pop",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var",
    "var_pop",
    "var_samp",
    "variance",
    "percentile_cont",
    "group_concat",
    "len",
];

/// All names of aggregates in SQL text.
pub fn aggregate_names() -> impl Iterator<Item = &'static str> + Clone {
    NAMES.into_iter()
}

pub(super) fn is_aggregate(name: &str) -> bool {
    NAMES.contains(&name)
}

impl Reader<'_> {
    pub(super) fn aggregate(&self, tree: &Tree) -> Result<Aggregate> {
        let Tree::Function(call) = tree else {
            let hint = "write one aggregate such as sum(x), and compute with its result afterwards";
            return Err(self.wrong(tree, format!("`{tree}` is not an aggregate")).advice(hint));
        };
        let name = name_of(&call.name);
        if !is_aggregate(&name) {
            let what = if form(&name).is_some() { "is a function, not an aggregate" } else { "is not an aggregate" };
            let hint = suggest::advice(&name, "aggregates", aggregate_names());
            return Err(self.wrong(tree, format!("{name} {what}")).advice(hint));
        }
        if call.over.is_some() {
            return Err(self
                .wrong(tree, "window functions (`over`) are not known")
                .advice("use windows of time as keys"));
        }
        let made = self.aggregate_call(&name, call, tree)?;
        Ok(match &call.filter {
            Some(filter) => made.filter(self.scalar(filter)?),
            None => made,
        })
    }

    fn aggregate_call(&self, name: &str, call: &Call, tree: &Tree) -> Result<Aggregate> {
        let wrong = |what: &str| self.wrong(tree, format!("{name} {what}"));
        let (arguments, distinct) = match &call.args {
            FunctionArguments::List(list) if list.clauses.is_empty() => {
                (list.args.as_slice(), list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
            }
            FunctionArguments::None => (&[][..], false),
            _ => return Err(wrong("takes values only").advice("values come in the order of the rows")),
        };
        if let ("count" | "len", [] | [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)], false) =
            (name, arguments, distinct)
        {
            return Ok(len());
        }
        let trees: Option<Vec<&Tree>> = arguments
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(tree)) => Some(tree),
                _ => None,
            })
            .collect();
        let Some([input, parameters @ ..]) = trees.as_deref() else {
            return Err(wrong("needs a value").advice(format!("write {name}(x)")));
        };
        let function = match (name, distinct) {
            ("count", true) => Fn::NUnique,
            (_, true) => {
                return Err(
                    wrong("does not take `distinct`").advice("make rows distinct first, or use count(distinct x)")
                );
            }
            _ => self.aggregate_function(name, parameters, tree)?,
        };
        Ok(Aggregate::new(function, Some(self.scalar(input)?)))
    }

    fn aggregate_function(&self, name: &str, parameters: &[&Tree], tree: &Tree) -> Result<Fn> {
        let one = |function: Fn| match parameters {
            [] => Ok(function),
            _ => Err(self.too_many(name, tree)),
        };
        match name {
            "count" | "len" => one(Fn::Count),
            "sum" => one(Fn::Sum),
            "min" => one(Fn::Min),
            "max" => one(Fn::Max),
            "avg" | "mean" => one(Fn::Mean),
            "ordered_sum" => one(Fn::OrderedSum),
            "ordered_avg" | "ordered_mean" => one(Fn::OrderedMean),
            "var_pop" => one(Fn::Variance(0)),
            "std_pop" | "stddev_pop" => one(Fn::StdDev(0)),
            "ordered_var_pop" => one(Fn::OrderedVariance(0)),
            "ordered_std_pop" => one(Fn::OrderedStdDev(0)),
            "ordered_var" => Ok(Fn::OrderedVariance(self.ddof(name, parameters, tree)?)),
            "ordered_std" => Ok(Fn::OrderedStdDev(self.ddof(name, parameters, tree)?)),
            "var" | "variance" | "var_samp" => Ok(Fn::Variance(self.ddof(name, parameters, tree)?)),
            "std" | "stddev" | "stddev_samp" => Ok(Fn::StdDev(self.ddof(name, parameters, tree)?)),
            "first" => one(Fn::First),
            "last" => one(Fn::Last),
            "n_unique" => one(Fn::NUnique),
            "median" => one(Fn::Quantile(0.5)),
            "quantile" | "quantile_cont" | "percentile_cont" => match parameters {
                [share] => Ok(Fn::Quantile(self.share(share)?)),
                _ => Err(self
                    .wrong(tree, format!("{name} takes a value and a share"))
                    .advice("for example quantile(x, 0.95)")),
            },
            "any" | "bool_or" => one(Fn::Any),
            "all" | "bool_and" => one(Fn::All),
            _ => match parameters {
                [] => Ok(Fn::Concat(String::new())),
                [separator] => Ok(Fn::Concat(self.text_literal(separator, "a separator")?)),
                _ => Err(self.too_many(name, tree)),
            },
        }
    }

    fn too_many(&self, name: &str, tree: &Tree) -> Error {
        let hint = match name {
            "min" => "for the smallest of several values in a row use least(a, b)",
            "max" => "for the largest of several values in a row use greatest(a, b)",
            _ => "remove the others",
        };
        self.wrong(tree, format!("{name} takes one value")).advice(hint)
    }

    fn ddof(&self, name: &str, parameters: &[&Tree], tree: &Tree) -> Result<u8> {
        let [written] = parameters else {
            return if parameters.is_empty() { Ok(1) } else { Err(self.too_many(name, tree)) };
        };
        match self.literal(written, "the degrees of freedom")? {
            Scalar::Int64(ddof) => u8::try_from(ddof).ok(),
            _ => None,
        }
        .ok_or_else(|| self.wrong(*written, format!("the degrees of freedom are 0 to 255, not `{written}`")))
    }

    #[expect(clippy::cast_precision_loss, reason = "whole shares are 0 and 1")]
    fn share(&self, tree: &Tree) -> Result<f64> {
        match self.literal(tree, "the share")? {
            Scalar::Float64(share) => Ok(share),
            Scalar::Int64(share) => Ok(share as f64),
            _ => Err(self.wrong(tree, format!("the share must be a number between 0 and 1, not `{tree}`"))),
        }
    }
}
