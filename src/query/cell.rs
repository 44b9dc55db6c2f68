//! Rust values as columns, for closures: what `map_lines` gives and `reduce` takes.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types as arrow;
use arrow_array::{ArrayRef, BooleanArray, PrimitiveArray, StringArray};

use crate::columnar::{DataType, Field};

/// A Rust value that is a value of a column: `bool`, the integers, `f32`, `f64`, `String`, and `Option` of these.
pub trait Cell: Sized + Send + sealed::Sealed + 'static {
    /// Whether there can be no value.
    const NULLABLE: bool;

    /// The type of the column.
    fn data_type() -> DataType;

    /// The values as a column.
    fn write(values: Vec<Self>) -> ArrayRef;

    /// The values of a column of this type. Nulls are left out, unless the type can hold them.
    fn read(column: &ArrayRef) -> Vec<Self>;

    /// The value in each row of a column of this type; none for a null that the type cannot hold.
    fn read_each(column: &ArrayRef) -> Vec<Option<Self>>;
}

/// A Rust value that is a row: a [`Cell`], which becomes the column `value`, a tuple of up to six, which become `_1`, `_2`,
/// …, or `()` for no columns.
pub trait Row: Sized + Send + 'static {
    /// The columns.
    fn fields() -> Vec<Field>;

    /// The rows as columns.
    fn columns(rows: Vec<Self>) -> Vec<ArrayRef>;

    /// The value in each of so many rows of columns of these types; none for a row with a null that its type cannot hold.
    fn read_rows(columns: &[ArrayRef], rows: usize) -> Vec<Option<Self>>;
}

mod sealed {
    /// Kept to the types below, so that a tuple can never be a cell.
    pub trait Sealed {}
}

macro_rules! primitive_cells {
    ($($native:ty => $arrow:ident),* $(,)?) => {$(
        impl sealed::Sealed for $native {}
        impl sealed::Sealed for Option<$native> {}

        impl Cell for $native {
            const NULLABLE: bool = false;

            fn data_type() -> DataType {
                DataType::$arrow
            }

            fn write(values: Vec<Self>) -> ArrayRef {
                Arc::new(PrimitiveArray::<cell_type!($arrow)>::from_iter_values(values))
            }

            fn read(column: &ArrayRef) -> Vec<Self> {
                column.as_primitive::<cell_type!($arrow)>().iter().flatten().collect()
            }

            fn read_each(column: &ArrayRef) -> Vec<Option<Self>> {
                column.as_primitive::<cell_type!($arrow)>().iter().collect()
            }
        }

        impl Cell for Option<$native> {
            const NULLABLE: bool = true;

            fn data_type() -> DataType {
                DataType::$arrow
            }

            fn write(values: Vec<Self>) -> ArrayRef {
                Arc::new(values.into_iter().collect::<PrimitiveArray<cell_type!($arrow)>>())
            }

            fn read(column: &ArrayRef) -> Vec<Self> {
                column.as_primitive::<cell_type!($arrow)>().iter().collect()
            }

            fn read_each(column: &ArrayRef) -> Vec<Option<Self>> {
                Self::read(column).into_iter().map(Some).collect()
            }
        }
    )*};
}

macro_rules! cell_type {
    (Int8) => {
        arrow::Int8Type
    };
    (Int16) => {
        arrow::Int16Type
    };
    (Int32) => {
        arrow::Int32Type
    };
    (Int64) => {
        arrow::Int64Type
    };
    (UInt8) => {
        arrow::UInt8Type
    };
    (UInt16) => {
        arrow::UInt16Type
    };
    (UInt32) => {
        arrow::UInt32Type
    };
    (UInt64) => {
        arrow::UInt64Type
    };
    (Float32) => {
        arrow::Float32Type
    };
    (Float64) => {
        arrow::Float64Type
    };
}

primitive_cells! {
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => UInt8, u16 => UInt16, u32 => UInt32, u64 => UInt64,
    f32 => Float32, f64 => Float64,
}

macro_rules! other_cells {
    ($($native:ty, $arrow:ident, $array:ty, $read:expr;)*) => {$(
        impl sealed::Sealed for $native {}
        impl sealed::Sealed for Option<$native> {}

        impl Cell for $native {
            const NULLABLE: bool = false;

            fn data_type() -> DataType {
                DataType::$arrow
            }

            fn write(values: Vec<Self>) -> ArrayRef {
                Arc::new(<$array>::from(values))
            }

            fn read(column: &ArrayRef) -> Vec<Self> {
                Option::<Self>::read(column).into_iter().flatten().collect()
            }

            fn read_each(column: &ArrayRef) -> Vec<Option<Self>> {
                Option::<Self>::read(column)
            }
        }

        impl Cell for Option<$native> {
            const NULLABLE: bool = true;

            fn data_type() -> DataType {
                DataType::$arrow
            }

            fn write(values: Vec<Self>) -> ArrayRef {
                Arc::new(<$array>::from(values))
            }

            fn read(column: &ArrayRef) -> Vec<Self> {
                $read(column)
            }

            fn read_each(column: &ArrayRef) -> Vec<Option<Self>> {
                Self::read(column).into_iter().map(Some).collect()
            }
        }
    )*};
}

other_cells! {
    bool, Boolean, BooleanArray, |column: &ArrayRef| column.as_boolean().iter().collect();
    String, Utf8, StringArray, |column: &ArrayRef| {
        column.as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect()
    };
}

impl<T: Cell> Row for T {
    fn fields() -> Vec<Field> {
        vec![Field::new("value", T::data_type(), T::NULLABLE)]
    }

    fn columns(rows: Vec<Self>) -> Vec<ArrayRef> {
        vec![T::write(rows)]
    }

    fn read_rows(columns: &[ArrayRef], _: usize) -> Vec<Option<Self>> {
        columns.first().map(T::read_each).unwrap_or_default()
    }
}

impl Row for () {
    fn fields() -> Vec<Field> {
        Vec::new()
    }

    fn columns(_: Vec<Self>) -> Vec<ArrayRef> {
        Vec::new()
    }

    fn read_rows(_: &[ArrayRef], rows: usize) -> Vec<Option<Self>> {
        vec![Some(()); rows]
    }
}

macro_rules! tuple_rows {
    ($($($cell:ident $column:ident $name:literal),+;)*) => {$(
        impl<$($cell: Cell),+> Row for ($($cell,)+) {
            fn fields() -> Vec<Field> {
                vec![$(Field::new($name, $cell::data_type(), $cell::NULLABLE)),+]
            }

            fn columns(rows: Vec<Self>) -> Vec<ArrayRef> {
                $(let mut $column = Vec::with_capacity(rows.len());)+
                for row in rows {
                    #[expect(non_snake_case, reason = "the names of the type parameters")]
                    let ($($cell,)+) = row;
                    $($column.push($cell);)+
                }
                vec![$($cell::write($column)),+]
            }

            fn read_rows(columns: &[ArrayRef], rows: usize) -> Vec<Option<Self>> {
                let mut columns = columns.iter();
                $(let mut $column = columns.next().map($cell::read_each).unwrap_or_default().into_iter();)+
                let row = |_| {
                    // Each column goes on, whatever the others hold.
                    $(let $column = $column.next().flatten();)+
                    Some(($($column?,)+))
                };
                (0..rows).map(row).collect()
            }
        }
    )*};
}

tuple_rows! {
    A a "_1", B b "_2";
    A a "_1", B b "_2", C c "_3";
    A a "_1", B b "_2", C c "_3", D d "_4";
    A a "_1", B b "_2", C c "_3", D d "_4", E e "_5";
    A a "_1", B b "_2", C c "_3", D d "_4", E e "_5", F f "_6";
}
