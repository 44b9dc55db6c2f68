//! Literals as SQL text.

use std::fmt;

use arrow_array::temporal_conversions::as_datetime;
use arrow_array::types::{
    ArrowTimestampType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use chrono::{Days, NaiveDate};

use super::names::{quoted, type_name, unit_name};
use crate::columnar::{Scalar, TimeUnit};
use crate::expr::literal::unit_nanos;
use crate::expr::span;

pub(super) fn write(f: &mut fmt::Formatter<'_>, value: &Scalar) -> fmt::Result {
    match value {
        Scalar::Null => f.write_str("NULL"),
        Scalar::Boolean(true) => f.write_str("TRUE"),
        Scalar::Boolean(false) => f.write_str("FALSE"),
        Scalar::Int64(value) => write!(f, "{value}"),
        Scalar::UInt64(value) => write!(f, "{value}"),
        Scalar::Float64(value) if value.is_finite() => write!(f, "{value:?}"),
        Scalar::Float64(value) => write!(f, "DOUBLE '{value}'"),
        Scalar::Decimal128 { unscaled, scale, .. } => {
            write!(f, "{} '{}'", type_name(&value.data_type()), decimal(*unscaled, *scale))
        }
        Scalar::Utf8(text) => f.write_str(&quoted(text)),
        Scalar::Binary(bytes) => {
            f.write_str("X'")?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))?;
            f.write_str("'")
        }
        Scalar::Date32(days) => match date(*days) {
            Some(date) => write!(f, "DATE '{date}'"),
            None => write!(f, "CAST({days} AS date)"),
        },
        Scalar::Timestamp(value, unit, zone) => timestamp(f, *value, *unit, zone.as_deref()),
        Scalar::Duration(value, unit) => match value.checked_mul(unit_nanos(*unit)) {
            Some(nanos) if nanos != i64::MIN => write!(f, "INTERVAL '{}'", span::format(nanos)),
            _ => write!(f, "INTERVAL '{value} {}'", unit_name(*unit)),
        },
        Scalar::List(values) => several(f, "[", values, "]"),
        Scalar::Struct(values) => several(f, "(", values, ")"),
    }
}

fn several(f: &mut fmt::Formatter<'_>, open: &str, values: &[Scalar], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (index, value) in values.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        write(f, value)?;
    }
    f.write_str(close)
}

fn decimal(unscaled: i128, scale: i8) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    let Ok(scale) = usize::try_from(scale) else {
        return format!("{sign}{digits}{}", "0".repeat(scale.unsigned_abs().into()));
    };
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

fn date(days: i32) -> Option<NaiveDate> {
    let epoch = NaiveDate::default();
    let span = Days::new(days.unsigned_abs().into());
    let date = if days < 0 { epoch.checked_sub_days(span) } else { epoch.checked_add_days(span) };
    date.filter(|date| ("0000-01-01".."9999-99-99").contains(&date.to_string().as_str()))
}

fn timestamp(f: &mut fmt::Formatter<'_>, value: i64, unit: TimeUnit, zone: Option<&str>) -> fmt::Result {
    fn moment<T: ArrowTimestampType>(value: i64) -> Option<String> {
        as_datetime::<T>(value).map(|moment| moment.format("%Y-%m-%d %H:%M:%S%.f").to_string())
    }
    let text = match unit {
        TimeUnit::Second => moment::<TimestampSecondType>(value),
        TimeUnit::Millisecond => moment::<TimestampMillisecondType>(value),
        TimeUnit::Microsecond => moment::<TimestampMicrosecondType>(value),
        TimeUnit::Nanosecond => moment::<TimestampNanosecondType>(value),
    };
    let precision = match unit {
        TimeUnit::Second => "(0)",
        TimeUnit::Millisecond => "(3)",
        TimeUnit::Microsecond => "",
        TimeUnit::Nanosecond => "(9)",
    };
    let data_type = type_name(&Scalar::Timestamp(value, unit, zone.map(Into::into)).data_type());
    match (text, zone) {
        (Some(text), None) => write!(f, "TIMESTAMP{precision} '{text}'"),
        (Some(text), Some("UTC")) => write!(f, "TIMESTAMPTZ{precision} '{text}'"),
        (Some(text), Some(_)) => write!(f, "CAST('{text}Z' AS {data_type})"),
        (None, _) => write!(f, "CAST({value} AS {data_type})"),
    }
}
