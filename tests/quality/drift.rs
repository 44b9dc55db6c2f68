//! Columns that come later than the sample from which a schema was taken: told once, and not read.

use pelton::connectors::directory::DirectorySource;

use super::*;

/// The warnings of each batch of a directory's files, a file a batch.
fn warnings(kind: FormatKind, files: &[&str], schema: Option<SchemaRef>) -> Vec<Vec<String>> {
    let input = tempfile::tempdir().unwrap();
    for (index, text) in files.iter().enumerate() {
        fs::write(input.path().join(format!("{index}.{}", kind.name())), text).unwrap();
    }
    let context = StreamingContext::builder("drift")
        .trigger(Trigger::AvailableNow)
        .limits(ReadLimits { files_max: Some(1), ..ReadLimits::default() })
        .build()
        .unwrap();
    let sample = schema.is_none().then(|| input.path().join(format!("0.{}", kind.name())));
    let mut options = FormatOptions::new(kind);
    options.schema = schema;
    let source = DirectorySource::new(input.path(), options.build(sample.as_deref()).unwrap()).unwrap();
    context.source("files", source).unwrap().print(0).unwrap();
    let query = context.start().unwrap();
    query.await_termination().unwrap();
    query.progress().into_iter().map(|progress| progress.warnings).collect()
}

#[test]
fn a_new_column_is_told_once() {
    let new = "the column \"c\" is new and is not read: the columns were taken from an earlier sample".to_owned();
    let csv = ["a,b\n1,2\n", "a,b\n3,4\n", "c,a,b\n5,6,7\n", "a,c,b\n8,9,10\n"];
    assert_eq!(warnings(FormatKind::Csv, &csv, None), [vec![], vec![], vec![new.clone()], vec![]]);
    let json = ["{\"a\":1,\"b\":2}\n", "{\"a\":3}\n", "{\"b\":{\"c\":1}}\n{\"a\":4,\"c\":5}\n", "{\"c\":6}\n"];
    let json = [json[0], json[1], "{\"a\":4,\"c\":5}\n{\"c\":5}\n", json[3]];
    assert_eq!(warnings(FormatKind::Ndjson, &json, None), [vec![], vec![], vec![new], vec![]]);
    // Of columns that were given, nobody knows which others there are.
    let given = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
    assert!(warnings(FormatKind::Csv, &csv, Some(given.clone().into())).concat().is_empty());
    assert!(warnings(FormatKind::Ndjson, &json, Some(given.into())).concat().is_empty());
}
