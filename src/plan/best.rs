//! What of groups that are kept is looked at: where the first few by an order are all that anybody takes of them, the rest
//! need not come out.

use super::QueryPlan;
use super::keep::{Best, Span};
use super::stage::{End, SortKey, Stage, StageId, StageInput, Step};

/// Tells stages that keep groups for good when only the first few of these are taken.
pub(super) fn tell(plan: &mut QueryPlan) {
    let found = plan.stages.iter().filter_map(|reader| asked(plan, reader)).collect::<Vec<_>>();
    for (id, best) in found {
        if let Some(Stage { end: End::Keep(keep), .. }) = plan.stages.get_mut(id.0) {
            keep.best = Some(best);
        }
    }
}

/// The stage of which a reader takes the first rows only, if nobody else reads it.
fn asked(plan: &QueryPlan, reader: &Stage) -> Option<(StageId, Best)> {
    let (End::Sort { by, limit: Some(rows) }, [StageInput::Stage(id)]) = (&reader.end, &reader.inputs[..]) else {
        return None;
    };
    let readers = plan.stages.iter().flat_map(|stage| &stage.inputs).filter(|input| **input == StageInput::Stage(*id));
    if readers.count() > 1 || plan.outputs.contains(id) || *rows == 0 {
        return None;
    }
    let End::Keep(keep) = &plan.stages.get(id.0)?.end else { return None };
    if keep.span != Span::Always || keep.ttl.is_some() {
        return None;
    }
    // Whatever is computed of a row could fail, and must then do so for all.
    let places = by.iter().map(|key| place(&reader.steps, key)).collect::<Option<Vec<_>>>()?;
    let (first, column) = (by.first()?, *places.first()?);
    Some((*id, Best { rows: *rows, column, descending: first.descending, nulls_first: first.nulls_first }))
}

/// Which column of the input a key is, after steps that only choose columns.
fn place(steps: &[Step], key: &SortKey) -> Option<usize> {
    steps.iter().rev().try_fold(key.expr.as_column()?, |column, step| match step {
        Step::Project { columns, .. } if columns.iter().all(|column| column.expr.as_column().is_some()) => {
            columns.get(column)?.expr.as_column()
        }
        _ => None,
    })
}
