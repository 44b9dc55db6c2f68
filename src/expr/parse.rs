//! Expressions from SQL text.
