//! Compiled shaders are kept from run to run where a driver can, and whatever is kept, answers stay the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pelton::expr::{col, len};
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::gpu::{Fault, Faults, GpuBackend, PipelineStore, Tier, Wish};

use crate::common::{Range, assert_batches_equal, ranged_batch};
use crate::support::{Chain, adapter, run, schema, wish};

/// What is kept, and how often it was asked for and stored.
#[derive(Debug, Default)]
struct Memory {
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
    loads: Mutex<usize>,
    stores: Mutex<usize>,
}

impl PipelineStore for Memory {
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        *self.loads.lock().unwrap() += 1;
        self.kept.lock().unwrap().get(key).cloned()
    }

    fn store(&self, key: &str, data: &[u8]) {
        *self.stores.lock().unwrap() += 1;
        self.kept.lock().unwrap().insert(key.to_owned(), data.to_vec());
    }
}

/// Runs a reduce twice on a device of its own.
fn work(adapter: &str, memory: &Arc<Memory>, faults: Faults) {
    let pipelines = Some(Arc::clone(memory) as Arc<dyn PipelineStore>);
    let backend = GpuBackend::open(Wish { pipelines, rows_max: Some(400), ..wish(adapter, Tier::Wide) }).unwrap();
    let backend = backend.with_faults(faults);
    let stage = Chain::new(&schema()).reduce([col("u8")], [len().alias("n"), col("i64").sum().alias("s")]).stage();
    let rows = vec![vec![ranged_batch(5, 1500, &schema(), 0.1, Range::Tame)]];
    let expected = run(&CpuBackend::new(), &stage, &rows).unwrap();
    for _ in 0..2 {
        assert_batches_equal(&run(&backend, &stage, &rows).unwrap(), &expected);
    }
}

#[test]
fn shaders_are_stored_once_they_have_run_and_taken_from_there() {
    let Some(adapter) = adapter() else { return };
    let memory = Arc::new(Memory::default());
    work(&adapter, &memory, Faults::default());
    let stored = *memory.stores.lock().unwrap();
    if stored == 0 {
        eprintln!("SKIPPED: the driver of {adapter} keeps no shaders");
        return;
    }
    // After the first batch, and not after those that compile nothing, or nothing new.
    assert_eq!((stored, memory.kept.lock().unwrap().len()), (1, 1));
    let (key, data) = memory.kept.lock().unwrap().first_key_value().map(|(k, d)| (k.clone(), d.clone())).unwrap();
    assert!(key.contains("vulkan") && !data.is_empty(), "{key}");
    work(&adapter, &memory, Faults::default());
    assert_eq!(*memory.loads.lock().unwrap(), 2);
    // What wgpu finds to be damaged, or of another driver, is not used and is replaced.
    for wrong in [Vec::new(), data[..data.len().min(20)].to_vec(), vec![7; 500]] {
        memory.kept.lock().unwrap().insert(key.clone(), wrong.clone());
        work(&adapter, &memory, Faults::default());
        assert_ne!(memory.kept.lock().unwrap()[&key], wrong);
    }
}

#[test]
fn a_device_that_replaces_a_lost_one_begins_without_what_was_kept() {
    let Some(adapter) = adapter() else { return };
    let memory = Arc::new(Memory::default());
    work(&adapter, &memory, Faults::new([None, Some(Fault::Lose)]).opened_at_once());
    assert!(*memory.loads.lock().unwrap() <= 1);
}
