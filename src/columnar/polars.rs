//! Polars frames in and out.
