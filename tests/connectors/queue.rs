use pelton::connectors::queue::QueueSource;
use pelton::connectors::{Available, ReadLimits, Source};
use pelton::error::ErrorKind;

use crate::contract::check_source;
use crate::tables::{next, number_schema, numbers, rows, text};

#[test]
fn a_queue_keeps_the_contract() {
    let parts = [numbers(0..5), numbers(5..5), numbers(5..40_000), numbers(40_000..40_001)];
    check_source(&mut || Box::new(QueueSource::of(number_schema(), parts.clone()).unwrap()), &numbers(0..40_001));
}

#[test]
fn each_entry_is_one_micro_batch_whatever_the_limits() {
    let (queue, mut source) = QueueSource::new(number_schema());
    queue.push(vec![numbers(0..3), numbers(3..10)]).unwrap();
    queue.push(vec![]).unwrap();
    let limits = ReadLimits { rows_max: Some(1), ..ReadLimits::default() };
    let Available::Range(first) = source.next_range(&limits).unwrap() else { panic!("no range") };
    assert_eq!(rows(&mut source, &first, 4), numbers(0..10));
    let second = next(&mut source);
    assert_eq!(rows(&mut source, &second, 4), numbers(0..0));
    assert_eq!(source.next_range(&limits).unwrap(), Available::Nothing);
    queue.close();
    assert_eq!(source.next_range(&limits).unwrap(), Available::Ended);
}

#[test]
fn a_committed_entry_is_let_go() {
    let mut source = QueueSource::of(number_schema(), [numbers(0..3)]).unwrap();
    let range = next(&mut source);
    source.commit(&range).unwrap();
    assert_eq!(source.read(&range, 1).map(|_| ()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_queue_takes_neither_other_schemas_nor_batches_after_its_end() {
    let (queue, _source) = QueueSource::new(number_schema());
    let error = queue.push(vec![text(&["one"])]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.to_string().contains("number Int64"), "{error}");
    queue.close();
    assert_eq!(queue.push(vec![]).unwrap_err().kind(), ErrorKind::Closed);
}
