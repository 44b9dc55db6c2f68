//! What aggregates take and give, as documented at [`AggregateFunction`].

use super::coerce::{condition, convert, decoded, describe, number};
use super::operators::comparable;
use super::signature::sum_type;
use super::typing::{expression, in_expression};
use super::{Aggregate, AggregateFunction, TypedAggregate, TypedExpr};
use crate::columnar::data_type::{is_text, leaf};
use crate::columnar::{DataType, Schema};
use crate::error::{Error, Result};

impl Aggregate {
    /// The aggregate with its columns resolved in `schema` and the type of its result.
    ///
    /// ```
    /// use pelton::columnar::{DataType, Field, Schema};
    /// use pelton::expr::col;
    ///
    /// let schema = Schema::new(vec![Field::new("clicks", DataType::Int32, true)]);
    /// assert_eq!(col("clicks").sum().typed(&schema)?.data_type, DataType::Int64);
    /// # Ok::<(), pelton::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`super::Expr::typed`]; also a share outside 0..=1.
    pub fn typed(&self, schema: &Schema) -> Result<TypedAggregate> {
        typed(self, schema).map_err(|error| in_expression(error, &self.to_string()))
    }
}

fn typed(aggregate: &Aggregate, schema: &Schema) -> Result<TypedAggregate> {
    let function = &aggregate.function;
    let filter = aggregate
        .filter
        .as_ref()
        .map(|filter| condition(expression(filter, schema)?, "the condition of FILTER"))
        .transpose()?;
    let input = aggregate.input.as_ref().map(|input| expression(input, schema)).transpose()?;
    let (input, data_type) = match (input, function) {
        (None, AggregateFunction::Len) => (None, DataType::Int64),
        (Some(_), AggregateFunction::Len) => {
            return Err(Error::invalid_query("the number of rows takes no values").advice("use count(x)"));
        }
        (None, _) => {
            return Err(Error::invalid_query(format!("{} needs values", function.name())));
        }
        (Some(input), _) => {
            let (input, data_type) = signature(function, input)?;
            (Some(input), data_type)
        }
    };
    let name = aggregate.output_name();
    Ok(TypedAggregate { function: function.clone(), input, filter, name, data_type })
}

/// The input as the function takes it, and the type of the result.
fn signature(function: &AggregateFunction, input: TypedExpr) -> Result<(TypedExpr, DataType)> {
    let name = function.name();
    Ok(match function {
        AggregateFunction::Len | AggregateFunction::Count => (input, DataType::Int64),
        AggregateFunction::Sum => {
            let is_span = matches!(leaf(&input.data_type), DataType::Duration(_));
            let input = if is_span { decoded(input)? } else { number(input, name)? };
            let data_type = sum_type(&input.data_type);
            (input, data_type)
        }
        AggregateFunction::Min | AggregateFunction::Max => {
            comparable(&input, name)?;
            let data_type = input.data_type.clone();
            (input, data_type)
        }
        AggregateFunction::NUnique => {
            comparable(&input, name)?;
            (input, DataType::Int64)
        }
        AggregateFunction::First | AggregateFunction::Last => {
            let data_type = input.data_type.clone();
            (input, data_type)
        }
        AggregateFunction::Mean | AggregateFunction::Variance(_) | AggregateFunction::StdDev(_) => {
            (number(input, name)?, DataType::Float64)
        }
        AggregateFunction::OrderedSum
        | AggregateFunction::OrderedMean
        | AggregateFunction::OrderedVariance(_)
        | AggregateFunction::OrderedStdDev(_) => {
            let input = number(input, name)?;
            if !input.data_type.is_floating() {
                let message = format!("{name} takes floats, but {} is {}", describe(&input), input.data_type);
                return Err(Error::invalid_query(message)
                    .advice("whole numbers and decimals are exact in any order: use sum, mean, var or std"));
            }
            (input, DataType::Float64)
        }
        AggregateFunction::Quantile(share) => {
            if !(0.0..=1.0).contains(share) {
                return Err(Error::invalid_query(format!("quantile: the share {share} does not lie between 0 and 1"))
                    .advice("0.5 is the median"));
            }
            (number(input, name)?, DataType::Float64)
        }
        AggregateFunction::Any | AggregateFunction::All => (condition(input, name)?, DataType::Boolean),
        AggregateFunction::Concat(_) => {
            if !is_text(leaf(&input.data_type)) && input.data_type != DataType::Null {
                let message = format!("concat takes text, but {} is none", describe(&input));
                return Err(Error::invalid_query(message).advice("cast it: cast(x as text)"));
            }
            (convert(input, &DataType::Utf8)?, DataType::Utf8)
        }
    })
}
