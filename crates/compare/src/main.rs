//! `pelton bench` beside DataFusion.

fn main() {
    let _ = datafusion::prelude::SessionContext::new();
}
