use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use pelton::connectors::for_each::ForEachSink;
use pelton::connectors::memory::MemorySink;
use pelton::error::{Error, ErrorKind};

use crate::contract::{check_sink, try_write, write};
use crate::tables::numbers;

#[test]
fn a_closure_keeps_the_contract_of_a_sink() {
    let seen = Arc::<Mutex<Vec<i64>>>::default();
    check_sink(
        &mut || {
            let seen = Arc::clone(&seen);
            Box::new(ForEachSink::new(move |_, batches| {
                for batch in batches {
                    seen.lock().unwrap().extend(batch.column(0).as_primitive::<Int64Type>().values());
                }
                Ok(())
            }))
        },
        &mut || seen.lock().unwrap().clone(),
    );
}

#[test]
fn a_closure_is_told_of_batches_without_rows() {
    let calls = Arc::<Mutex<Vec<(u64, usize)>>>::default();
    let noted = Arc::clone(&calls);
    let mut sink = ForEachSink::new(move |batch_id, batches| {
        noted.lock().unwrap().push((batch_id, batches.len()));
        Ok(())
    });
    write(&mut sink, 5, &[]);
    write(&mut sink, 6, &[&[1], &[], &[2, 3]]);
    assert_eq!(*calls.lock().unwrap(), [(5, 0), (6, 3)]);
}

#[test]
fn a_closure_that_panics_is_an_error_of_the_function() {
    let mut sink = ForEachSink::new(|batch_id, _| panic!("no luck with {batch_id}"));
    let error = try_write(&mut sink, 13, &[&[1]]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Function);
    assert!(error.to_string().contains("no luck with 13"), "{error}");
}

#[test]
fn an_error_of_a_closure_keeps_its_kind_and_gains_the_batch() {
    let mut sink = ForEachSink::new(|_, _| Err(Error::new(ErrorKind::Connector, "the database is away")));
    let error = try_write(&mut sink, 2, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connector);
    assert!(error.to_string().contains("batch 2"), "{error}");
}

#[test]
fn a_table_in_memory_keeps_the_contract_of_a_sink() {
    let kept = MemorySink::new();
    check_sink(&mut || Box::new(kept.clone()), &mut || match kept.rows().unwrap() {
        Some(rows) => rows.column(0).as_primitive::<Int64Type>().values().to_vec(),
        None => Vec::new(),
    });
    assert_eq!(kept.batches()[3], (3, numbers(4..8)));
}
