//! Rows into a table of PostgreSQL, exactly once: one transaction a micro-batch, with the batch's id.
//!
//! The transaction that writes the rows of a batch also writes a row of `pelton_commits`: query, sink, batch, how many rows,
//! and their checksum. A batch that comes again after a crash finds it and writes nothing, so it does not matter whether the
//! process died before the transaction, in it, or after it. If a batch comes again with other rows (after a rollback with
//! `--recut`), rows that were appended cannot be told from others any more: that is refused, never guessed.
//!
//! Rows go over by `COPY` (`copy_text`) into a `table`; with a key they go to a temporary table and from there by `ON
//! CONFLICT` into the table, of several rows with one key the last one. A lock of the session keeps a second query of the
//! same name out.

mod copy_text;
mod table;
mod trouble;

use std::io::Write;
use std::time::Duration;

use postgres::error::SqlState;
use postgres::{Client, Config, NoTls, Transaction};

use self::copy_text::{Copied, copied};
use self::trouble::{broken, failed};
use crate::columnar::SchemaRef;
use crate::connectors::{OutputBatch, Repeat, Sink, WriteReport};
use crate::error::{Error, ErrorKind, Place, Result, Retry};

/// The table that says which batches have been written.
const COMMITS: &str = "CREATE TABLE IF NOT EXISTS pelton_commits (query text NOT NULL, sink text NOT NULL, \
    batch bigint NOT NULL, rows bigint NOT NULL, checksum bigint NOT NULL, PRIMARY KEY (query, sink, batch))";

/// Batches that are remembered in it. An older one that comes again is refused.
const BATCHES_REMEMBERED: i64 = 10_000;

/// How often, and how long apart, the lock is tried: a server takes a moment to notice that a process has died.
const LOCK_TRIES: u32 = 50;
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// How long a server may take to answer to a new connection, and to confirm what was sent, unless the connection says
/// otherwise: without a bound, a query would wait for a machine that is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of batches that an earlier run of a query has written, which does not go on from a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Earlier {
    /// The query does not start.
    #[default]
    Refuse,
    /// The rows stay, those of this run are added.
    Append,
    /// All rows of the table are removed.
    Remove,
}

/// Writes to a table of PostgreSQL. Connections are not encrypted.
///
/// ```no_run
/// use pelton::connectors::postgres::PostgresSink;
/// # fn example(totals: pelton::query::DStream) -> pelton::error::Result<()> {
/// // The newest total of each city, whichever batch it came in.
/// let sink = PostgresSink::new("postgresql://me@localhost/web", "totals", "totals_by_city")?.key(["city"]);
/// totals.write(sink)
/// # }
/// ```
#[derive(Debug)]
pub struct PostgresSink {
    config: Config,
    query: String,
    name: String,
    /// As it stands in statements.
    table: String,
    key: Vec<String>,
    earlier: Earlier,
    creates: bool,
    goes_on: bool,
    opened: Option<Opened>,
}

struct Opened {
    /// Gone when the connection broke; the next write makes another.
    client: Option<Client>,
    /// The statements of each batch.
    statements: Statements,
    /// Where in the schema the columns of the key are, if none of them may be null.
    never_null: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Statements {
    stage: Option<String>,
    copy: String,
    merge: Option<String>,
}

impl PostgresSink {
    /// Appends the rows of a query to a table, named as in SQL (`visits`, `web.visits`). `connection` is a URL
    /// (`postgresql://user@host/database`) or words (`host=/run/postgresql dbname=web`).
    ///
    /// # Errors
    /// `InvalidOption` for a connection or a name that is none.
    pub fn new(connection: &str, query: impl Into<String>, table: &str) -> Result<Self> {
        // The text may hold a password: it is in no message.
        let mut config = connection.parse::<Config>().map_err(|error| {
            Error::new(ErrorKind::InvalidOption, format!("this is no connection to PostgreSQL: {error}"))
                .advice("write it as \"postgresql://user@host/database\" or \"host=... user=... dbname=...\"")
        })?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(PATIENCE);
        }
        let parts = table.split('.').map(str::trim).collect::<Vec<_>>();
        if parts.len() > 2 || parts.iter().any(|part| part.is_empty() || part.contains('"')) {
            return Err(Error::new(ErrorKind::InvalidOption, format!("\"{table}\" is no name of a table"))
                .advice("write \"table\" or \"schema.table\", without quotes"));
        }
        let quoted = parts.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".");
        Ok(Self {
            config,
            query: query.into(),
            name: table.to_owned(),
            table: quoted,
            key: Vec::new(),
            earlier: Earlier::default(),
            creates: true,
            goes_on: false,
            opened: None,
        })
    }

    /// What the sink is called in `pelton_commits`; without it: as the table. Two sinks of one query need two names.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The password, if it does not stand in the connection.
    #[must_use]
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.config.password(password);
        self
    }

    /// A row replaces the row that has the same values in these columns: for rows that come again as they are now, such as
    /// those of `update` and `complete`. A table that is there needs a unique index on them.
    #[must_use]
    pub fn key(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// What becomes of batches of an earlier run, if the query does not go on from a checkpoint.
    #[must_use]
    pub fn earlier(mut self, earlier: Earlier) -> Self {
        self.earlier = earlier;
        self
    }

    /// Whether the table is made if it is missing; without that, a missing one is refused. Made otherwise: yes.
    #[must_use]
    pub fn create(mut self, creates: bool) -> Self {
        self.creates = creates;
        self
    }

    /// Checks that rows of this schema can be written, without a connection.
    ///
    /// # Errors
    /// `Unsupported` for a column whose type a table cannot hold, `InvalidQuery` for a key that is no column.
    pub fn check(&self, schema: &SchemaRef) -> Result<()> {
        if let Some(unknown) = self.key.iter().find(|key| schema.column_with_name(key).is_none()) {
            let names = schema.fields().iter().map(|field| quoted(field.name())).collect::<Vec<_>>().join(", ");
            return Err(Error::invalid_query(format!("the key \"{unknown}\" is not among the columns to be written"))
                .advice(format!("the columns are {names}")));
        }
        schema.fields().iter().try_for_each(|field| table::sql_type(field).map(drop))
    }

    fn statements(&self, schema: &SchemaRef) -> Statements {
        let columns = schema.fields().iter().map(|field| quoted(field.name())).collect::<Vec<_>>();
        let all = columns.join(", ");
        let table = &self.table;
        if self.key.is_empty() {
            let copy = format!("COPY {table} ({all}) FROM STDIN");
            return Statements { stage: None, copy, merge: None };
        }
        let key = self.key.iter().map(|key| quoted(key)).collect::<Vec<_>>();
        let others = columns.iter().filter(|column| !key.contains(column));
        let set = others.map(|column| format!("{column} = EXCLUDED.{column}")).collect::<Vec<_>>().join(", ");
        let action = if set.is_empty() { "DO NOTHING".to_owned() } else { format!("DO UPDATE SET {set}") };
        let key = key.join(", ");
        Statements {
            stage: Some(format!(
                "CREATE TEMPORARY TABLE pelton_stage ON COMMIT DROP AS SELECT 0::bigint AS pelton_row, {all} \
                 FROM {table} WITH NO DATA"
            )),
            copy: format!("COPY pelton_stage (pelton_row, {all}) FROM STDIN"),
            merge: Some(format!(
                "INSERT INTO {table} ({all}) SELECT DISTINCT ON ({key}) {all} FROM pelton_stage \
                 ORDER BY {key}, pelton_row DESC ON CONFLICT ({key}) {action}"
            )),
        }
    }

    fn connect(&self) -> Result<Client> {
        let mut client = self.config.connect(NoTls).map_err(|error| self.failed("connect", error))?;
        let lock = format!("{}\n{}", self.query, self.name);
        for tried in 0.. {
            let locked = client.query_one("SELECT pg_try_advisory_lock(hashtextextended($1, 7305))", &[&lock]);
            let is_locked: bool = locked.map_err(|error| self.failed("lock", error))?.get(0);
            if is_locked {
                break;
            }
            if tried == LOCK_TRIES {
                let message =
                    format!("the sink \"{}\" of the query \"{}\" is in use by another process", self.name, self.query);
                let error = Error::new(ErrorKind::Connector, message).at(self.place());
                let advice = "wait until that one has ended, or give the query or the sink another name";
                // After a connection broke, it may be this query's own, which the server does not know to be gone.
                let is_reconnecting = self.opened.is_some() || self.goes_on;
                return Err(if is_reconnecting { error.advice(advice).retry_later() } else { error.advice(advice) });
            }
            std::thread::sleep(LOCK_WAIT);
        }
        Ok(client)
    }

    /// Makes what is not there yet, and looks whether rows of this schema fit. Gives the columns that must not be null.
    fn prepare(&self, client: &mut Client, schema: &SchemaRef) -> Result<Vec<usize>> {
        let asked = |error| self.failed("look at the table", error);
        let version = table::version(client).map_err(asked)?;
        let create = table::create(&self.table, schema, &self.key, version)?;
        let mut missing = Vec::new();
        if !table::is_there(client, "pelton_commits").map_err(asked)? {
            missing.push(COMMITS.to_owned());
        }
        if !table::is_there(client, &self.table).map_err(asked)? {
            if !self.creates {
                return Err(Error::new(ErrorKind::NotFound, "the table is not there, and is not to be made")
                    .at(self.place())
                    .advice(format!("let the sink make it, or make it: {create}")));
            }
            missing.push(create.replacen("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1));
        }
        for statement in missing {
            // Others may make the same table at the same moment.
            let mut made = client.batch_execute(&statement);
            if made.as_ref().is_err_and(|error| error.code() == Some(&SqlState::UNIQUE_VIOLATION)) {
                made = client.batch_execute(&statement);
            }
            made.map_err(|error| self.failed("make the table", error))?;
        }
        let misfits = table::misfits(client, &self.table, schema).map_err(asked)?;
        if !misfits.is_empty() {
            return Err(table::refuse(self.place(), &misfits, &create));
        }
        let never_null = self.check_key(client, schema)?;
        self.look_for_earlier(client)?;
        Ok(never_null)
    }

    /// The columns of the key that must not be null: all, unless the index holds nulls to be equal.
    fn check_key(&self, client: &mut Client, schema: &SchemaRef) -> Result<Vec<usize>> {
        if self.key.is_empty() {
            return Ok(Vec::new());
        }
        let found = table::unique_index(client, &self.table, &self.key);
        match found.map_err(|error| self.failed("look at the table", error))? {
            Some(true) => Ok(Vec::new()),
            Some(false) => Ok(self.key.iter().filter_map(|key| Some(schema.column_with_name(key)?.0)).collect()),
            None => {
                let columns = self.key.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(", ");
                let message =
                    format!("the table has no unique index on the key ({columns}), so that no row can replace another");
                let advice = format!("make one: CREATE UNIQUE INDEX ON {} ({columns})", self.table);
                Err(Error::invalid_query(message).at(self.place()).advice(advice))
            }
        }
    }

    fn look_for_earlier(&self, client: &mut Client) -> Result<()> {
        if self.goes_on {
            return Ok(());
        }
        let of_sink = "FROM pelton_commits WHERE query = $1 AND sink = $2";
        let newest = client.query_one(&format!("SELECT max(batch) {of_sink}"), &[&self.query, &self.name]);
        let newest: Option<i64> = newest.map_err(|error| self.failed("look for earlier batches", error))?.get(0);
        let Some(newest) = newest else { return Ok(()) };
        if self.earlier == Earlier::Refuse {
            let message = format!("an earlier run of the query \"{}\" wrote batches up to {newest}", self.query);
            return Err(Error::new(ErrorKind::InvalidOption, message).at(self.place()).advice(
                "bring its checkpoint back to go on there; or say \"append\" or \"remove\" for what an earlier run wrote",
            ));
        }
        let mut forget = client.transaction().map_err(|error| self.failed("begin", error))?;
        let forgotten = (|| {
            forget.execute(&format!("DELETE {of_sink}"), &[&self.query, &self.name])?;
            if self.earlier == Earlier::Remove {
                forget.execute(&format!("DELETE FROM {}", self.table), &[])?;
            }
            forget.commit()
        })();
        forgotten.map_err(|error| self.failed("forget earlier batches", error))
    }

    /// Writes a batch that has not been written.
    fn write_new(&self, transaction: &mut Transaction<'_>, copied: &Copied, to: &Statements) -> Result<()> {
        let failed = |error| self.failed("write", error);
        if let Some(stage) = &to.stage {
            transaction.batch_execute(stage).map_err(failed)?;
        }
        let mut copy = transaction.copy_in(&to.copy).map_err(failed)?;
        copy.write_all(&copied.text).map_err(|error| broken(error, self.place()))?;
        let rows = copy.finish().map_err(failed)?;
        if rows != copied.rows {
            return Err(Error::internal(format!("PostgreSQL took {rows} rows of {}", copied.rows)));
        }
        if let Some(merge) = &to.merge {
            transaction.execute(merge, &[]).map_err(failed)?;
        }
        Ok(())
    }

    fn write_to(&self, client: &mut Client, batch: i64, copied: &Copied, to: &Statements) -> Result<()> {
        let failed = |error| self.failed("write", error);
        let mut transaction = client.transaction().map_err(failed)?;
        // This batch, or the first after it: batches come in order, so that one is only there if this one was.
        let known = transaction.query_opt(
            "SELECT batch, rows, checksum FROM pelton_commits WHERE query = $1 AND sink = $2 AND batch >= $3 \
             ORDER BY batch LIMIT 1",
            &[&self.query, &self.name, &batch],
        );
        let rows = i64::try_from(copied.rows).unwrap_or(i64::MAX);
        let checksum = i64::from(copied.checksum);
        if let Some(known) = known.map_err(failed)? {
            let known: (i64, i64, i64) = (known.get(0), known.get(1), known.get(2));
            if known == (batch, rows, checksum) {
                return Ok(());
            }
            let message = match known {
                (at, written, _) if at == batch => {
                    format!("batch {batch} was written with {written} rows, and comes again with other rows ({rows})")
                }
                (later, ..) => format!("batch {batch} comes again after batch {later}, and is not remembered any more"),
            };
            return Err(Error::new(ErrorKind::Corrupt, message).at(self.place()).advice(
                "rows of a table cannot be taken back by batch: remove by hand what has to go, and this batch and later \
                 ones from pelton_commits",
            ));
        }
        self.write_new(&mut transaction, copied, to)?;
        let note = "INSERT INTO pelton_commits (query, sink, batch, rows, checksum) VALUES ($1, $2, $3, $4, $5)";
        transaction.execute(note, &[&self.query, &self.name, &batch, &rows, &checksum]).map_err(failed)?;
        let forget = "DELETE FROM pelton_commits WHERE query = $1 AND sink = $2 AND batch <= $3";
        transaction.execute(forget, &[&self.query, &self.name, &(batch - BATCHES_REMEMBERED)]).map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    /// Refuses a null where the index would hold it for another key each time.
    fn check_nulls(&self, batch: &OutputBatch<'_>, never_null: &[usize]) -> Result<()> {
        for &index in never_null {
            if batch.partitions.iter().flatten().any(|rows| rows.column(index).logical_null_count() > 0) {
                let name = batch.schema.field(index).name();
                let message = format!(
                    "the key \"{name}\" is null in a row, and the table's index holds no null to be equal to another"
                );
                let advice = format!(
                    "give such rows a value in the query, with coalesce, or make the index with NULLS NOT DISTINCT \
                     (PostgreSQL 15): CREATE UNIQUE INDEX ON {} (...) NULLS NOT DISTINCT",
                    self.table
                );
                return Err(Error::new(ErrorKind::Connector, message).at(self.place().column(name)).advice(advice));
            }
        }
        Ok(())
    }

    fn place(&self) -> Place {
        Place::file(format!("postgresql table {}", self.table))
    }

    fn failed(&self, doing: &str, error: postgres::Error) -> Error {
        failed(doing, error, self.place())
    }
}

impl Sink for PostgresSink {
    fn resume(&mut self, _: u64) -> Result<()> {
        self.goes_on = true;
        Ok(())
    }

    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        self.check(schema)?;
        // The client waits for the server inside a runtime of its own, which must not begin inside another one.
        let sink = &mut *self;
        let (client, never_null) = std::thread::scope(|scope| {
            let connecting = scope.spawn(move || {
                let mut client = sink.connect()?;
                let never_null = sink.prepare(&mut client, schema)?;
                Ok((client, never_null))
            });
            connecting.join().unwrap_or_else(|_| Err(Error::internal("the PostgreSQL client panicked")))
        })?;
        self.opened = Some(Opened { client: Some(client), statements: self.statements(schema), never_null });
        Ok(())
    }

    fn write(&mut self, batch: &OutputBatch<'_>) -> Result<WriteReport> {
        let Some(opened) = &self.opened else {
            return Err(Error::internal("a sink was written to before it was opened"));
        };
        self.check_nulls(batch, &opened.never_null)?;
        let statements = opened.statements.clone();
        let copied = copied(batch.schema, batch.partitions.iter().flatten(), !self.key.is_empty())?;
        let id = i64::try_from(batch.batch_id).map_err(|_| Error::internal("a batch's number is too large"))?;
        let client = self.opened.as_mut().and_then(|opened| opened.client.take());
        let mut client = match client.filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.connect()?,
        };
        let written = self.write_to(&mut client, id, &copied, &statements);
        // After trouble that may pass, the next try is made on a connection of its own.
        let is_sound = written.as_ref().err().is_none_or(|error| error.retry() == Retry::Never);
        if let (true, Some(opened)) = (is_sound, &mut self.opened) {
            opened.client = Some(client);
        }
        written?;
        Ok(WriteReport { rows: copied.rows, bytes: copied.text.len() as u64 })
    }

    fn close(&mut self) -> Result<()> {
        let client = self.opened.take().and_then(|opened| opened.client);
        client.map_or(Ok(()), |client| client.close().map_err(|error| self.failed("close the connection", error)))
    }

    fn repeat(&self) -> Repeat {
        Repeat::Keeps
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("statements", &self.statements).finish_non_exhaustive()
    }
}

/// A name as it stands in statements.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
