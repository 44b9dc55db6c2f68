//! `ads`: events of an advertising system, as in the Yahoo streaming benchmark.

use std::sync::Arc;

use arrow_array::Int64Array;

use super::draw::{Draw, KeyDraw};
use super::text_column::TextColumn;
use super::{Generator, Options, TextForm, batch_of, key_count, row_numbers, schema_of};
use crate::columnar::{DataType, RecordBatch, SchemaRef};
use crate::error::{Error, ErrorKind, Result};

const USERS: u64 = 1_000_000;
const PAGES: u64 = 10_000;
const ADS: u64 = 1_000;
const ADS_PER_CAMPAIGN: u64 = 10;
const ADDRESSES: u64 = 1 << 17;
const EVENTS_PER_SECOND: u64 = 10_000;
/// The first event's time: 2025-03-03 09:00:00 UTC.
const START_MS: u64 = 1_740_992_400_000;

const AD_TYPES: [&str; 5] = ["banner", "modal", "sponsored-search", "mail", "mobile"];
const EVENT_TYPES: [&str; 3] = ["view", "click", "purchase"];

#[derive(Debug)]
struct Ads {
    schema: SchemaRef,
    user: KeyDraw,
    page: Draw,
    ad: KeyDraw,
    ad_type: Draw,
    event_type: Draw,
    late: Draw,
    address: Draw,
    time: EventTime,
}

/// When the event of a row happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventTime {
    start_ms: u64,
    events_per_second: u64,
    late_ms: u64,
}

impl EventTime {
    pub(super) fn new(start_ms: u64, usual_events_per_second: u64, options: &Options) -> Result<Self> {
        let events_per_second = options.events_per_second.unwrap_or(usual_events_per_second);
        if events_per_second == 0 {
            return Err(Error::new(ErrorKind::InvalidOption, "no events in a second would mean no time ever passes")
                .advice("set events_per_second to at least 1"));
        }
        if options.late_ms > start_ms {
            return Err(Error::new(ErrorKind::InvalidOption, format!("{} ms late is before 1970", options.late_ms))
                .advice(format!("set late_ms to at most {start_ms}")));
        }
        Ok(Self { start_ms, events_per_second, late_ms: options.late_ms })
    }

    /// Milliseconds since 1970.
    #[inline]
    pub(super) fn ms(self, row: u64, late: Draw) -> u64 {
        let on_time = self.start_ms + row * 1000 / self.events_per_second;
        if self.late_ms == 0 { on_time } else { on_time - late.below(row, self.late_ms + 1) }
    }
}

pub(super) fn make(seed: u64, options: &Options) -> Result<Arc<dyn Generator>> {
    let text = |name| (name, DataType::Utf8);
    Ok(Arc::new(Ads {
        schema: schema_of(&[
            text("user_id"),
            text("page_id"),
            text("ad_id"),
            text("ad_type"),
            text("event_type"),
            ("event_time", DataType::Int64),
            text("ip_address"),
        ]),
        user: KeyDraw::new(seed, 0, key_count(options, USERS, u64::from(u32::MAX))?, options),
        page: Draw::new(seed, 1),
        ad: KeyDraw::new(seed, 2, ADS, options),
        ad_type: Draw::new(seed, 3),
        event_type: Draw::new(seed, 4),
        late: Draw::new(seed, 5),
        address: Draw::new(seed, 6),
        time: EventTime::new(START_MS, EVENTS_PER_SECOND, options)?,
    }))
}

impl Generator for Ads {
    fn name(&self) -> &'static str {
        "ads"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn text_form(&self) -> TextForm {
        TextForm::Json
    }

    #[expect(clippy::cast_possible_wrap, reason = "milliseconds up to the last row number are far below 2^63")]
    fn rows(&self, first_row: u64, rows: usize) -> Result<RecordBatch> {
        let numbers = row_numbers(first_row, rows)?;
        let mut user = TextColumn::with_capacity(rows, 6);
        let mut page = TextColumn::with_capacity(rows, 4);
        let mut ad = TextColumn::with_capacity(rows, 7);
        let mut ad_type = TextColumn::with_capacity(rows, 8);
        let mut event_type = TextColumn::with_capacity(rows, 6);
        let mut address = TextColumn::with_capacity(rows, 14);
        for row in numbers.clone() {
            user.digits(self.user.key(row), 1).end();
            page.digits(self.page.below(row, PAGES), 1).end();
            ad.add("ad-").digits(self.ad.key(row), 4).end();
            ad_type.add(self.ad_type.pick(row, &AD_TYPES)).end();
            event_type.add(self.event_type.pick(row, &EVENT_TYPES)).end();
            add_address(&mut address, self.address.below(row, ADDRESSES));
            address.end();
        }
        let time = Int64Array::from_iter_values(numbers.map(|row| self.time.ms(row, self.late) as i64));
        let columns = vec![
            user.finish()?,
            page.finish()?,
            ad.finish()?,
            ad_type.finish()?,
            event_type.finish()?,
            Arc::new(time),
            address.finish()?,
        ];
        batch_of(&self.schema, columns)
    }
}

/// An address of 198.18.0.0/15, which is set aside for measurements and belongs to nobody.
pub(super) fn add_address(column: &mut TextColumn, number: u64) {
    column.add("198.").digits(18 + (number >> 16 & 1), 1);
    column.add(".").digits(number >> 8 & 255, 1).add(".").digits(number & 255, 1);
}

/// The table `ad_id`, `campaign_id` that belongs to `ads`: each ad's campaign.
///
/// # Errors
/// None that a caller can cause.
pub fn campaigns() -> Result<RecordBatch> {
    let schema = schema_of(&[("ad_id", DataType::Utf8), ("campaign_id", DataType::Utf8)]);
    let rows = super::draw::index(ADS);
    let mut ad = TextColumn::with_capacity(rows, 7);
    let mut campaign = TextColumn::with_capacity(rows, 12);
    for number in 0..ADS {
        ad.add("ad-").digits(number, 4).end();
        campaign.add("campaign-").digits(number / ADS_PER_CAMPAIGN, 3).end();
    }
    batch_of(&schema, vec![ad.finish()?, campaign.finish()?])
}
