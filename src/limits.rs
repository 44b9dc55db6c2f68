//! Every fixed number of the engine, with its unit and how it relates to the others.

/// Rows in one record batch handed from a reader to a stage. A tile of this many 8-byte values is 128 KiB: several
/// columns of it lie in a second-level cache (1 to 2 MiB), so that a stage finds warm what a reader has just written.
pub const ROWS_PER_READ_MAX: usize = 16_384;

/// Rows that a thread should get at least when a program cuts its input: fewer are done before a second thread has woken
/// up. The rows of one piece lie in whole tiles.
pub const ROWS_PER_THREAD_MIN: usize = 2 * ROWS_PER_READ_MAX;

/// Rows of a program's input whose ordered sums are made row by row before they are added to those of the rows before: the
/// places of these cuts must not hang on threads, batches or tiles.
pub const ROWS_PER_ORDERED_CUT: usize = 1 << 20;

/// Groups of a task that is kept for the next batch: some ten MiB. A larger one gives its memory back.
pub const GROUPS_KEPT_MAX: usize = 1 << 17;

/// Tasks of one stage that are kept for the next batch.
pub const TASKS_KEPT_MAX: usize = 64;

/// Threads for which a program waits that is given rows batch by batch: rows for more of them would be too many to hold.
pub const THREADS_WAITED_FOR_MAX: usize = 8;

/// Partials that wait to be merged. More are put together, so that a long row of batches does not hold them all.
pub const PARTIALS_HELD_MAX: usize = 32;

/// Bytes that one partition should hold at least, below which cutting a batch further costs more than it gains.
pub const PARTITION_BYTES_MIN: u64 = 1 << 20;

/// Threads of one query at most: far more than cores help nobody, and a system that runs out of threads stops the process.
pub const THREADS_MAX: usize = 4096;

/// Bytes of one text record at most. A longer one is a bad record: nothing else bounds what a reader must hold.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// Different texts of a column that a reader gives as codes, at most: their table should stay in a second-level cache.
pub const CODED_TEXTS_MAX: usize = 8192;

/// Bytes of these texts at most.
pub const CODED_BYTES_MAX: usize = 512 << 10;

/// Fields of one CSV record at most. A record with more is bad, and so is a header: the places and names of fields take more
/// memory than the record.
pub const FIELDS_MAX: usize = 1 << 20;

/// Bytes of lines that a socket source holds until they are committed, if nothing else is asked for.
pub const SOCKET_BUFFER_BYTES: u64 = 64 << 20;

/// Bytes of the first batch of a query that chooses the size of its batches by how long they take.
pub const BATCH_BYTES_FIRST: u64 = 4 << 20;

/// Bytes below which such a query does not make its batches smaller.
pub const BATCH_BYTES_MIN: u64 = 64 << 10;

/// Bytes that a row is thought to take before any has been read, where rows have to be bounded by bytes: fewer than rows
/// have as a rule, so that the first batch has not more of them than it may.
pub const ROW_BYTES_GUESS: u64 = 8;

/// Bad records kept as examples in a batch's report.
pub const BAD_RECORD_EXAMPLES_MAX: usize = 8;

/// Things worth a look that are kept of a batch's input.
pub const NOTICES_MAX: usize = 8;

/// Bytes of bad records that one batch holds for the quarantine at most. More of them stop the query: nothing else bounds
/// what a batch without a single good record would hold.
pub const QUARANTINE_BYTES_MAX: u64 = 256 << 20;

/// Bytes that are kept of a record that is longer than a record may be.
pub const LONG_RECORD_KEPT_BYTES: usize = 64 << 10;

/// Progress records a running query keeps.
pub const PROGRESS_RECORDS_MAX: usize = 128;

/// Groups of one keyed reduce: group ids are `u32`, and the last one marks "no group".
pub const GROUPS_MAX: usize = u32::MAX as usize - 1;

/// Rows that a sample stream makes in one call. A line of an access log has at most 400 bytes, and a text column holds
/// fewer than 2 GiB.
pub const ROWS_PER_GENERATED_BATCH_MAX: usize = 1 << 22;

/// The row numbers of a sample stream lie below this one: row times 1000 (milliseconds) must fit 63 bits, and the time
/// of a row must have a date.
pub const GENERATED_ROW_NUMBER_MAX: u64 = 1 << 42;

/// Rows that are sorted together, joined with one static table or made of one batch: row numbers are `u32`, and the last
/// one marks "no row".
pub const ROW_NUMBERS_MAX: usize = u32::MAX as usize - 1;

const _: () = assert!(ROWS_PER_READ_MAX < GROUPS_MAX, "a single batch must never overflow the group ids");

const _: () = assert!(BATCH_BYTES_MIN <= BATCH_BYTES_FIRST, "a batch begins at a size that it may have");
