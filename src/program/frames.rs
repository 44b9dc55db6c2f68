//! Polars frames in and out.

use polars::prelude::DataFrame;

use super::compile::Program;
use crate::columnar::polars::{from_frame, to_frame};
use crate::error::Result;

impl Program {
    /// The answer of a frame as a frame. Values go in and out as [`columnar::polars`](crate::columnar::polars) says:
    /// most of them without a copy.
    ///
    /// ```
    /// use pelton::columnar::polars::schema_of;
    /// use pelton::prelude::*;
    /// use polars::prelude::df;
    ///
    /// let people = df!("city" => ["Oslo", "Rome", "Oslo"], "age" => [17, 30, 40]).expect("columns of one length");
    /// let chain = Chain::new().key_by([col("city")]).aggregate([col("age").max().alias("oldest")]);
    /// let program = Program::compile(&schema_of(&people)?, &chain, Device::Auto)?;
    /// let oldest = program.run_frame(&people)?;
    /// assert_eq!(oldest, df!("city" => ["Oslo", "Rome"], "oldest" => [40, 30]).expect("columns of one length"));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Program::run`]; a type that the engine or Polars does not take.
    pub fn run_frame(&self, frame: &DataFrame) -> Result<DataFrame> {
        to_frame(&self.run_all(&from_frame(frame)?)?)
    }
}
