//! One file of settings: each key is the long name of an option of `run`, and stands for it wherever
//! neither the command line nor the environment gives it.
//!
//! The file is turned into options and parsed with the rest, so that what an option takes, and what is
//! wrong with a value, is said in one place.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, Command, parser::ValueSource};
use eyre::{Result, WrapErr, bail};
use toml::{Table, Value};

/// The option that names the file.
pub(crate) const OPTION: &str = "settings";
/// The command whose options the file may give; others take those of them that they have.
const OF: &str = "run";

/// The command line completed from the settings file that it or the environment names.
pub(crate) fn complete(command: &Command, given: Vec<OsString>) -> Result<Vec<OsString>> {
    // Wrong or asking for help: the parse that follows says so.
    let Ok(matches) = command.clone().try_get_matches_from(&given) else { return Ok(given) };
    let Some(path) = matches.get_one::<PathBuf>(OPTION) else { return Ok(given) };
    let mut built = command.clone();
    built.build();
    let settings = read(path, &built).wrap_err_with(|| format!("cannot use {}", path.display()))?;

    let (command, matches) = innermost(&built, &matches);
    let mut options = vec![];
    for (key, values) in settings {
        // The same name may mean something else elsewhere.
        let same = |arg: &&Arg| {
            option(&built, &key).is_some_and(|of_run| of_run.get_help() == arg.get_help())
        };
        let Some(arg) = find(command, &key).filter(same) else { continue };
        let source = matches.value_source(arg.get_id().as_str());
        if !matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            options.extend(values);
        }
    }
    let mut line = given;
    let end = line.iter().position(|word| word == "--").unwrap_or(line.len());
    line.splice(end..end, options);
    Ok(line)
}

/// The settings of a file, each as the options that say the same.
fn read(path: &Path, command: &Command) -> Result<Vec<(String, Vec<OsString>)>> {
    let text = fs::read_to_string(path)?;
    let table: Table = match text.parse() {
        Ok(table) => table,
        // The parser's own error quotes the line, which may hold a password.
        Err(error) => {
            let error: toml::de::Error = error;
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
            bail!("line {line}: {}", error.message());
        }
    };
    let settings = table.into_iter().map(|(key, value)| {
        let Some(arg) = option(command, &key) else {
            bail!("{key:?} is no setting; settings are named like the options of `cofferdam {OF}`");
        };
        let name = format!("--{key}");
        let values = match value {
            Value::Boolean(set) if !arg.get_action().takes_values() => {
                return Ok((key, if set { vec![name.into()] } else { vec![] }));
            }
            _ if !arg.get_action().takes_values() => bail!("{key} is true or false"),
            Value::Array(values) => values,
            value => vec![value],
        };
        let mut options = vec![];
        for value in values {
            let value = match value {
                Value::String(text) => text,
                Value::Integer(number) => number.to_string(),
                Value::Float(number) => number.to_string(),
                _ => bail!("{key} is neither a text nor a number"),
            };
            options.push(format!("{name}={value}").into());
        }
        Ok((key, options))
    });
    settings.collect()
}

/// The option of `run`, or of every command, that has this long name.
fn option<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    find(command.find_subcommand(OF)?, name).filter(|arg| arg.get_id() != OPTION)
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(name))
}

/// The command that was asked for, below all others.
fn innermost<'a>(command: &'a Command, matches: &'a ArgMatches) -> (&'a Command, &'a ArgMatches) {
    match matches.subcommand() {
        Some((name, below)) => match command.find_subcommand(name) {
            Some(command) => innermost(command, below),
            None => (command, matches),
        },
        None => (command, matches),
    }
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    fn command() -> Command {
        let age = || Arg::new("seal_age").long("seal-age").help("Age").default_value("60");
        let url = Arg::new("rpc_url").long("rpc-url").help("URL");
        let json = Arg::new("json").long("json").global(true).action(ArgAction::SetTrue);
        let settings =
            Arg::new(OPTION).long(OPTION).global(true).value_parser(clap::value_parser!(PathBuf));
        let other = Command::new("other").arg(age().help("Something else")).arg(url.clone());
        let run = Command::new("run").arg(age()).arg(url.clone());
        Command::new("it")
            .args([json, settings])
            .subcommands([run, Command::new("of").subcommand(other)])
    }

    /// What a command line comes to with a file of this content.
    fn completed(content: &str, line: &[&str]) -> Result<Vec<String>> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), content).expect("written");
        let path = file.path().as_os_str();
        let given = line.iter().map(OsString::from).chain(["--settings".into(), path.into()]);
        let line = complete(&command(), given.collect())?;
        Ok(line.iter().map(|word| word.to_string_lossy().into_owned()).skip(1).collect())
    }

    #[test]
    fn a_setting_stands_for_an_option_that_was_not_given() {
        let content = "seal-age = 5\nrpc-url = \"http://a\"\njson = true\n";
        let line = completed(content, &["it", "run"]).expect("it fits");
        assert_eq!(line[3..], ["--json", "--rpc-url=http://a", "--seal-age=5"]);
        let line =
            completed(content, &["it", "run", "--seal-age", "7", "--json"]).expect("it fits");
        assert_eq!(line[6..], ["--rpc-url=http://a"]);
    }

    #[test]
    fn another_command_takes_what_is_the_same_option() {
        let content = "seal-age = 5\nrpc-url = \"http://a\"\njson = false\n";
        let line = completed(content, &["it", "of", "other"]).expect("it fits");
        assert_eq!(line[4..], ["--rpc-url=http://a"]);
    }

    #[test]
    fn what_is_wrong_is_named_and_not_quoted() {
        for (content, said) in [
            ("seal-aeg = 5\n", "\"seal-aeg\" is no setting"),
            ("settings = \"x\"\n", "\"settings\" is no setting"),
            ("json = 1\n", "json is true or false"),
            ("seal-age = { a = 1 }\n", "seal-age is neither a text nor a number"),
            ("\nrpc-url = \"http://s3cret\n", "line 2: "),
        ] {
            let error = format!("{:#}", completed(content, &["it", "run"]).expect_err(content));
            assert!(error.contains(said), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
