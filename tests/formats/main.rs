//! Reading and writing files: every cut gives the same rows, every bad input an error with its place, and what is
//! written reads back the same.

mod bad_input;
mod cuts;
mod support;
