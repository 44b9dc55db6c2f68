//! The sink for PostgreSQL, on a server that the tests start for themselves.
//!
//! Without the programs of a server the tests say so and prove nothing; with `PELTON_REQUIRE_POSTGRES` they fail then.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};
use pelton::checkpoint::{CheckpointOptions, FolderStore};
use pelton::connectors::postgres::{Earlier, PostgresSink};
use pelton::connectors::{OutputBatch, Sink};
use pelton::error::ErrorKind;
use pelton::prelude::*;
use pelton::runtime::CheckpointPlace;
use postgres::{Client, NoTls};

use crate::contract::{check_sink, try_write, write};
use crate::tables::number_schema;

/// A server in a folder of its own, which is stopped with the test program.
struct Server {
    folder: tempfile::TempDir,
    _process: Stopped,
}

struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The folder of the newest server programs of this machine.
fn programs() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut installed = versions.map(|version| version.path().join("bin")).collect::<Vec<_>>();
    installed.sort();
    installed.reverse();
    installed.into_iter().chain(on_path.into_iter().flatten()).find(|folder| folder.join("initdb").is_file())
}

/// A program that refuses to run as root is run as the user that the package made.
fn as_nobody(program: &Path) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

#[expect(clippy::print_stderr, reason = "a test that proves nothing says so")]
fn started() -> Option<Server> {
    let Some(programs) = programs() else {
        assert!(std::env::var_os("PELTON_REQUIRE_POSTGRES").is_none(), "there is no PostgreSQL to test with");
        eprintln!("skipped: there is no PostgreSQL on this machine");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let data = folder.path().join("data");
    let made = as_nobody(&programs.join("initdb"))
        .args(["--no-sync", "--auth=trust", "--username=tester", "--encoding=UTF8", "--locale=C", "--pgdata"])
        .arg(&data)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let process = as_nobody(&programs.join("postgres"))
        .arg("-D")
        .arg(&data)
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
        .arg(folder.path())
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server { folder, _process: Stopped(process) };
    let ready = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        Client::connect(&server.connection(), NoTls).is_ok()
    });
    assert!(ready, "the server did not start within a minute");
    Some(server)
}

impl Server {
    fn connection(&self) -> String {
        format!("host={} user=tester dbname=postgres", self.folder.path().display())
    }

    fn client(&self) -> Client {
        Client::connect(&self.connection(), NoTls).unwrap()
    }

    fn sink(&self, query: &str, table: &str) -> PostgresSink {
        PostgresSink::new(&self.connection(), query, table).unwrap()
    }

    /// The numbers of a table in the order in which they were written.
    fn numbers(&self, table: &str) -> Vec<i64> {
        let rows = self.client().query(&format!("SELECT number FROM {table} ORDER BY ctid"), &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// The server of all tests of this program.
fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(started).as_ref()
}

#[test]
fn a_table_keeps_the_contract_of_a_sink() {
    let Some(server) = server() else { return };
    let mut is_first = true;
    check_sink(
        &mut || {
            let mut sink = server.sink("contract", "contract");
            if !std::mem::take(&mut is_first) {
                sink.resume(5).unwrap();
            }
            Box::new(sink)
        },
        &mut || server.numbers("contract"),
    );
}

#[test]
fn a_batch_whose_transaction_did_not_end_leaves_nothing_and_one_that_did_comes_once() {
    let Some(server) = server() else { return };
    let mut sink = server.sink("crash", "crash");
    sink.open(&number_schema()).unwrap();
    write(&mut sink, 0, &[&[1]]);
    // The server ends the session in the middle of a batch: a trigger of the table does it, once.
    server
        .client()
        .batch_execute(
            "CREATE SEQUENCE deaths;
             CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF nextval('deaths') = 2 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
                 RETURN NEW; END $$;
             CREATE TRIGGER die AFTER INSERT ON crash FOR EACH ROW EXECUTE FUNCTION die()",
        )
        .unwrap();
    let error = try_write(&mut sink, 1, &[&[2, 3, 4]]).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Connector, pelton::error::Retry::Later), "{error}");
    assert_eq!(server.numbers("crash"), [1], "nothing of it is there");
    // The same sink connects anew.
    write(&mut sink, 1, &[&[2, 3, 4]]);
    // It died after the transaction, before anybody was told: another process writes the batch again.
    drop(sink);
    let mut sink = server.sink("crash", "crash");
    sink.resume(1).unwrap();
    sink.open(&number_schema()).unwrap();
    write(&mut sink, 1, &[&[2], &[3, 4]]);
    write(&mut sink, 2, &[&[5]]);
    assert_eq!(server.numbers("crash"), [1, 2, 3, 4, 5]);
    let error = try_write(&mut sink, 1, &[&[2, 3]]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(server.numbers("crash"), [1, 2, 3, 4, 5]);
}

/// A batch of keys and values.
fn pairs(pairs: &[(i64, &str)]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(pairs.iter().map(|(key, _)| Some(*key)).collect::<Int64Array>());
    let values: ArrayRef = Arc::new(pairs.iter().map(|(_, value)| Some(*value)).collect::<StringArray>());
    RecordBatch::try_from_iter_with_nullable([("key", keys, false), ("va\"lue", values, true)]).unwrap()
}

fn put(sink: &mut PostgresSink, batch_id: u64, rows: &RecordBatch) -> Result<()> {
    let (schema, partitions) = (rows.schema(), vec![vec![rows.clone()]]);
    let batch = OutputBatch { batch_id, time: Duration::ZERO, schema: &schema, partitions: &partitions };
    sink.write(&batch).map(drop)
}

#[test]
fn a_row_replaces_the_one_with_its_key_and_the_last_of_a_batch_counts() {
    let Some(server) = server() else { return };
    server.client().batch_execute("CREATE SCHEMA web").unwrap();
    let mut sink = server.sink("upsert", "web.latest").key(["key"]);
    sink.open(&pairs(&[]).schema()).unwrap();
    put(&mut sink, 0, &pairs(&[(1, "a"), (2, "b"), (1, "c")])).unwrap();
    put(&mut sink, 1, &pairs(&[(2, "d"), (3, "e")])).unwrap();
    put(&mut sink, 0, &pairs(&[(1, "a"), (2, "b"), (1, "c")])).unwrap();
    let rows = server.client().query("SELECT * FROM web.latest ORDER BY key", &[]).unwrap();
    let rows = rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(i64, String)>>();
    assert_eq!(rows, [(1, "c".to_owned()), (2, "d".to_owned()), (3, "e".to_owned())]);
    // A table without such an index is refused before anything runs; so is a key that is no column.
    server.client().batch_execute("CREATE TABLE bare (key bigint, \"va\"\"lue\" text)").unwrap();
    let error = server.sink("bare", "bare").key(["key"]).open(&pairs(&[]).schema()).unwrap_err();
    assert!(error.to_string().contains("no unique or exclusion constraint"), "{error}");
    assert!(server.sink("bare", "bare").key(["kye"]).check(&pairs(&[]).schema()).is_err());
}

#[test]
fn every_type_comes_back_as_it_was() {
    let Some(server) = server() else { return };
    let columns: [(&str, ArrayRef); 8] = [
        ("yes", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("whole", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
        ("exact", Arc::new(Decimal128Array::from(vec![Some(-12_345), None]).with_precision_and_scale(9, 2).unwrap())),
        ("float", Arc::new(Float64Array::from(vec![Some(0.1 + 0.2), Some(f64::NEG_INFINITY)]))),
        ("word", Arc::new(StringArray::from(vec![Some("tab\tline\nback\\slash ü"), None]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff\\"[..]), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(-1), None]))),
        ("moment", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC"))),
    ];
    let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
    let mut sink = server.sink("types", "types");
    sink.open(&rows.schema()).unwrap();
    put(&mut sink, 0, &rows).unwrap();
    let told = "SELECT concat_ws('|', yes, whole, exact, float::text, word, encode(bytes, 'hex'), day, \
                to_char(moment AT TIME ZONE 'UTC', 'SS.US')), pg_typeof(whole)::text FROM types ORDER BY float DESC";
    let told = server.client().query(told, &[]).unwrap();
    let text: Vec<String> = told.iter().map(|row| row.get(0)).collect();
    let expected =
        "t|18446744073709551615|-123.45|0.30000000000000004|tab\tline\nback\\slash ü|00ff5c|1969-12-31|01.500000";
    assert_eq!(text, [expected, "-Infinity"]);
    assert_eq!(told[0].get::<_, String>(1), "numeric");
    let list = Schema::new(vec![Field::new("l", DataType::new_list(DataType::Int64, true), true)]);
    assert_eq!(server.sink("l", "l").check(&Arc::new(list)).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn what_an_earlier_run_wrote_is_refused_added_to_or_removed_as_told_and_a_second_process_is_kept_out() {
    let Some(server) = server() else { return };
    let mut first = server.sink("earlier", "earlier");
    first.open(&number_schema()).unwrap();
    write(&mut first, 0, &[&[1]]);
    let error = server.sink("earlier", "earlier").open(&number_schema()).unwrap_err();
    assert!(error.to_string().contains("in use by another process"), "{error}");
    first.close().unwrap();
    let error = server.sink("earlier", "earlier").open(&number_schema()).unwrap_err();
    assert!(error.to_string().contains("an earlier run of the query \"earlier\" wrote batches up to 0"), "{error}");
    for (earlier, expected) in [(Earlier::Append, vec![1, 2]), (Earlier::Remove, vec![2])] {
        let mut sink = server.sink("earlier", "earlier").earlier(earlier);
        sink.open(&number_schema()).unwrap();
        write(&mut sink, 0, &[&[2]]);
        assert_eq!(server.numbers("earlier"), expected);
        sink.close().unwrap();
    }
    let nowhere = PostgresSink::new("host=/nowhere user=x", "q", "t").unwrap().open(&number_schema()).unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::Connector);
    assert!(PostgresSink::new("what is this", "q", "t").is_err() && PostgresSink::new("host=x", "q", "a.b.c").is_err());
}

fn die() -> ! {
    panic!("killed")
}

#[test]
fn a_query_that_dies_at_any_step_of_its_checkpoint_writes_each_row_once() {
    let Some(server) = server() else { return };
    let folder = tempfile::tempdir().unwrap();
    let lay_out = |number: usize| {
        let lines = (0..5).map(|line| format!("{}\n", number * 5 + line)).collect::<String>();
        std::fs::write(folder.path().join(format!("{number}.txt")), lines).unwrap();
    };
    (0..5).for_each(lay_out);
    let life = |table: &str, checkpoint: &Path, dies_at: Option<usize>| -> Result<()> {
        let steps = std::sync::atomic::AtomicUsize::new(0);
        let store = FolderStore::new(checkpoint).sync(false).on_step(move |_, _| {
            let is_it = Some(steps.fetch_add(1, std::sync::atomic::Ordering::SeqCst)) == dies_at;
            if is_it { die() } else { Ok(()) }
        });
        let options = CheckpointOptions { snapshot_every: 2, retain: 2 };
        let context = StreamingContext::builder(table)
            .trigger(Trigger::AvailableNow)
            .limits(ReadLimits { files_max: Some(1), ..ReadLimits::default() })
            .checkpoint_at(CheckpointPlace { store: Arc::new(store), options })
            .build()?;
        let lines = context.text_file_stream(folder.path())?;
        lines.select([col("line").cast(DataType::Int64).alias("number")]).write(server.sink(table, table))?;
        context.start()?.await_termination().map(drop)
    };
    for step in (0..).step_by(4) {
        let checkpoint = tempfile::tempdir().unwrap();
        let table = format!("deaths_{step}");
        let first = std::panic::catch_unwind(|| life(&table, checkpoint.path(), Some(step)));
        let is_undisturbed = matches!(first, Ok(Ok(())));
        drop(std::panic::catch_unwind(|| life(&table, checkpoint.path(), Some(step / 3))));
        life(&table, checkpoint.path(), None).unwrap();
        assert_eq!(server.numbers(&table), (0..25).collect::<Vec<_>>(), "step {step}");
        if is_undisturbed {
            assert!(step > 40, "there were steps to die at");
            break;
        }
    }
}
