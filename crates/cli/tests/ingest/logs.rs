//! Whole logs: the sample that the project ships, and real CloudTrail records.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cofferdam_cli::ingest::{self, Format, Record, Source};

/// All records of a folder, by the file they came from.
fn read_folder(folder: &Path) -> Vec<(Source, Vec<Record>)> {
    let sources = ingest::sources(&[folder.to_owned()]).unwrap();
    let read = |source: &Source| {
        let records = ingest::read(source, &Format::Auto).unwrap();
        records.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}"))
    };
    sources.into_iter().map(|source| (source.clone(), read(&source))).collect()
}

/// Every payload must be part of its file, and the records must stand where they say.
fn assert_verbatim(files: &[(Source, Vec<Record>)]) {
    for (source, records) in files {
        let text = fs::read_to_string(source.name()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let mut rest = text.as_str();
        for record in records {
            let payload = &record.entry.payload;
            let at =
                rest.find(payload).unwrap_or_else(|| panic!("{}: not verbatim", record.origin));
            rest = &rest[at + payload.len()..];
            let line = lines[usize::try_from(record.origin.line).unwrap() - 1];
            assert!(line.contains('{'), "{}: no record begins on {line:?}", record.origin);
        }
    }
}

fn tenants(files: &[(Source, Vec<Record>)]) -> BTreeMap<&str, usize> {
    let mut tenants = BTreeMap::new();
    for record in files.iter().flat_map(|(_, records)| records) {
        *tenants.entry(record.tenant.as_deref().unwrap()).or_default() += 1;
    }
    tenants
}

#[test]
fn the_sample_reads_whole() {
    let files = read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sample"));
    assert_eq!(files.len(), 2);
    assert_verbatim(&files);
    let expected = BTreeMap::from([
        ("111122223333", 9),
        ("444455556666", 7),
        ("halden-treasury", 8),
        ("quillon-support", 8),
        ("tern-robotics", 6),
    ]);
    assert_eq!(tenants(&files), expected);

    let records: Vec<_> = files.iter().flat_map(|(_, records)| records).collect();
    let ids: BTreeSet<_> =
        records.iter().map(|record| (&record.tenant, &record.entry.external_id)).collect();
    assert_eq!(ids.len(), records.len(), "no id is used twice");
    // What the sample is there to show.
    let some = |what: fn(&Record) -> bool| records.iter().any(|record| what(record));
    assert!(some(|record| record.entry.payload.contains('\n')), "an indented record");
    assert!(some(|record| record.entry.payload.contains("1.430")), "a float with a zero to lose");
    assert!(some(|record| !record.entry.payload.is_ascii()), "multi-byte text");
    assert!(some(|record| record.entry.payload.contains("\\u0000")), "an escaped U+0000");
    assert!(some(|record| record.entry.result == "AccessDenied"), "an error");
}

/// Real records, beside the project where they are; `COFFERDAM_CLOUDTRAIL_DATA` names another place.
fn stratus() -> Option<PathBuf> {
    let folder = std::env::var_os("COFFERDAM_CLOUDTRAIL_DATA").map_or_else(
        || {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../../shared/data/stratus-cloudtrail/events")
        },
        PathBuf::from,
    );
    if !folder.is_dir() {
        println!("skipped: no CloudTrail records at {}", folder.display());
        return None;
    }
    Some(folder)
}

#[test]
fn real_cloudtrail_records_read_whole() {
    let Some(folder) = stratus() else { return };
    let files = read_folder(&folder);
    assert_eq!(files.len(), fs::read_dir(&folder).unwrap().count());
    assert_verbatim(&files);
    assert_eq!(files.iter().map(|(_, records)| records.len()).sum::<usize>(), 310);
    let tenants = tenants(&files);
    assert_eq!(tenants.len(), 35);
    assert_eq!(tenants.values().max(), Some(&56));
    let records = || files.iter().flat_map(|(_, records)| records);
    assert_eq!(records().filter(|record| record.entry.result != "success").count(), 52);
    assert_eq!(records().filter(|record| !record.entry.reason.is_empty()).count(), 52);
    assert!(records().all(|record| record.entry.actor.starts_with("arn:")));
    assert!(records().all(|record| record.entry.action.contains(".amazonaws.com:")));
    assert!(records().all(|record| record.entry.occurred_at.ends_with(".000000Z")));
}
