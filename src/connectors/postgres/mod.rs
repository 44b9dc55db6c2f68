//! Rows into a table of PostgreSQL, exactly once: one transaction a micro-batch, with the batch's id.
//!
//! The transaction that writes the rows of a batch also writes a row of `pelton_commits`: query, sink, batch, how many rows,
//! and their checksum. A batch that comes again after a crash finds it and writes nothing, so it does not matter whether the
//! process died before the transaction, in it, or after it. If a batch comes again with other rows (after a rollback with
//! `--recut`), rows that were appended cannot be told from others any more: that is refused, never guessed.
//!
//! Rows go over by `COPY` ([`copy_text`]); with a key they go to a temporary table and from there by `ON CONFLICT` into the
//! table, of several rows with one key the last one. A lock of the session keeps a second query of the same name out.

mod copy_text;

use std::io::Write;
use std::time::Duration;

use postgres::error::SqlState;
use postgres::{Client, Config, NoTls, Transaction};

use crate::columnar::SchemaRef;
use crate::connectors::{OutputBatch, Repeat, Sink, WriteReport};
use crate::error::{Error, ErrorKind, Place, Result};

/// The table that says which batches have been written.
const COMMITS: &str = "CREATE TABLE IF NOT EXISTS pelton_commits (query text NOT NULL, sink text NOT NULL, \
    batch bigint NOT NULL, rows bigint NOT NULL, checksum bigint NOT NULL, PRIMARY KEY (query, sink, batch))";

/// Batches that are remembered in it.
const BATCHES_REMEMBERED: i64 = 10_000;

/// How often, and how long apart, the lock is tried: a server takes a moment to notice that a process has died.
const LOCK_TRIES: u32 = 50;
const LOCK_WAIT: Duration = Duration::from_millis(100);

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
#[derive(Debug)]
pub struct PostgresSink {
    config: Config,
    query: String,
    name: String,
    /// As it stands in statements.
    table: String,
    key: Vec<String>,
    earlier: Earlier,
    goes_on: bool,
    opened: Option<Opened>,
}

struct Opened {
    /// Gone when the connection broke; the next write makes another.
    client: Option<Client>,
    /// The statements of each batch.
    statements: Statements,
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
        let config = connection.parse::<Config>().map_err(|error| {
            Error::new(ErrorKind::InvalidOption, format!("this is no connection to PostgreSQL: {error}"))
                .advice("write it as \"postgresql://user@host/database\" or \"host=... user=... dbname=...\"")
        })?;
        let parts = table.split('.').map(str::trim).collect::<Vec<_>>();
        if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) {
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

    /// A row replaces the row that has the same values in these columns. A table that is there needs a unique index on them.
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

    /// Checks that rows of this schema can be written, without a connection.
    ///
    /// # Errors
    /// `Unsupported` for a column whose type a table cannot hold, `InvalidQuery` for a key that is no column.
    pub fn check(&self, schema: &SchemaRef) -> Result<()> {
        if let Some(unknown) = self.key.iter().find(|key| schema.column_with_name(key).is_none()) {
            return Err(Error::invalid_query(format!("the key \"{unknown}\" is not among the columns to be written")));
        }
        schema.fields().iter().try_for_each(|field| copy_text::sql_type(field).map(drop))
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
        let mut tries = 0;
        loop {
            let locked = client.query_one("SELECT pg_try_advisory_lock(hashtextextended($1, 7305))", &[&lock]);
            let is_locked: bool = locked.map_err(|error| self.failed("lock", error))?.get(0);
            if is_locked {
                return Ok(client);
            }
            if tries == LOCK_TRIES {
                let message =
                    format!("the sink \"{}\" of the query \"{}\" is in use by another process", self.name, self.query);
                return Err(Error::new(ErrorKind::Connector, message)
                    .at(self.place())
                    .advice("wait until that one has ended, or give the query or the sink another name"));
            }
            tries += 1;
            std::thread::sleep(LOCK_WAIT);
        }
    }

    /// Makes what is not there yet, and asks the server whether rows of this schema fit.
    fn prepare(&self, client: &mut Client, schema: &SchemaRef) -> Result<()> {
        let fields = schema.fields().iter();
        let columns = fields.map(|field| Ok(format!("{} {}", quoted(field.name()), copy_text::sql_type(field)?)));
        let mut columns = columns.collect::<Result<Vec<_>>>()?;
        let key = self.key.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(", ");
        if !key.is_empty() {
            columns.push(format!("PRIMARY KEY ({key})"));
        }
        let names = schema.fields().iter().map(|field| quoted(field.name())).collect::<Vec<_>>().join(", ");
        let conflict = if key.is_empty() { String::new() } else { format!(" ON CONFLICT ({key}) DO NOTHING") };
        let table = &self.table;
        let text = format!(
            "{COMMITS}; CREATE TABLE IF NOT EXISTS {table} ({}); \
             EXPLAIN INSERT INTO {table} ({names}) SELECT {names} FROM {table} WHERE false{conflict}",
            columns.join(", ")
        );
        // Others may make the same tables at the same moment.
        let mut made = client.batch_execute(&text);
        if made.as_ref().is_err_and(|error| error.code() == Some(&SqlState::UNIQUE_VIOLATION)) {
            made = client.batch_execute(&text);
        }
        made.map_err(|error| self.failed("prepare the table", error))?;
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
                forget.execute(&format!("DELETE FROM {table}"), &[])?;
            }
            forget.commit()
        })();
        forgotten.map_err(|error| self.failed("forget earlier batches", error))
    }

    /// Writes a batch that has not been written.
    fn write_new(&self, transaction: &mut Transaction<'_>, copied: &copy_text::Copied, to: &Statements) -> Result<()> {
        let failed = |error| self.failed("write", error);
        if let Some(stage) = &to.stage {
            transaction.batch_execute(stage).map_err(failed)?;
        }
        let mut copy = transaction.copy_in(&to.copy).map_err(failed)?;
        copy.write_all(&copied.text).map_err(|error| {
            let message = format!("the connection to PostgreSQL broke: {error}");
            Error::new(ErrorKind::Connector, message).at(self.place()).because(error).retry_later()
        })?;
        let rows = copy.finish().map_err(failed)?;
        if rows != copied.rows {
            return Err(Error::internal(format!("PostgreSQL took {rows} rows of {}", copied.rows)));
        }
        if let Some(merge) = &to.merge {
            transaction.execute(merge, &[]).map_err(failed)?;
        }
        Ok(())
    }

    fn write_to(&self, client: &mut Client, batch: i64, copied: &copy_text::Copied, to: &Statements) -> Result<()> {
        let failed = |error| self.failed("write", error);
        let mut transaction = client.transaction().map_err(failed)?;
        let known = transaction.query_opt(
            "SELECT rows, checksum FROM pelton_commits WHERE query = $1 AND sink = $2 AND batch = $3",
            &[&self.query, &self.name, &batch],
        );
        let rows = i64::try_from(copied.rows).unwrap_or(i64::MAX);
        let checksum = i64::from(copied.checksum);
        if let Some(known) = known.map_err(failed)? {
            if (known.get::<_, i64>(0), known.get::<_, i64>(1)) == (rows, checksum) {
                return Ok(());
            }
            let message = format!(
                "batch {batch} was written with {} rows, and comes again with other rows ({rows})",
                known.get::<_, i64>(0)
            );
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

    fn place(&self) -> Place {
        Place::file(format!("postgresql table {}", self.table))
    }

    /// The error of the server or of the connection, and whether it may pass.
    fn failed(&self, doing: &str, error: postgres::Error) -> Error {
        let told = error.as_db_error().map_or_else(
            || std::error::Error::source(&error).map_or(error.to_string(), |cause| format!("{error}: {cause}")),
            |told| format!("{} ({})", told.message(), told.code().code()),
        );
        let passes = error.code().is_none_or(|code| {
            let class = &code.code()[..2];
            // Connections, resources, an operator's orders, and transactions that got in each other's way.
            matches!(class, "08" | "53" | "57") || matches!(code.code(), "40001" | "40P01")
        });
        let failed = Error::new(ErrorKind::Connector, format!("PostgreSQL cannot {doing}: {told}")).at(self.place());
        let failed = failed.because(error);
        if passes { failed.retry_later() } else { failed }
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
        let client = std::thread::scope(|scope| {
            let connecting = scope.spawn(|| {
                let mut client = self.connect()?;
                self.prepare(&mut client, schema)?;
                Ok(client)
            });
            connecting.join().unwrap_or_else(|_| Err(Error::internal("the PostgreSQL client panicked")))
        })?;
        self.opened = Some(Opened { client: Some(client), statements: self.statements(schema) });
        Ok(())
    }

    fn write(&mut self, batch: &OutputBatch<'_>) -> Result<WriteReport> {
        let Some(mut opened) = self.opened.take() else {
            return Err(Error::internal("a sink was written to before it was opened"));
        };
        let written = (|| {
            let copied = copy_text::copied(batch.schema, batch.partitions.iter().flatten(), !self.key.is_empty())?;
            let id = i64::try_from(batch.batch_id).map_err(|_| Error::internal("a batch's number is too large"))?;
            let mut client = match opened.client.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => self.connect()?,
            };
            let written = self.write_to(&mut client, id, &copied, &opened.statements);
            opened.client = Some(client);
            written?;
            Ok(WriteReport { rows: copied.rows, bytes: copied.text.len() as u64 })
        })();
        self.opened = Some(opened);
        written
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
