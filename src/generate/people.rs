//! `people`: name, age and city.

use std::sync::Arc;

use arrow_array::Int64Array;

use super::draw::{Draw, KeyDraw, index};
use super::text_column::TextColumn;
use super::{Generator, Options, TextForm, batch_of, key_count, row_numbers, schema_of};
use crate::columnar::{DataType, RecordBatch, SchemaRef};
use crate::error::Result;

const FIRST_NAMES: [&str; 20] = [
    "Ada", "Björn", "Chiara", "Dmitri", "Emeka", "Fatima", "Grace", "Hiroshi", "Inés", "Jakub", "Kofi", "Lena", "Maya",
    "Noor", "Olga", "Pedro", "Quinn", "Rosa", "Søren", "Tuấn",
];
const LAST_NAMES: [&str; 16] = [
    "Adler",
    "Brook",
    "Castell",
    "Drum",
    "Eklund",
    "Fiore",
    "Garza",
    "Holm",
    "Ito",
    "Jansen",
    "Kaya",
    "Lindqvist",
    "Moreau",
    "Novák",
    "Okafor",
    "Petit",
];
/// Cities that exist only here.
const CITIES: [&str; 12] = [
    "Arden",
    "Brückheim",
    "Castrova",
    "Dunmere",
    "Eastwick",
    "Fjordby",
    "Granport",
    "Highvale",
    "Isola",
    "Juniper",
    "Kingsmoor",
    "Lakeside",
];

#[derive(Debug)]
struct People {
    schema: SchemaRef,
    first_name: Draw,
    last_name: Draw,
    age: Draw,
    city: KeyDraw,
}

pub(super) fn make(seed: u64, options: &Options) -> Result<Arc<dyn Generator>> {
    let cities = CITIES.len() as u64;
    Ok(Arc::new(People {
        schema: schema_of(&[("name", DataType::Utf8), ("age", DataType::Int64), ("city", DataType::Utf8)]),
        first_name: Draw::new(seed, 0),
        last_name: Draw::new(seed, 1),
        age: Draw::new(seed, 2),
        city: KeyDraw::new(seed, 3, key_count(options, cities, cities)?, options),
    }))
}

impl Generator for People {
    fn name(&self) -> &'static str {
        "people"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn text_form(&self) -> TextForm {
        TextForm::Separated { separator: b',', header: true }
    }

    fn rows(&self, first_row: u64, rows: usize) -> Result<RecordBatch> {
        let numbers = row_numbers(first_row, rows)?;
        let mut names = TextColumn::with_capacity(rows, 14);
        let mut cities = TextColumn::with_capacity(rows, 9);
        for row in numbers.clone() {
            names.add(self.first_name.pick(row, &FIRST_NAMES)).add(" ");
            names.add(self.last_name.pick(row, &LAST_NAMES)).end();
            cities.add(CITIES[index(self.city.key(row))]).end();
        }
        let ages = Int64Array::from_iter_values(numbers.map(|row| self.age.between(row, 0, 99)));
        batch_of(&self.schema, vec![names.finish()?, Arc::new(ages), cities.finish()?])
    }
}
