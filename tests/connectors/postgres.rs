//! The sink for PostgreSQL, on a server that the tests start for themselves.
//!
//! Without the programs of a server the tests say so and prove nothing; with `PELTON_REQUIRE_POSTGRES` they fail then.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, DurationNanosecondArray,
    Float32Array, Float64Array, Int8Array, Int16Array, Int64Array, NullArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray, TimestampSecondArray, UInt32Array, UInt64Array,
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
        drop(self.0.stdin.take());
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
    // Nothing that is static is dropped: the server ends with the pipe that this program holds, however the program ends.
    let process = as_nobody(Path::new("sh"))
        .args(["-c", "\"$@\" & read -r _; kill -QUIT $!; wait", "sh"])
        .arg(programs.join("postgres"))
        .arg("-D")
        .arg(&data)
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
        .arg(folder.path())
        .current_dir(folder.path())
        .stdin(Stdio::piped())
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
fn pairs(pairs: &[(Option<i64>, &str)]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(pairs.iter().map(|(key, _)| *key).collect::<Int64Array>());
    let values: ArrayRef = Arc::new(pairs.iter().map(|(_, value)| Some(*value)).collect::<StringArray>());
    RecordBatch::try_from_iter_with_nullable([("key", keys, true), ("va\"lue", values, true)]).unwrap()
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
    let first = pairs(&[(Some(1), "a"), (None, "n"), (Some(2), "b"), (Some(1), "c")]);
    put(&mut sink, 0, &first).unwrap();
    put(&mut sink, 1, &pairs(&[(Some(2), "d"), (Some(3), "e"), (None, "m")])).unwrap();
    put(&mut sink, 0, &first).unwrap();
    let rows = server.client().query("SELECT * FROM web.latest ORDER BY key", &[]).unwrap();
    let rows = rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(Option<i64>, String)>>();
    let expected = [(Some(1), "c"), (Some(2), "d"), (Some(3), "e"), (None, "m")];
    assert_eq!(rows, expected.map(|(key, value)| (key, value.to_owned())), "a null is one key, too");
    sink.close().unwrap();
    // Without such an index no row can replace another; so is a key that is no column refused.
    server.client().batch_execute("CREATE TABLE bare (key bigint, \"va\"\"lue\" text)").unwrap();
    let error = server.sink("bare", "bare").key(["key"]).open(&pairs(&[]).schema()).unwrap_err();
    assert!(error.to_string().contains("CREATE UNIQUE INDEX ON \"bare\" (\"key\")"), "{error}");
    let error = server.sink("bare", "bare").key(["kye"]).check(&pairs(&[]).schema()).unwrap_err();
    assert!(error.to_string().contains("\"key\""), "{error}");
    // With an index that holds every null for another one, a null is refused before anything is written.
    server.client().batch_execute("CREATE UNIQUE INDEX ON bare (key)").unwrap();
    let mut sink = server.sink("bare", "bare").key(["key"]);
    sink.open(&pairs(&[]).schema()).unwrap();
    let error = put(&mut sink, 0, &pairs(&[(Some(1), "a"), (None, "b")])).unwrap_err();
    assert!(error.to_string().contains("coalesce") && error.retry() == pelton::error::Retry::Never, "{error}");
    put(&mut sink, 0, &pairs(&[(Some(1), "a")])).unwrap();
    assert_eq!(server.client().query("SELECT * FROM bare", &[]).unwrap().len(), 1);
}

#[test]
fn every_type_comes_back_as_it_was() {
    let Some(server) = server() else { return };
    let mut list = ListBuilder::new(Int64Builder::new());
    list.append_value([Some(1), None]);
    list.append_null();
    let (number, word) = (Field::new("n", DataType::Int64, true), Field::new("word", DataType::Utf8, true));
    let inner: [ArrayRef; 2] =
        [Arc::new(Int64Array::from(vec![Some(7), None])), Arc::new(StringArray::from(vec!["say \"\\\"\t", "x"]))];
    let nested = StructArray::new(vec![number, word].into(), inner.to_vec(), Some(vec![true, false].into()));
    let columns: [(&str, ArrayRef); 18] = [
        ("yes", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("tiny", Arc::new(Int8Array::from(vec![Some(i8::MIN), None]))),
        ("small", Arc::new(Int16Array::from(vec![Some(i16::MAX), None]))),
        ("large", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        ("unsigned", Arc::new(UInt32Array::from(vec![Some(u32::MAX), None]))),
        ("whole", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
        ("exact", Arc::new(Decimal128Array::from(vec![Some(-12_345), None]).with_precision_and_scale(9, 2).unwrap())),
        ("single", Arc::new(Float32Array::from(vec![Some(0.1), None]))),
        ("float", Arc::new(Float64Array::from(vec![Some(0.1 + 0.2), Some(f64::NEG_INFINITY)]))),
        ("word", Arc::new(StringArray::from(vec![Some("tab\tline\nback\\slash ü"), None]))),
        (
            "code",
            Arc::new(vec![Some("a"), None].into_iter().collect::<DictionaryArray<arrow_array::types::Int8Type>>()),
        ),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff\\"[..]), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(-719_163), None]))),
        ("moment", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("+02:00"))),
        ("far", Arc::new(TimestampSecondArray::from(vec![Some(300_000_000_000), None]))),
        ("span", Arc::new(DurationNanosecondArray::from(vec![Some(-90_000_000_001_500), None]))),
        ("list", Arc::new(list.finish())),
        ("nested", Arc::new(nested)),
    ];
    let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
    let mut sink = server.sink("types", "types");
    sink.open(&rows.schema()).unwrap();
    put(&mut sink, 0, &rows).unwrap();
    let told = "SELECT concat_ws('|', yes, tiny, small, large, unsigned, whole, exact, single::text, float::text, word, code, \
                encode(bytes, 'hex'), day, to_char(moment AT TIME ZONE 'UTC', 'SS.US'), far, span, list, nested) \
                FROM types ORDER BY float DESC";
    let told = server.client().query(told, &[]).unwrap();
    let text: Vec<String> = told.iter().map(|row| row.get(0)).collect();
    let expected = "t|-128|32767|-9223372036854775808|4294967295|18446744073709551615|-123.45|0.1|0.30000000000000004|\
                    tab\tline\nback\\slash ü|a|00ff5c|0001-12-31 BC|01.500000|11476-08-15 05:20:00|-25:00:00.000002|\
                    [1, null]|{\"n\": 7, \"word\": \"say \\\"\\\\\\\"\\t\"}";
    assert_eq!(text, [expected, "-Infinity"]);
    // The sink finds that the table it made fits; and a column without values has a place, too.
    sink.close().unwrap();
    let mut again = server.sink("types", "types").earlier(Earlier::Append);
    again.open(&rows.schema()).unwrap();
    let nothing: ArrayRef = Arc::new(NullArray::new(1));
    let nothing = RecordBatch::try_from_iter_with_nullable([("nothing", nothing, true)]).unwrap();
    let mut sink = server.sink("nothing", "nothing");
    sink.open(&nothing.schema()).unwrap();
    put(&mut sink, 0, &nothing).unwrap();
}

#[test]
fn a_table_that_does_not_fit_is_refused_with_all_that_does_not() {
    let Some(server) = server() else { return };
    server
        .client()
        .batch_execute(
            "CREATE TABLE misfit (number integer, price numeric(6, 2), moment timestamp(3), made bigint GENERATED ALWAYS \
             AS IDENTITY, needed text NOT NULL, optional text NOT NULL DEFAULT 'x')",
        )
        .unwrap();
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
    let schema = Arc::new(Schema::new(vec![
        Field::new("number", DataType::Int64, false),
        Field::new("price", DataType::Decimal128(9, 4), true),
        Field::new("moment", timestamp, true),
        Field::new("made", DataType::Int64, true),
        Field::new("gone", DataType::Utf8, true),
    ]));
    let error = server.sink("misfit", "misfit").open(&schema).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::InvalidQuery, pelton::error::Retry::Never));
    let said = error.to_string();
    for part in [
        "\"number\" is integer, which does not hold Int64",
        "\"price\" is numeric(6,2)",
        "\"moment\" is timestamp(3)",
        "\"made\" is made by the server",
        "no column \"gone\"",
        "\"needed\" needs a value",
        "CREATE TABLE \"misfit\" (\"number\" bigint NOT NULL",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("\"optional\""), "{said}");
    let error = server.sink("absent", "absent").create(false).open(&schema).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("CREATE TABLE \"absent\""), "{error}");
}

#[test]
fn what_the_server_refuses_is_told_with_advice_and_not_tried_again() {
    let Some(server) = server() else { return };
    let never = |error: Error, part: &str| {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Connector, pelton::error::Retry::Never), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    server.client().batch_execute("CREATE TABLE strict (number bigint UNIQUE CHECK (number < 100))").unwrap();
    let mut sink = server.sink("strict", "strict");
    sink.open(&number_schema()).unwrap();
    write(&mut sink, 0, &[&[1, 2]]);
    never(try_write(&mut sink, 1, &[&[3, 2]]).unwrap_err(), "as the key of the sink");
    never(try_write(&mut sink, 1, &[&[3, 100]]).unwrap_err(), "has a rule");
    assert_eq!(server.numbers("strict"), [1, 2], "nothing of a batch that failed is there");
    write(&mut sink, 1, &[&[3]]);
    let mut texts = server.sink("texts", "texts").key(["key"]);
    texts.open(&pairs(&[]).schema()).unwrap();
    never(put(&mut texts, 0, &pairs(&[(Some(1), "nul\0")])).unwrap_err(), "null character");

    server.client().batch_execute("CREATE ROLE guest LOGIN; CREATE TABLE forbidden (number bigint)").unwrap();
    let as_guest = |table: &str| {
        let connection = format!("host={} user=guest dbname=postgres", server.folder.path().display());
        PostgresSink::new(&connection, "guest", table).unwrap()
    };
    never(as_guest("forbidden").open(&number_schema()).unwrap_err(), "INSERT on the table");
    // With no more than it takes, and a table that is there, nothing else is needed.
    server
        .client()
        .batch_execute(
            "GRANT SELECT, INSERT, DELETE ON pelton_commits TO guest; CREATE TABLE allowed (number bigint); \
             GRANT INSERT ON allowed TO guest",
        )
        .unwrap();
    let mut sink = as_guest("allowed");
    sink.open(&number_schema()).unwrap();
    write(&mut sink, 0, &[&[1]]);
    assert_eq!(server.numbers("allowed"), [1]);
    never(as_guest("missing_table").open(&number_schema()).unwrap_err(), "CREATE where tables are to be made");

    let elsewhere = format!("host={} user=tester dbname=nowhere", server.folder.path().display());
    never(PostgresSink::new(&elsewhere, "q", "t").unwrap().open(&number_schema()).unwrap_err(), "make the database");
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
    assert_eq!((nowhere.kind(), nowhere.retry()), (ErrorKind::Connector, pelton::error::Retry::Later), "{nowhere}");
    for (connection, table) in [("what is this", "t"), ("host=x", "a.b.c"), ("host=x", "a\"b"), ("host=x", "")] {
        let error = PostgresSink::new(connection, "q", table).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
    }
    let hidden = format!("{:?}", PostgresSink::new("host=x password=secret", "q", "t").unwrap());
    assert!(!hidden.contains("secret"), "{hidden}");
}

/// Five numbers a file, five files; and a life of the query that writes them to a table.
fn life(server: &Server, input: &Path, table: &str, store: FolderStore) -> Result<()> {
    let options = CheckpointOptions { snapshot_every: 2, retain: 2 };
    let context = StreamingContext::builder(table)
        .trigger(Trigger::AvailableNow)
        .limits(ReadLimits { files_max: Some(1), ..ReadLimits::default() })
        .retries(0, Duration::ZERO)
        .checkpoint_at(CheckpointPlace { store: Arc::new(store), options })
        .build()?;
    let lines = context.text_file_stream(input)?;
    lines.select([col("line").cast(DataType::Int64).alias("number")]).write(server.sink(table, table))?;
    context.start()?.await_termination().map(drop)
}

fn lay_out(folder: &Path) {
    for number in 0..5 {
        let lines = (0..5).map(|line| format!("{}\n", number * 5 + line)).collect::<String>();
        std::fs::write(folder.join(format!("{number}.txt")), lines).unwrap();
    }
}

#[test]
fn a_query_that_fails_at_any_step_of_its_checkpoint_writes_each_row_once() {
    let Some(server) = server() else { return };
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path());
    // Every third step: five batches have each kind of step several times.
    for step in (0..).step_by(3) {
        let folder = tempfile::tempdir().unwrap();
        let table = format!("steps_{step}");
        let steps = std::sync::atomic::AtomicUsize::new(0);
        let faulty = FolderStore::new(folder.path()).sync(false).on_step(move |at, _| {
            let is_it = steps.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == step;
            if is_it { Err(std::io::Error::other(format!("no {at:?} today"))) } else { Ok(()) }
        });
        let is_undisturbed = life(server, input.path(), &table, faulty).is_ok();
        life(server, input.path(), &table, FolderStore::new(folder.path()).sync(false)).unwrap();
        assert_eq!(server.numbers(&table), (0..25).collect::<Vec<_>>(), "step {step}");
        if is_undisturbed {
            assert!(step > 10, "there were steps to fail at");
            break;
        }
    }
}

const CHILD: &str = "PELTON_POSTGRES_CHILD";

/// The child: the test program itself, with orders in an environment variable.
#[test]
fn a_child_writes_where_it_is_told() {
    let Ok(orders) = std::env::var(CHILD) else { return };
    let orders = orders.split('\n').collect::<Vec<_>>();
    let [connection, input, folder, table] = orders[..] else { panic!("orders are incomplete") };
    let context = StreamingContext::builder(table)
        .trigger(Trigger::AvailableNow)
        .limits(ReadLimits { files_max: Some(1), ..ReadLimits::default() })
        .checkpoint(folder)
        .build()
        .unwrap();
    let sink = PostgresSink::new(connection, table, table).unwrap();
    let lines = context.text_file_stream(Path::new(input)).unwrap();
    lines.select([col("line").cast(DataType::Int64).alias("number")]).write(sink).unwrap();
    context.start().unwrap().await_termination().unwrap();
}

#[test]
fn a_killed_process_goes_on_and_writes_each_row_once() {
    let Some(server) = server() else { return };
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path());
    let mut killed = 0;
    for round in 0..8_u64 {
        let folder = tempfile::tempdir().unwrap();
        let table = format!("kills_{round}");
        let run = |after: Option<Duration>| {
            let paths = (input.path().display(), folder.path().display());
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "postgres::a_child_writes_where_it_is_told", "--test-threads=1"])
                .env(CHILD, format!("{}\n{}\n{}\n{table}", server.connection(), paths.0, paths.1))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            if let Some(after) = after {
                std::thread::sleep(after);
                child.kill().unwrap();
            }
            child.wait().unwrap().success()
        };
        for attempt in 0..3 {
            killed += u64::from(!run(Some(Duration::from_millis(20 + (round * 37 + attempt * 61) % 150))));
        }
        assert!(run(None), "round {round}");
        assert_eq!(server.numbers(&table), (0..25).collect::<Vec<_>>(), "round {round}");
    }
    assert!(killed > 0, "somebody was killed");
}
