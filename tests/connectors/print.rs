use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pelton::connectors::print::PrintSink;
use pelton::connectors::{OutputBatch, Sink};
use pelton::error::ErrorKind;

use crate::contract::{check_sink, try_write, write};
use crate::tables::{number_schema, numbers};

/// A page that tests can read while a sink writes on it.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn sink(&self, rows_max: usize) -> PrintSink {
        PrintSink::to(Box::new(self.clone()), rows_max)
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn printing_keeps_the_contract_of_a_sink() {
    let page = Page::default();
    check_sink(&mut || Box::new(page.sink(100)), &mut || {
        let text = page.text();
        let cells = text.lines().filter(|line| !line.starts_with("batch")).flat_map(str::split_whitespace);
        cells.filter_map(|cell| cell.parse().ok()).collect()
    });
}

#[test]
fn a_batch_is_headed_by_its_id_its_time_and_its_rows() {
    let page = Page::default();
    let schema = number_schema();
    let partitions = vec![vec![numbers(0..2)], vec![], vec![numbers(2..3)]];
    let time = Duration::from_millis(1_700_000_000_123);
    page.sink(2).write(&OutputBatch { batch_id: 7, time, schema: &schema, partitions: &partitions }).unwrap();
    let text = page.text();
    assert!(text.starts_with("batch 7 at 2023-11-14 22:13:20.123 UTC, 3 rows\n"), "{text}");
    assert!(text.contains("number") && text.contains("1 more row"), "{text}");
    assert!(text.ends_with("\n\n"), "{text:?}");
}

#[test]
fn a_name_is_said_above_each_table() {
    let page = Page::default();
    let mut sink = page.sink(10).named("per class");
    write(&mut sink, 0, &[]);
    write(&mut sink, 1, &[]);
    let head = |id| format!("batch {id} of \"per class\" at 1970-01-01 00:00:0{id}.000 UTC, 0 rows\n\n");
    assert_eq!(page.text(), [0, 1].map(head).concat());
}

#[test]
fn a_batch_without_rows_is_one_line() {
    let page = Page::default();
    write(&mut page.sink(10), 0, &[]);
    assert_eq!(page.text(), "batch 0 at 1970-01-01 00:00:00.000 UTC, 0 rows\n\n");
}

#[test]
fn a_reader_that_went_away_and_a_full_disk_are_told_apart() {
    for (broken, kind) in
        [(io::ErrorKind::BrokenPipe, ErrorKind::Closed), (io::ErrorKind::StorageFull, ErrorKind::Connector)]
    {
        let mut sink = PrintSink::to(Box::new(Broken(broken)), 10);
        assert_eq!(try_write(&mut sink, 0, &[&[1]]).unwrap_err().kind(), kind);
    }
}
