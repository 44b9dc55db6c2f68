//! `measurements`: a weather station's name and a temperature, as in the one-billion-row challenge.

use std::sync::Arc;

use arrow_array::Float64Array;

use super::draw::{Draw, KeyDraw, index};
use super::text_column::TextColumn;
use super::{Generator, Options, TextForm, batch_of, key_count, row_numbers, schema_of};
use crate::columnar::{DataType, RecordBatch, SchemaRef};
use crate::error::Result;

/// First and second halves of the stations' names. All are made up, and some need several bytes a letter.
const FIRST: [&str; 24] = [
    "Alder", "Birken", "Čern", "Dun", "Eis", "Fjäll", "Grün", "Hōri", "Île-", "Jökul", "Kara", "Lōn", "Meadow", "Nord",
    "Ött", "Pine", "Quarz", "Rauða", "San ", "Tre", "Ül", "Vær", "Wind", "雪",
];
const SECOND: [&str; 20] = [
    "berg", "by", "dal", "feld", "gård", "haven", "kirch", "lund", "minster", "näs", "point", "river", "sjö", "stad",
    "tal", "ústí", "ville", "wick", "ý", "川",
];
const STATIONS: u64 = FIRST.len() as u64 * SECOND.len() as u64;

/// Temperatures in tenths of a degree: the coldest and warmest station's mean, the extremes, and the usual deviation.
const MEANS: (i64, i64) = (-120, 310);
const EXTREMES: (i64, i64) = (-999, 999);
const DEVIATION: f64 = 100.0;

#[derive(Debug)]
struct Measurements {
    schema: SchemaRef,
    station: KeyDraw,
    mean: Draw,
    deviation: Draw,
    names: Vec<String>,
}

pub(super) fn make(seed: u64, options: &Options) -> Result<Arc<dyn Generator>> {
    let stations = key_count(options, STATIONS, STATIONS)?;
    // Stride 7 has no factor in common with the number of names: a few stations already show many first halves.
    let name = |station: u64| {
        let place = station * 7 % STATIONS;
        let (first, second) = (place % FIRST.len() as u64, place / FIRST.len() as u64);
        format!("{}{}", FIRST[index(first)], SECOND[index(second)])
    };
    Ok(Arc::new(Measurements {
        schema: schema_of(&[("station", DataType::Utf8), ("temperature", DataType::Float64)]),
        station: KeyDraw::new(seed, 0, stations, options),
        mean: Draw::new(seed, 1),
        deviation: Draw::new(seed, 2),
        names: (0..stations).map(name).collect(),
    }))
}

impl Generator for Measurements {
    fn name(&self) -> &'static str {
        "measurements"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn text_form(&self) -> TextForm {
        TextForm::Separated { separator: b';', header: false }
    }

    fn rows(&self, first_row: u64, rows: usize) -> Result<RecordBatch> {
        let numbers = row_numbers(first_row, rows)?;
        let mut stations = TextColumn::with_capacity(rows, 10);
        let mut temperatures = Vec::with_capacity(rows);
        for row in numbers {
            let station = self.station.key(row);
            stations.add(&self.names[index(station)]).end();
            let mean = self.mean.between(station, MEANS.0, MEANS.1);
            temperatures.push(tenths(mean, self.deviation.normal(row)));
        }
        batch_of(&self.schema, vec![stations.finish()?, Arc::new(Float64Array::from(temperatures))])
    }
}

/// The float nearest to a whole number of tenths, which prints with one decimal.
#[expect(clippy::cast_possible_truncation, reason = "a deviation is at most 6 times 100 tenths")]
fn tenths(mean: i64, deviation: f64) -> f64 {
    let tenths = mean + (deviation * DEVIATION) as i64;
    tenths.clamp(EXTREMES.0, EXTREMES.1) as f64 / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stations_have_different_names() {
        let names: std::collections::BTreeSet<String> =
            FIRST.iter().flat_map(|first| SECOND.iter().map(move |second| format!("{first}{second}"))).collect();
        assert_eq!(names.len() as u64, STATIONS);
    }
}
