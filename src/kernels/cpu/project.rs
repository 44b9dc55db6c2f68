//! New columns from columns: the fast twin of [`crate::kernels::project`].

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatchOptions;

use super::eval::{Node, Scope, compile};
use crate::columnar::{ArrayRef, DataType, RecordBatch, SchemaRef};
use crate::error::Result;
use crate::expr::TypedExpr;

/// An expression, ready to run on many batches, from many threads.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::Int64Array;
/// use pelton::columnar::{ArrayRef, DataType, RecordBatch, Scalar};
/// use pelton::expr::{BinaryOp, TypedExpr, TypedNode};
/// use pelton::kernels::cpu::project::Program;
///
/// let typed = |node| Box::new(TypedExpr { node, data_type: DataType::Int64, nullable: false });
/// let (age, one) = (typed(TypedNode::Column(0, "age".into())), typed(TypedNode::Literal(Scalar::Int64(1))));
/// let program = Program::prepare(&typed(TypedNode::Binary(age, BinaryOp::Add, one)))?;
///
/// let ages: ArrayRef = Arc::new(Int64Array::from(vec![7, 41]));
/// let batch = RecordBatch::try_from_iter([("age", ages)])?;
/// assert_eq!(*program.evaluate(&batch)?, Int64Array::from(vec![8, 42]));
/// # Ok::<(), pelton::error::Error>(())
/// ```
pub struct Program {
    root: Node,
    data_type: DataType,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("root", &self.root).field("data_type", &self.data_type).finish()
    }
}

impl Program {
    /// Does all work that does not depend on data: compiles regular expressions, reads time patterns, builds sets.
    ///
    /// # Errors
    /// `InvalidQuery` for a regular expression, pattern or time zone that cannot be read.
    pub fn prepare(expr: &TypedExpr) -> Result<Self> {
        Ok(Self { root: compile(expr)?, data_type: expr.data_type.clone() })
    }

    /// One value for each row of `batch`.
    ///
    /// # Errors
    /// `Overflow` for a value that the type of its expression cannot hold; the message names the column.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        if batch.num_rows() == 0 {
            return Ok(arrow_array::new_empty_array(&self.data_type));
        }
        let scope = Scope::of(batch.columns(), batch.num_rows());
        self.root.evaluate(&scope)?.into_column(batch.num_rows())
    }

    /// The type of the values.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }
}

/// Some columns as they are.
pub(super) fn picked(batch: &RecordBatch, columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = columns.iter().map(|&index| Arc::clone(batch.column(index))).collect();
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
