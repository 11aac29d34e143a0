//! The files that an argument names: itself, or everything in a folder that looks like one of ours.

use std::{
    fs,
    path::{Path, PathBuf},
};

use eyre::{Result, WrapErr, bail};

use crate::output::visible;

/// How deep folders may nest.
const DEEPEST: usize = 16;

/// All files, sorted within a folder; a file that is named itself is taken whatever its name.
pub(crate) fn collect(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = vec![];
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        walk(path, 0, &mut files)?;
        if files.len() == before {
            bail!(
                "there are no receipts or bundles (*.json, *.bundle) in {}",
                visible(path.display())
            );
        }
    }
    Ok(files)
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    if depth > DEEPEST {
        bail!("{} is nested deeper than {DEEPEST} folders", visible(folder.display()));
    }
    let unreadable = || format!("cannot read {}", visible(folder.display()));
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = entries.wrap_err_with(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        // A link could lead out of the folder, or in a circle.
        let kind = entry.file_type().wrap_err_with(unreadable)?;
        let path = entry.path();
        if kind.is_dir() {
            walk(&path, depth + 1, files)?;
        } else if kind.is_file()
            && path.extension().is_some_and(|it| it == "json" || it == "bundle")
        {
            files.push(path);
        }
    }
    Ok(())
}
