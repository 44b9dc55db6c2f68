//! The step `validate`: rules that rows must keep.

use super::document::{Node, Value};
use super::expressions::condition;
use super::keys::Keys;
use super::names::Names;
use super::remember::{MEMORIES, compared, memory};
use crate::error::{Error, Result};
use crate::plan::logical::Remember;
use crate::plan::rules::Verdict;
use crate::query::{DStream, Rule};

/// The keys of a rule.
pub(super) const KEYS: &[&str] =
    &["check", "not_null", "found_in", "on", "unique", "within_watermark", "window", "ttl", "else", "name"];

const VERDICTS: [(&str, Verdict); 4] =
    [("keep", Verdict::Keep), ("drop", Verdict::Drop), ("quarantine", Verdict::Quarantine), ("fail", Verdict::Fail)];

/// The stream under some rules: tables in a list, or a single one.
pub(super) fn validate(stream: &DStream, value: &Node, names: &Names) -> Result<DStream> {
    let nodes = match &value.value {
        Value::Array(nodes) => nodes.iter().collect(),
        _ => vec![value],
    };
    let checked = |node: &Node| {
        let said = rule(node, names)?;
        stream.validate([said.clone()]).schema().map_err(|error| node.spot.blame(error))?;
        Ok(said)
    };
    Ok(stream.validate(nodes.into_iter().map(checked).collect::<Result<Vec<_>>>()?))
}

fn rule(node: &Node, names: &Names) -> Result<Rule> {
    let Value::Table(_) = &node.value else {
        return Err(node.expected("rules such as { check = \"age >= 0\", else = \"drop\" }"));
    };
    let keys = Keys::of(node, "a rule")?;
    keys.only(&[KEYS])?;
    let tests = ["check", "not_null", "found_in", "unique"]
        .into_iter()
        .filter_map(|key| keys.optional(key))
        .collect::<Vec<_>>();
    let test = match tests.as_slice() {
        [one] => *one,
        [_, second, ..] => {
            let error = Error::invalid_query("a rule says one thing");
            return Err(second.spot.blame(error.advice("write two rules")));
        }
        [] => {
            let error = Error::invalid_query("a rule says nothing");
            let advice =
                "add check = \"age >= 0\", not_null = \"age\", unique = \"id\", or found_in with the name of a table";
            return Err(node.spot.blame(error.advice(advice)));
        }
    };
    if let Some(on) = keys.optional("on").filter(|_| test.key != "found_in") {
        return Err(on.spot.mistake("\"on\" goes with \"found_in\""));
    }
    if test.key != "unique"
        && let Some(memory) = MEMORIES.into_iter().find_map(|key| keys.optional(key))
    {
        return Err(memory.spot.mistake(format!("\"{}\" goes with \"unique\"", memory.key)));
    }
    let mut rule = match test.key.as_str() {
        "check" => Rule::holds(condition(test)?),
        "not_null" => {
            let columns = test.texts()?.into_iter().map(|column| column.text().map(str::to_owned));
            Rule::not_null(columns.collect::<Result<Vec<_>>>()?)
        }
        "unique" => Rule::unique_by(compared(test)?, memory(&keys)?.unwrap_or(Remember::Always)),
        _ => Rule::found_in(names.table(test)?, keys.required("on")?.pairs()?),
    };
    if let Some(name) = keys.optional("name") {
        rule = rule.named(name.text()?);
    }
    Ok(rule.verdict(keys.choice("else", &VERDICTS)?.unwrap_or_default()))
}
