//! What the server or the connection says, as errors that tell whose move it is.

use crate::error::{Error, ErrorKind, Place};

/// The error of the server or of the connection, and whether it may pass.
pub(super) fn failed(doing: &str, error: postgres::Error, place: Place) -> Error {
    let told = error.as_db_error().map_or_else(
        || std::error::Error::source(&error).map_or(error.to_string(), |cause| format!("{error}: {cause}")),
        |told| {
            let detail = told.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
            format!("{} ({}){detail}", told.message(), told.code().code())
        },
    );
    let code = error.code().map(|code| code.code().to_owned());
    let failed = Error::new(ErrorKind::Connector, format!("PostgreSQL cannot {doing}: {told}")).at(place);
    let failed = match advice(code.as_deref()) {
        Some(advice) => failed.advice(advice),
        None => failed,
    };
    let failed = failed.because(error);
    if passes(code.as_deref()) { failed.retry_later() } else { failed }
}

/// The error of sending rows: that of the server, if it said one before the connection ended.
pub(super) fn broken(error: std::io::Error, place: Place) -> Error {
    let text = error.to_string();
    match error.into_inner().and_then(|inner| inner.downcast::<postgres::Error>().ok()) {
        Some(error) => failed("write", *error, place),
        None => {
            let message = format!("the connection to PostgreSQL broke: {text}");
            Error::new(ErrorKind::Connector, message).at(place).retry_later()
        }
    }
}

/// Whether the same again may go well: connections, resources, an operator's orders, and transactions that got in each
/// other's way. Without a code it was no answer of a server.
fn passes(code: Option<&str>) -> bool {
    code.is_none_or(|code| {
        let class = code.get(..2).unwrap_or_default();
        matches!(class, "08" | "53" | "57" | "58") || matches!(code, "40001" | "40P01" | "55P03" | "25006")
    })
}

/// What people can do about it.
fn advice(code: Option<&str>) -> Option<&'static str> {
    Some(match code? {
        "23505" => {
            "another row has these values already: say the columns of the unique index as the key of the sink, so that a row \
             replaces the one that is there"
        }
        "23502" => {
            "the table takes no null there: give such rows a value in the query, with coalesce, or filter them out"
        }
        "23503" | "23514" | "23P01" => "the table has a rule that a row breaks: filter such rows out before the sink",
        "42501" => {
            "let the user of the connection have what it takes: INSERT on the table (with a key also SELECT, UPDATE and \
             TEMPORARY), and SELECT, INSERT and DELETE on pelton_commits; CREATE where tables are to be made"
        }
        "28P01" | "28000" => "give the user and the password of the connection, the password by password_env",
        "3D000" => "make the database first, or name another one in the connection",
        "3F000" => "make the schema first, or name another one",
        "22003" | "22001" | "22P02" | "22007" | "22008" => {
            "a value does not fit the table's column: cast it in the query, or change the table"
        }
        "22021" | "22P05" => "PostgreSQL keeps no text with a null character: replace it in the query",
        "53100" => "the server's disk is full",
        "53300" => "the server has no connection left: let it take more, or use fewer",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_does_not() {
        for (code, expected) in [
            (None, true),
            (Some("57P01"), true),
            (Some("40001"), true),
            (Some("53300"), true),
            (Some("23505"), false),
            (Some("42501"), false),
            (Some("22003"), false),
        ] {
            assert_eq!(passes(code), expected, "{code:?}");
        }
    }

    #[test]
    fn a_connection_that_ends_while_rows_are_sent_may_come_back() {
        let error = broken(std::io::Error::other("gone"), Place::file("here"));
        assert_eq!(error.retry(), crate::error::Retry::Later);
    }
}
