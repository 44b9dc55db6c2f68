//! What must run once, however many branches use its rows. A rule counts a row once, and the quarantine has it once. And what
//! keeps something from batch to batch keeps it once: two of one name would do the work twice, and write over each other's
//! state in a checkpoint.
//!
//! A step of these kinds that is reached on several ways becomes a cache. One that is reached on one way stays fused with
//! what follows.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::analyze::{Node, Op};
use super::optimize::rebuilt;

/// The same outputs, with a cache above each step that must run once and is used more than once.
pub(super) fn shared_once(outputs: &[Arc<Node>]) -> Vec<Arc<Node>> {
    let mut uses = BTreeMap::new();
    outputs.iter().for_each(|node| count(node, &mut uses));
    if uses.is_empty() {
        return outputs.to_vec();
    }
    let mut done = BTreeMap::new();
    outputs.iter().map(|node| shared(node, &uses, &mut done)).collect()
}

/// On how many ways each of these steps is reached. What lies below one, or below a cache, is counted once.
fn count(node: &Arc<Node>, uses: &mut BTreeMap<*const Node, usize>) {
    if runs_once(node) || matches!(node.op, Op::Cache { .. }) {
        let ways = uses.entry(Arc::as_ptr(node)).or_default();
        *ways += 1;
        if *ways > 1 {
            return;
        }
    }
    node.inputs().into_iter().for_each(|input| count(input, uses));
}

fn runs_once(node: &Node) -> bool {
    match &node.op {
        Op::Validate { .. }
        | Op::Keep { .. }
        | Op::MapState { .. }
        | Op::FoldWindows { .. }
        | Op::DropDuplicates { .. }
        | Op::JoinStreams { .. } => true,
        Op::Source { .. }
        | Op::Filter { .. }
        | Op::Project { .. }
        | Op::Explode { .. }
        | Op::Map { .. }
        | Op::Transform { .. }
        | Op::Join { .. }
        | Op::JoinAsof { .. }
        | Op::Reduce { .. }
        | Op::Watermark { .. }
        | Op::Late { .. }
        | Op::ReduceWith { .. }
        | Op::Distinct { .. }
        | Op::Union { .. }
        | Op::Sort { .. }
        | Op::Limit { .. }
        | Op::Repartition { .. }
        | Op::Cache { .. } => false,
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
    if runs_once(node) && uses.get(&Arc::as_ptr(node)).is_some_and(|ways| *ways > 1) {
        let schema = Arc::clone(&node.schema);
        new = Arc::new(Node { op: Op::Cache { input: new }, schema });
    }
    done.insert(Arc::as_ptr(node), Arc::clone(&new));
    new
}
