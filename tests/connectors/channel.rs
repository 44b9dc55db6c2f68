use std::cell::RefCell;
use std::collections::BTreeMap;
use std::thread;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use pelton::connectors::channel::{ChannelReceiver, ChannelSink, Sent, channel};
use pelton::connectors::{Available, ReadLimits, Sink, Source};
use pelton::error::ErrorKind;

use crate::contract::{check_sink, check_source, try_write};
use crate::tables::{next, number_schema, numbers, rows, text};

#[test]
fn a_channel_into_a_query_keeps_the_contract() {
    let fresh = || {
        let (sender, source) = channel(number_schema(), u64::MAX);
        for (from, to) in [(0, 5), (5, 5), (5, 300), (300, 301)] {
            sender.send(numbers(from..to)).unwrap();
        }
        Box::new(source) as Box<dyn Source>
    };
    check_source(&mut { fresh }, &numbers(0..301));
}

#[test]
fn limits_cut_between_rows() {
    let (sender, mut source) = channel(number_schema(), u64::MAX);
    sender.send(numbers(0..100)).unwrap();
    let limits = ReadLimits { bytes_max: Some(80), ..ReadLimits::default() };
    let Available::Range(range) = source.next_range(&limits).unwrap() else { panic!("no range") };
    assert_eq!(rows(&mut source, &range, 1), numbers(0..10), "8 bytes a row");
    let limits = ReadLimits { rows_max: Some(3), ..ReadLimits::default() };
    let Available::Range(range) = source.next_range(&limits).unwrap() else { panic!("no range") };
    assert_eq!(rows(&mut source, &range, 1), numbers(10..13));
}

#[test]
fn a_full_channel_gives_the_batch_back_until_rows_are_committed() {
    let (sender, mut source) = channel(number_schema(), 100);
    assert_eq!(
        sender.try_send(numbers(0..50)).unwrap(),
        Sent::Accepted,
        "a single batch is taken even if it is larger"
    );
    let Sent::Full(batch) = sender.try_send(numbers(50..51)).unwrap() else { panic!("it took more than it may hold") };
    assert_eq!(batch, numbers(50..51));
    let range = next(&mut source);
    assert!(
        matches!(sender.try_send(batch.clone()).unwrap(), Sent::Full(_)),
        "rows given out are held until the commit"
    );
    source.commit(&range).unwrap();
    assert_eq!(sender.try_send(batch).unwrap(), Sent::Accepted);
}

#[test]
fn send_waits_for_room_and_loses_nothing() {
    let (sender, mut source) = channel(number_schema(), 64);
    let sending = thread::spawn(move || (0..200).try_for_each(|value| sender.send(numbers(value..value + 1))));
    let mut next_value = 0;
    loop {
        match source.next_range(&ReadLimits::default()).unwrap() {
            Available::Range(range) => {
                let batch = rows(&mut source, &range, 1);
                let end = next_value + i64::try_from(batch.num_rows()).unwrap();
                assert!(end - next_value <= 8, "more rows than the channel may hold");
                assert_eq!(batch, numbers(next_value..end));
                next_value = end;
                source.commit(&range).unwrap();
            }
            Available::Nothing => thread::yield_now(),
            Available::Ended => break,
        }
    }
    sending.join().unwrap().unwrap();
    assert_eq!(next_value, 200);
}

#[test]
fn a_channel_ends_with_its_last_sender_or_when_closed() {
    let (sender, mut source) = channel(number_schema(), 100);
    let other = sender.clone();
    drop(sender);
    assert_eq!(source.next_range(&ReadLimits::default()).unwrap(), Available::Nothing);
    other.send(numbers(0..1)).unwrap();
    drop(other);
    let range = next(&mut source);
    assert_eq!(rows(&mut source, &range, 1), numbers(0..1));
    assert_eq!(source.next_range(&ReadLimits::default()).unwrap(), Available::Ended);

    let (sender, mut source) = channel(number_schema(), 100);
    sender.close();
    assert_eq!(source.next_range(&ReadLimits::default()).unwrap(), Available::Ended);
    assert_eq!(sender.send(numbers(0..1)).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_sender_that_waits_is_told_when_the_query_is_gone() {
    let (sender, source) = channel(number_schema(), 1);
    sender.send(numbers(0..1)).unwrap();
    let waiting = thread::spawn({
        let sender = sender.clone();
        move || sender.send(numbers(1..2))
    });
    drop(source);
    assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(sender.try_send(numbers(2..3)).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_batch_of_another_schema_is_refused_at_the_door() {
    let (sender, _source) = channel(number_schema(), 100);
    assert_eq!(sender.send(text(&["one"])).unwrap_err().kind(), ErrorKind::InvalidOption);
}

/// The rows received so far, by batch; a repeated batch adds to the first.
fn receive(receiver: &ChannelReceiver, seen: &mut BTreeMap<u64, Vec<i64>>) {
    while let Some((batch_id, batch)) = receiver.try_next() {
        seen.entry(batch_id).or_default().extend(batch.column(0).as_primitive::<Int64Type>().values());
    }
}

#[test]
fn a_channel_out_of_a_query_keeps_the_contract() {
    let receivers = RefCell::new(Vec::new());
    let mut seen = BTreeMap::new();
    check_sink(
        &mut || {
            let (sink, receiver) = ChannelSink::new(10);
            receivers.borrow_mut().push(receiver);
            Box::new(sink)
        },
        &mut || {
            receivers.borrow().iter().for_each(|receiver| receive(receiver, &mut seen));
            seen.values().flatten().copied().collect()
        },
    );
}

#[test]
fn a_receiver_sees_empty_batches_and_the_end() {
    let (mut sink, receiver) = ChannelSink::new(2);
    sink.open(&number_schema()).unwrap();
    try_write(&mut sink, 0, &[]).unwrap();
    try_write(&mut sink, 1, &[&[7]]).unwrap();
    drop(sink);
    assert_eq!(receiver.collect::<Vec<_>>(), [(0, numbers(0..0)), (1, numbers(7..8))]);
}

#[test]
fn a_sink_whose_receiver_is_gone_says_so() {
    let (mut sink, receiver) = ChannelSink::new(2);
    drop(receiver);
    assert_eq!(try_write(&mut sink, 0, &[&[7]]).unwrap_err().kind(), ErrorKind::Closed);
}
