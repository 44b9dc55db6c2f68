//! Valid files read as Polars reads them.

use pelton::columnar::{DataType, RecordBatch, Scalar};
use polars::prelude as pl;
use polars::prelude::{SerReader, SerWriter};
use proptest::prelude::*;

use crate::support::{csv, ndjson, read_bytes};

type Row = (Option<i64>, Option<f64>, Option<bool>, Option<String>);

fn row() -> impl Strategy<Value = Row> {
    let text = prop::sample::select(vec!["a", "b c", "x,y", "say \"hi\"", "two\nlines", "é😀", "5", "true", " pad "]);
    (
        any::<Option<i64>>(),
        prop::option::of(-1e9..1e9),
        any::<Option<bool>>(),
        prop::option::of(text.prop_map(str::to_owned)),
    )
}

fn columns() -> [(&'static str, DataType); 4] {
    [("i", DataType::Int64), ("f", DataType::Float64), ("b", DataType::Boolean), ("s", DataType::Utf8)]
}

fn frame(rows: &[Row]) -> pl::DataFrame {
    pl::df!(
        "i" => rows.iter().map(|row| row.0).collect::<Vec<_>>(),
        "f" => rows.iter().map(|row| row.1).collect::<Vec<_>>(),
        "b" => rows.iter().map(|row| row.2).collect::<Vec<_>>(),
        "s" => rows.iter().map(|row| row.3.clone()).collect::<Vec<_>>(),
    )
    .unwrap()
}

fn assert_equal(batch: &RecordBatch, frame: &pl::DataFrame) {
    assert_eq!(batch.num_rows(), frame.height());
    for (index, (name, _)) in columns().iter().enumerate() {
        let column = frame.column(name).unwrap();
        for row in 0..batch.num_rows() {
            let theirs = match column.get(row).unwrap() {
                pl::AnyValue::Null => Scalar::Null,
                pl::AnyValue::Int64(value) => Scalar::Int64(value),
                pl::AnyValue::Float64(value) => Scalar::Float64(value),
                pl::AnyValue::Boolean(value) => Scalar::Boolean(value),
                other => Scalar::Utf8(other.get_str().unwrap().to_owned()),
            };
            assert_eq!(Scalar::from_array(batch.column(index), row).unwrap(), theirs, "{name} {row}");
        }
    }
}

fn polars_schema() -> pl::SchemaRef {
    let types = [pl::DataType::Int64, pl::DataType::Float64, pl::DataType::Boolean, pl::DataType::String];
    columns()
        .iter()
        .zip(types)
        .map(|((name, _), data_type)| pl::Field::new((*name).into(), data_type))
        .collect::<pl::Schema>()
        .into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn csv_reads_as_polars_reads_it(rows in prop::collection::vec(row(), 1..40)) {
        let mut bytes = Vec::new();
        pl::CsvWriter::new(&mut bytes).finish(&mut frame(&rows)).unwrap();
        let theirs = pl::CsvReadOptions::default()
            .with_schema(Some(polars_schema()))
            .into_reader_with_file_handle(std::io::Cursor::new(&bytes))
            .finish()
            .unwrap();
        assert_equal(&read_bytes(&csv(&columns()), &bytes).unwrap().0, &theirs);
    }

    #[test]
    fn ndjson_reads_as_polars_reads_it(rows in prop::collection::vec(row(), 1..40)) {
        let mut bytes = Vec::new();
        pl::JsonWriter::new(&mut bytes).with_json_format(pl::JsonFormat::JsonLines).finish(&mut frame(&rows)).unwrap();
        let theirs = pl::JsonReader::new(std::io::Cursor::new(&bytes))
            .with_json_format(pl::JsonFormat::JsonLines)
            .with_schema(polars_schema())
            .finish()
            .unwrap();
        assert_equal(&read_bytes(&ndjson(&columns()), &bytes).unwrap().0, &theirs);
    }
}
