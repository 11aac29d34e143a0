//! Files, folders, standard input and compression.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use cofferdam_cli::ingest::{self, Format};

use super::{Logs, gzip, read, read_file, source};

const LINE: &str = "{\"tenant\":\"t\",\"external_id\":\"1\"}\n";

fn names(paths: &[PathBuf], logs: &Logs) -> Vec<String> {
    let folder = format!("{}/", logs.path().display());
    let sources = ingest::sources(paths).unwrap();
    sources.iter().map(|source| source.name().replace(&folder, "")).collect()
}

#[test]
fn a_folder_is_searched_in_the_order_of_names() {
    let logs = Logs::new();
    for name in [
        "b.json",
        "a/2.ndjson",
        "a/1.log.gz",
        "a/deep/er/x.JSONL",
        "c.json.gz",
        "Z.json",
        "notes.txt",
        "x.gz",
        "json",
        ".hidden.json",
        ".git/config.json",
    ] {
        logs.file(name, LINE);
    }
    symlink(logs.path(), logs.path().join("circle")).unwrap();
    symlink(logs.path().join("notes.txt"), logs.path().join("link.log")).unwrap();
    assert_eq!(
        names(&[logs.path().to_owned()], &logs),
        [
            "Z.json",
            "a/1.log.gz",
            "a/2.ndjson",
            "a/deep/er/x.JSONL",
            "b.json",
            "c.json.gz",
            "link.log"
        ]
    );
    // Paths are taken in the order given, and a file whatever its name.
    let given = [logs.path().join("notes.txt"), logs.path().join("a")];
    assert_eq!(
        names(&given, &logs),
        ["notes.txt", "a/1.log.gz", "a/2.ndjson", "a/deep/er/x.JSONL"]
    );
}

#[test]
fn a_path_that_leads_nowhere_is_named() {
    let logs = Logs::new();
    let absent = logs.path().join("absent.json");
    let error = ingest::sources(std::slice::from_ref(&absent)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot be opened: No such file", absent.display())));

    logs.file("only/readme.md", "");
    let only = logs.path().join("only");
    let error = ingest::sources(std::slice::from_ref(&only)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: no file in this folder ends in", only.display())));

    let kept = source(&logs.file("removed.json", LINE));
    fs::remove_file(logs.path().join("removed.json")).unwrap();
    let error = ingest::read(&kept, &Format::Auto).unwrap_err().to_string();
    assert!(error.contains("removed.json: cannot be opened"), "{error}");
}

#[test]
fn standard_input_is_one_source_and_given_once() {
    let dash = PathBuf::from("-");
    let sources = ingest::sources(std::slice::from_ref(&dash)).unwrap();
    assert_eq!((sources[0].name().as_str(), sources[0].size()), ("stdin", None));
    let error = ingest::sources(&[dash.clone(), dash]).unwrap_err().to_string();
    assert!(error.contains("given twice"), "{error}");
}

#[test]
fn gzip_is_told_by_its_first_bytes_not_by_the_name() {
    let logs = Logs::new();
    for (name, content) in
        [("plain.json.gz", LINE.as_bytes().to_vec()), ("packed.json", gzip(LINE.as_bytes()))]
    {
        assert_eq!(read_file(&logs.file(name, content), &Format::Auto).unwrap().len(), 1);
    }
}

#[test]
fn all_members_of_a_gzip_file_are_read() {
    // The second member begins in the middle of a record.
    let members = [gzip(LINE.as_bytes()), gzip(&LINE.as_bytes()[..9]), gzip(&LINE.as_bytes()[9..])];
    let records = read(members.concat(), &Format::Auto).unwrap();
    let lines: Vec<_> = records.iter().map(|record| record.origin.line).collect();
    assert_eq!(lines, [1, 2]);
}

#[test]
fn progress_counts_the_bytes_of_the_file_itself() {
    let logs = Logs::new();
    let lines = LINE.repeat(50_000);
    for (name, content) in
        [("a.json", lines.clone().into_bytes()), ("b.json", gzip(lines.as_bytes()))]
    {
        let source = source(&logs.file(name, &content));
        assert_eq!(source.size(), Some(content.len() as u64));
        let records = ingest::read(&source, &Format::Auto).unwrap();
        let progress = records.progress();
        let mut last = progress.bytes();
        let mut count = 0;
        for record in records {
            record.unwrap();
            count += 1;
            assert!(progress.bytes() >= last, "progress never falls");
            last = progress.bytes();
        }
        assert_eq!((count, last), (50_000, content.len() as u64));
    }
}

/// Run by `what_may_not_be_read_is_named` as another user; the path is in the environment.
const CHILD: &str = "COFFERDAM_TEST_UNREADABLE";

#[test]
fn what_may_not_be_read_is_named() {
    if let Some(path) = std::env::var_os(CHILD) {
        let sources = ingest::sources(&[path.into()]);
        match sources.and_then(|sources| ingest::read(&sources[0], &Format::Auto)) {
            Ok(_) => println!("readable"),
            Err(error) => println!("refused {error}"),
        }
        return;
    }
    let logs = Logs::new();
    // The folder of the test must let others through to what is inside.
    fs::set_permissions(logs.path(), Permissions::from_mode(0o755)).unwrap();
    let file = logs.file("locked.json", LINE);
    fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
    logs.file("locked/a.json", LINE);
    let folder = logs.path().join("locked");
    fs::set_permissions(&folder, Permissions::from_mode(0o000)).unwrap();
    // Root may read everything, so the reading is done by a child that is not.
    let program = logs.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();

    let refusal = |path: &PathBuf| {
        let mut child = Command::new(&program);
        child.args(["--exact", "sources::what_may_not_be_read_is_named", "--nocapture"]);
        child.env(CHILD, path).current_dir("/");
        if fs::metadata(&program).unwrap().uid() == 0 {
            child.uid(65534).gid(65534);
        }
        let output = child.output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = refusal(&file);
    let expected = format!("refused {}: cannot be opened: Permission denied", file.display());
    assert!(said.contains(&expected), "{said}");
    let said = refusal(&folder);
    let expected =
        format!("refused {}: the folder cannot be listed: Permission denied", folder.display());
    assert!(said.contains(&expected), "{said}");
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
}
