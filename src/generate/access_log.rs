//! `access_log`: lines of a web server's access log in Apache's combined format.
//!
//! Most requests succeed. Some redirect, some ask for what is not there, and in one minute out of six the server is
//! unwell, so that the share of errors by minute has something to show.

use std::sync::Arc;

use chrono::{DateTime, Datelike};

use super::ads::{EventTime, add_address};
use super::draw::{Draw, KeyDraw, index};
use super::text_column::TextColumn;
use super::{Generator, Options, TextForm, batch_of, key_count, row_numbers, schema_of};
use crate::columnar::{DataType, RecordBatch, SchemaRef};
use crate::error::{Error, Result};

const HOSTS: u64 = 5_000;
const HOSTS_MAX: u64 = 1 << 17;
const EVENTS_PER_SECOND: u64 = 50;
/// The first request's time: 2025-03-03 09:00:00 UTC.
const START_MS: u64 = 1_740_992_400_000;
const DAY_S: u64 = 86_400;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const USERS: [&str; 4] = ["ada", "bo", "chen", "dilan"];
/// One request in so many comes from somebody who has logged in.
const ONE_USER_IN: u64 = 20;
const METHODS: [(&str, u64); 4] = [("GET", 88), ("POST", 8), ("HEAD", 3), ("DELETE", 1)];
const PATHS: [&str; 14] = [
    "/",
    "/index.html",
    "/about",
    "/blog/",
    "/blog/how-turbines-work",
    "/images/wheel.png",
    "/images/bucket.jpg",
    "/css/site.css",
    "/js/app.js",
    "/api/v1/items",
    "/api/v1/items?page=2",
    "/search?q=water%20jet",
    "/robots.txt",
    "/feed.xml",
];
const STATUSES: [&str; 9] = ["200", "201", "206", "301", "304", "403", "404", "500", "503"];
const USUAL: [u64; 9] = [780, 30, 10, 30, 60, 10, 60, 15, 5];
const UNWELL: [u64; 9] = [550, 20, 10, 30, 60, 10, 60, 100, 160];
const UNWELL_EVERY: u64 = 6;
const REFERRERS: [&str; 4] =
    ["-", "https://example.org/", "https://example.com/links?id=7", "https://search.example.net/?q=pelton+wheel"];
const AGENTS: [&str; 5] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "curl/8.8.0",
    "ExampleBot/2.1 (+https://example.net/bot)",
];

#[derive(Debug)]
struct AccessLog {
    schema: SchemaRef,
    host: KeyDraw,
    user: Draw,
    method: Draw,
    path: Draw,
    status: Draw,
    bytes: Draw,
    referrer: Draw,
    agent: Draw,
    late: Draw,
    minute: Draw,
    time: EventTime,
}

pub(super) fn make(seed: u64, options: &Options) -> Result<Arc<dyn Generator>> {
    Ok(Arc::new(AccessLog {
        schema: schema_of(&[("line", DataType::Utf8)]),
        host: KeyDraw::new(seed, 0, key_count(options, HOSTS, HOSTS_MAX)?, options),
        user: Draw::new(seed, 1),
        method: Draw::new(seed, 2),
        path: Draw::new(seed, 3),
        status: Draw::new(seed, 4),
        bytes: Draw::new(seed, 5),
        referrer: Draw::new(seed, 6),
        agent: Draw::new(seed, 7),
        late: Draw::new(seed, 8),
        minute: Draw::new(seed, 9),
        time: EventTime::new(START_MS, EVENTS_PER_SECOND, options)?,
    }))
}

impl AccessLog {
    fn add_line(&self, lines: &mut TextColumn, row: u64, second: u64, date: &str) {
        add_address(lines, self.host.key(row));
        let user = USERS.get(index(self.user.below(row, ONE_USER_IN * USERS.len() as u64))).unwrap_or(&"-");
        lines.add(" - ").add(user).add(" [").add(date);
        let of_day = second % DAY_S;
        lines.digits(of_day / 3600, 2).add(":").digits(of_day / 60 % 60, 2).add(":").digits(of_day % 60, 2);
        let (method, _) = METHODS[self.method.weighted(row, &METHODS.map(|(_, weight)| weight))];
        lines.add(" +0000] \"").add(method).add(" ").add(self.path.pick(row, &PATHS)).add(" HTTP/1.1\" ");
        let unwell = self.minute.below(second / 60, UNWELL_EVERY) == 0;
        let status = STATUSES[self.status.weighted(row, if unwell { &UNWELL } else { &USUAL })];
        lines.add(status).add(" ");
        if status == "304" {
            lines.add("-"); // an answer without a body
        } else {
            // Sizes from some bytes to some hundred kilobytes, small ones more often.
            let magnitude = 8 + self.bytes.below(row, 11);
            lines.digits(self.bytes.bits(row) & ((1 << magnitude) - 1), 1);
        }
        lines.add(" \"").add(self.referrer.pick(row, &REFERRERS));
        lines.add("\" \"").add(self.agent.pick(row, &AGENTS)).add("\"");
    }
}

impl Generator for AccessLog {
    fn name(&self) -> &'static str {
        "access_log"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn text_form(&self) -> TextForm {
        TextForm::Lines
    }

    fn rows(&self, first_row: u64, rows: usize) -> Result<RecordBatch> {
        let numbers = row_numbers(first_row, rows)?;
        let mut lines = TextColumn::with_capacity(rows, 180);
        let mut dated = (u64::MAX, String::new());
        for row in numbers {
            let second = self.time.ms(row, self.late) / 1000;
            let day = second / DAY_S;
            if dated.0 != day {
                dated = (day, date(day)?);
            }
            self.add_line(&mut lines, row, second, &dated.1);
            lines.end();
        }
        batch_of(&self.schema, vec![lines.finish()?])
    }
}

/// `03/Mar/2025:`, in English whatever the locale.
fn date(day: u64) -> Result<String> {
    let date = i64::try_from(day * DAY_S).ok().and_then(|second| DateTime::from_timestamp(second, 0));
    let date = date.ok_or_else(|| Error::internal(format!("day {day} after 1970 has no date")))?;
    let month = MONTHS[index(u64::from(date.month0()))];
    Ok(format!("{:02}/{month}/{}:", date.day(), date.year()))
}
