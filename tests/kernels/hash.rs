//! Hashes are those of the definition, in every layout.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_cast::cast;
use pelton::columnar::{ArrayRef, DataType, Field, Scalar};
use pelton::kernels::cpu::hash::hash_rows;
use pelton::kernels::hash::reference;

use crate::{SIZES, batches, dictionary, list, plain, schema};

#[test]
fn columns_hash_as_the_reference() {
    let fields = vec![Field::new("x", DataType::Utf8, true), Field::new("y", DataType::Float64, true)];
    let nested = [list(DataType::Int32), list(DataType::Utf8), DataType::Struct(fields.into())];
    for data_type in plain().into_iter().chain(nested) {
        for batch in batches(&schema(&data_type)) {
            let found = hash_rows(batch.columns(), batch.num_rows()).unwrap();
            assert_eq!(found, reference(batch.columns(), batch.num_rows()).unwrap(), "{data_type}");
        }
    }
    assert!(SIZES.contains(&65));
}

#[test]
fn equal_values_hash_alike_in_every_layout() {
    let texts =
        Scalar::to_array(&["", "a", "12345678", "123456789", "straße"].map(Scalar::from), &DataType::Utf8).unwrap();
    let expected = hash_rows(std::slice::from_ref(&texts), texts.len()).unwrap();
    for layout in [DataType::LargeUtf8, DataType::Utf8View, dictionary(DataType::Utf8), DataType::Binary] {
        let same = cast(&texts, &layout).unwrap();
        assert_eq!(hash_rows(&[same], texts.len()).unwrap(), expected, "{layout}");
    }
    let numbers: ArrayRef = Scalar::to_array(&[0, 1, 127].map(|v: i64| Scalar::from(v)), &DataType::Int64).unwrap();
    let expected = hash_rows(std::slice::from_ref(&numbers), 3).unwrap();
    for width in [DataType::Int8, DataType::UInt64, DataType::UInt16] {
        assert_eq!(hash_rows(&[cast(&numbers, &width).unwrap()], 3).unwrap(), expected, "{width}");
    }
}

#[test]
fn equal_floats_hash_alike() {
    let values = [0.0, -0.0, f64::NAN, -f64::NAN].map(Scalar::from);
    let hashes = hash_rows(&[Scalar::to_array(&values, &DataType::Float64).unwrap()], 4).unwrap();
    assert_eq!(hashes.value(0), hashes.value(1));
    assert_eq!(hashes.value(2), hashes.value(3));
    assert_ne!(hashes.value(0), hashes.value(2));
}

#[test]
fn the_definition_never_changes() {
    // State is stored under these hashes: a new definition would lose it.
    let text = Scalar::to_array(&[Scalar::from("pelton")], &DataType::Utf8).unwrap();
    let number = Scalar::to_array(&[Scalar::from(42_i64)], &DataType::Int64).unwrap();
    let hash = |columns: &[ArrayRef]| hash_rows(columns, 1).unwrap().value(0);
    let found =
        [hash(std::slice::from_ref(&text)), hash(std::slice::from_ref(&number)), hash(&[Arc::clone(&text), number])];
    assert_eq!(text.as_string::<i32>().value(0), "pelton");
    assert_eq!(found, KNOWN, "{found:#018x?}");
}

const KNOWN: [u64; 3] = [0x5fc7_dfc3_b672_490f, 0xbdd7_3226_2feb_6e95, 0xc85d_d77d_884f_97ff];
