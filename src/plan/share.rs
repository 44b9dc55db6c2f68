//! Validations run once, however many branches use their rows: a rule counts a row once, and the quarantine has it once. So
//! do rules of keys that may come once.
//!
//! A validation that is reached on several ways becomes a cache. One that is reached on one way stays fused with what
//! follows.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::analyze::{Node, Op};
use super::optimize::rebuilt;

/// The same outputs, with a cache above each validation that is used more than once.
pub(super) fn validated_once(outputs: &[Arc<Node>]) -> Vec<Arc<Node>> {
    let mut uses = BTreeMap::new();
    outputs.iter().for_each(|node| count(node, &mut uses));
    if uses.is_empty() {
        return outputs.to_vec();
    }
    let mut done = BTreeMap::new();
    outputs.iter().map(|node| shared(node, &uses, &mut done)).collect()
}

/// On how many ways each validation is reached. What lies below one, or below a cache, is counted once.
fn count(node: &Arc<Node>, uses: &mut BTreeMap<*const Node, usize>) {
    if has_rules(node) || matches!(node.op, Op::Cache { .. }) {
        let ways = uses.entry(Arc::as_ptr(node)).or_default();
        *ways += 1;
        if *ways > 1 {
            return;
        }
    }
    node.inputs().into_iter().for_each(|input| count(input, uses));
}

fn has_rules(node: &Node) -> bool {
    match &node.op {
        Op::Validate { .. } => true,
        Op::DropDuplicates { drop, .. } => drop.rule.is_some(),
        _ => false,
    }
}

/// Nodes by their addresses, with what became of them.
type Done = BTreeMap<*const Node, Arc<Node>>;

fn shared(node: &Arc<Node>, uses: &BTreeMap<*const Node, usize>, done: &mut Done) -> Arc<Node> {
    if let Some(known) = done.get(&Arc::as_ptr(node)) {
        return Arc::clone(known);
    }
    let mut new = match node.op {
        Op::Source { .. } => Arc::clone(node),
        _ => Arc::new(rebuilt(node, &mut |input| shared(input, uses, done))),
    };
    if has_rules(node) && uses.get(&Arc::as_ptr(node)).is_some_and(|ways| *ways > 1) {
        let schema = Arc::clone(&node.schema);
        new = Arc::new(Node { op: Op::Cache { input: new }, schema });
    }
    done.insert(Arc::as_ptr(node), Arc::clone(&new));
    new
}
