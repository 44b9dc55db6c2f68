//! Records that cannot be read: what happens to them, and what is told and kept of them.
//!
//! A reader counts each in its [`ReadReport`] and keeps a few as examples. One that is put in quarantine is kept whole, as
//! a [`SetAside`], until somebody takes it from the reader. What becomes of those is not decided here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::columnar::Schema;
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::Checksum;
use crate::limits::{BAD_RECORD_EXAMPLES_MAX, NOTICES_MAX, QUARANTINE_BYTES_MAX};

/// What happens to a record that cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadRecordPolicy {
    /// The query stops, with the place of the record.
    #[default]
    Fail,
    /// The record is left out and counted.
    Drop,
    /// Fields that cannot be read are null; a record that cannot be taken apart is a row of nulls. Counted.
    Null,
    /// The record is left out, counted, and kept as it came in the quarantine of the query.
    Quarantine,
}

/// What happens to the bad records of one source: the same to all, but for values of columns that have a policy of their
/// own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Policies {
    pub(super) record: BadRecordPolicy,
    pub(super) columns: BTreeMap<String, BadRecordPolicy>,
}

impl Policies {
    /// That of each column of a schema.
    pub(super) fn of_columns(&self, schema: &Schema) -> Vec<BadRecordPolicy> {
        let own = |name: &String| self.columns.get(name).copied().unwrap_or(self.record);
        schema.fields().iter().map(|field| own(field.name())).collect()
    }

    /// Whether any bad record may be put in quarantine.
    pub(super) fn may_quarantine(&self) -> bool {
        let mut all = self.columns.values().chain([&self.record]);
        all.any(|policy| *policy == BadRecordPolicy::Quarantine)
    }
}

/// The notice that a file has a column that the schema, which was taken from another file, does not have.
pub(super) fn new_column(name: &str) -> String {
    format!("the column \"{name}\" is new and is not read: the columns were taken from an earlier sample")
}

/// A record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// Where it stands.
    pub place: Place,
    /// What is wrong with it.
    pub reason: String,
}

/// A record that was left out and kept as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it stands and what is wrong with it.
    pub record: BadRecord,
    /// Its bytes, without the line end. Of a record that is too long, the first 64 KiB.
    pub bytes: Vec<u8>,
}

/// What a reader did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Rows given.
    pub rows: u64,
    /// Rows that were not given, since the query's filters would not let them pass.
    pub pruned: u64,
    /// How often a name came again in one object of NDJSON: its last value counts.
    pub repeated: u64,
    /// Bytes read from the source, before decompression.
    pub bytes: u64,
    /// Records left out because they could not be read.
    pub dropped: u64,
    /// Records given although some of their fields could not be read.
    pub nulled: u64,
    /// Records left out because they could not be read, and kept for the quarantine.
    pub quarantined: u64,
    /// The checksum of the records read, good and bad, after decompression; of formats that are made of lines.
    pub checksum: Checksum,
    /// The first few of all these.
    pub examples: Vec<BadRecord>,
    /// What should be looked at although nothing is wrong: new columns that are not read. The first few.
    pub notices: Vec<String>,
}

impl ReadReport {
    /// Counts a bad record as the policy says, and keeps it as an example if there is room.
    ///
    /// # Errors
    /// `BadRecord`, if the policy is `fail`.
    pub fn bad_record(&mut self, policy: BadRecordPolicy, record: BadRecord) -> Result<()> {
        match policy {
            BadRecordPolicy::Fail => {
                return Err(Error::new(ErrorKind::BadRecord, record.reason)
                    .at(record.place)
                    .advice("mend the record, or set on_bad_record to \"drop\", \"null\" or \"quarantine\""));
            }
            BadRecordPolicy::Drop => self.dropped += 1,
            BadRecordPolicy::Null => self.nulled += 1,
            BadRecordPolicy::Quarantine => self.quarantined += 1,
        }
        if self.examples.len() < BAD_RECORD_EXAMPLES_MAX {
            self.examples.push(record);
        }
        Ok(())
    }

    /// Adds what the reader of what follows did.
    pub fn absorb(&mut self, other: Self) {
        self.rows += other.rows;
        self.pruned += other.pruned;
        self.repeated += other.repeated;
        self.bytes += other.bytes;
        self.dropped += other.dropped;
        self.nulled += other.nulled;
        self.quarantined += other.quarantined;
        self.checksum = self.checksum.then(other.checksum);
        let room = BAD_RECORD_EXAMPLES_MAX.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
        other.notices.into_iter().for_each(|notice| self.notice(notice));
    }

    /// Keeps a notice, if it is new and there is room.
    pub fn notice(&mut self, notice: String) {
        if self.notices.len() < NOTICES_MAX && !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    /// Records that could not be read as they should.
    pub fn bad_records(&self) -> u64 {
        self.dropped + self.nulled + self.quarantined
    }
}

/// Records on their way to the quarantine, in bounded memory.
#[derive(Debug, Default)]
pub struct Aside {
    records: Vec<SetAside>,
    bytes: u64,
}

impl Aside {
    /// Keeps a record.
    ///
    /// # Errors
    /// `BadRecord`, if more is kept than [`QUARANTINE_BYTES_MAX`] allows.
    pub fn push(&mut self, record: SetAside) -> Result<()> {
        self.bytes += record.bytes.len() as u64 + record.record.reason.len() as u64;
        if self.bytes > QUARANTINE_BYTES_MAX {
            return Err(too_much(&record.record));
        }
        self.records.push(record);
        Ok(())
    }

    /// All that is kept; nothing is afterwards.
    pub fn take(&mut self) -> Vec<SetAside> {
        self.bytes = 0;
        std::mem::take(&mut self.records)
    }
}

/// The error of a batch that would hold more bad records in memory than it may.
pub(crate) fn too_much(latest: &BadRecord) -> Error {
    let message =
        format!("the bad records of one batch have more than {QUARANTINE_BYTES_MAX} bytes: {}", latest.reason);
    Error::new(ErrorKind::BadRecord, message).at(latest.place.clone()).advice(
        "look whether the schema fits the data; else bound the batch by limits, or set on_bad_record to \"drop\"",
    )
}
