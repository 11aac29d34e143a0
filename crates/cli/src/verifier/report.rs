//! One self-contained page that a person can read. Everything in it that came out of a file is hostile.

use std::{
    fmt::Write,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use cofferdam_core::Level;

use super::{Endpoints, Judgement, Refusal, Valid};
use crate::{moment::rfc3339, output::misleads};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1f24}\
h1{font-size:1.6rem;margin:0 0 .2rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}\
.verdict{font-size:1.15rem;font-weight:600;padding:.6rem 1rem;border-radius:6px}\
.valid{background:#e6f4ea;color:#12592b}.invalid{background:#fdecea;color:#b3261e}\
.unknown{background:#fff4e0;color:#7a4b00}\
table{border-collapse:collapse;width:100%;margin:.5rem 0}\
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid #d8dee4}\
th{font-weight:600;background:#f6f8fa}td{overflow-wrap:anywhere}\
tr.invalid td{color:#b3261e}tr.unknown td{color:#7a4b00}\
.files,.refused{table-layout:fixed}.files tr.valid{background:none;color:inherit}\
.files th:nth-child(2),.refused th:nth-child(2){width:8.5rem}.files th:nth-child(3){width:17%}\
.files th:nth-child(4){width:22%}.files th:nth-child(5){width:26%}.refused th:first-child{width:30%}\
code,.hash{font:12.5px ui-monospace,monospace;overflow-wrap:anywhere}\
dl{margin:0}dt{font-weight:600;margin-top:.2rem}dd{margin:0 0 0 1rem;white-space:pre-wrap;overflow-wrap:anywhere}\
summary{cursor:pointer}.small{color:#57606a;font-size:13px}\
@media(max-width:48rem){.files tr:first-child,.refused tr:first-child{display:none}\
.files td,.refused td{display:block;border:0}.files tr,.refused tr{display:block;padding:.4rem 0;\
border-bottom:1px solid #d8dee4}.files td:first-child,.refused td:first-child{font-weight:600}}";

/// The page about these files.
pub(crate) fn page(endpoints: &Endpoints, results: &[(PathBuf, Judgement)]) -> String {
    let count = |code| results.iter().filter(|(_, it)| it.exit_code() == code).count();
    let (valid, invalid, unknown) = (count(0), count(1), count(2));
    let (class, verdict) = match (invalid, unknown) {
        (0, 0) if valid == 1 => ("valid", "Valid: the file is what was anchored.".to_owned()),
        (0, 0) => ("valid", format!("Valid: all {valid} files are what was anchored.")),
        (0, _) => ("unknown", format!("Cannot tell of {unknown} of {} files.", results.len())),
        _ => ("invalid", format!("Invalid: {invalid} of {} files were refused.", results.len())),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Cofferdam verification report</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>Verification report</h1>\n\
         <p class=\"small\">made {} by cofferdam {}</p>\n<p class=\"verdict {class}\">{}</p>\n",
        rfc3339(now),
        env!("CARGO_PKG_VERSION"),
        escaped(&verdict),
    );
    if invalid > 0 {
        page += "<h2>What was refused, and why</h2>\n<table class=\"refused\">\n<tr><th>file<th>failing check<th>reason</tr>\n";
        for (file, judgement) in results {
            if let Judgement::Invalid(Refusal { check, reason }) = judgement {
                let (file, reason) = (escaped(&file.to_string_lossy()), escaped(reason));
                let _ = writeln!(
                    page,
                    "<tr class=\"invalid\"><td>{file}<td>{}<td>{reason}</tr>",
                    escaped(check)
                );
            }
        }
        page += "</table>\n";
    }
    page += &trusted(endpoints);
    page += &levels(results);
    page += "<h2>Files</h2>\n<table class=\"files\">\n<tr><th>file<th>verdict<th>entry<th>anchored<th>what it says</tr>\n";
    for (file, judgement) in results {
        page += &row(&file.to_string_lossy(), judgement);
    }
    page += "</table>\n</body>\n</html>\n";
    page
}

fn trusted(endpoints: &Endpoints) -> String {
    let policy = endpoints.policy();
    let mut text = "<h2>What was trusted</h2>\n<table>\n".to_owned();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "<tr><th>{name}<td class=\"hash\">{}</tr>", escaped(&value));
    };
    line("chain id", policy.chain_id.to_string());
    line("contract", policy.contract.to_string());
    line("hash of its code", policy.code_hash.map_or("not pinned".into(), |it| it.to_string()));
    for hash in &policy.block_hashes {
        line("pinned block hash", hash.to_string());
    }
    // Without path and query: they may hold a key.
    for url in &endpoints.trust.urls {
        line("RPC endpoint", url.to_string());
    }
    if !endpoints.any() {
        line("RPC endpoint", "none was asked".into());
    }
    text + "</table>\n"
}

fn levels(results: &[(PathBuf, Judgement)]) -> String {
    let mut text =
        "<h2>Levels that were reached</h2>\n<table>\n<tr><th>level<th>files<th>had to be believed</tr>\n"
            .to_owned();
    for level in [Level::HeaderProved, Level::ChainConfirmed, Level::Final] {
        let at =
            |it: &Judgement| matches!(it, Judgement::Valid(valid) if valid.reached.level == level);
        let files = results.iter().filter(|(_, it)| at(it)).count();
        let _ = writeln!(
            text,
            "<tr><td>{}, {level}<td>{files}<td>{}</tr>",
            level.number(),
            escaped(level.trusted())
        );
    }
    text + "</table>\n<p class=\"small\">A receipt proves what was recorded, in which order, and no later than \
            when. It does not prove that what was recorded is true, nor that a disclosed field agrees with \
            one that is withheld.</p>\n"
}

fn row(file: &str, judgement: &Judgement) -> String {
    let file = escaped(file);
    let valid = match judgement {
        Judgement::Valid(valid) => valid,
        Judgement::Invalid(Refusal { check, reason }) => {
            let (check, reason) = (escaped(check), escaped(reason));
            return format!(
                "<tr class=\"invalid\"><td>{file}<td>invalid<td colspan=\"3\">{check}: {reason}</tr>\n"
            );
        }
        Judgement::Undecided(reason) => {
            let reason = escaped(reason);
            return format!(
                "<tr class=\"unknown\"><td>{file}<td>cannot tell<td colspan=\"3\">{reason}</tr>\n"
            );
        }
    };
    let Valid { reached, tenant, entries, anchored_at, place, said, unsaid, .. } = &**valid;
    let mut text = String::new();
    if !said.is_empty() {
        let what = if said.len() == 1 { "1 line" } else { &format!("{} lines", said.len()) };
        let _ = write!(text, "<details><summary>{what}</summary><dl>");
        for (name, value) in said {
            let value = match value.is_empty() {
                true => "<span class=\"small\">(empty)</span>".to_owned(),
                false => format!("<bdi>{}</bdi>", escaped(value)),
            };
            let _ = write!(text, "<dt>{}<dd>{value}", escaped(name));
        }
        text += "</dl></details>";
    }
    let when = rfc3339(*anchored_at);
    let (level, number) = (reached.level, reached.level.number());
    let proven = escaped(&reached.by());
    format!(
        "<tr class=\"valid\"><td>{file}<td>valid<br><span class=\"small\">{number}, {level}</span>\
         <td>{}<br><span class=\"small\">of tenant <code>{}</code></span>\
         <td>{when}<br><span class=\"small\">{}; {proven}</span><td>{text}{}</tr>\n",
        escaped(entries),
        escaped(tenant),
        escaped(place),
        escaped(unsaid),
    )
}

/// Text that no browser takes for anything else, and that cannot reorder or hide what is beside it.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            '`' => safe += "&#96;",
            '\n' => safe.push('\n'),
            char if misleads(char) => safe.extend(char.escape_unicode()),
            char => safe.push(char),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verifier::{Reached, Trust, VerifierPolicy};

    fn endpoints() -> Endpoints {
        let url = "https://rpc.example/v2/s3cret".parse().expect("a URL");
        Endpoints::new(Trust { policy: VerifierPolicy::default(), urls: vec![url] })
    }

    #[test]
    fn nothing_out_of_a_file_becomes_markup() {
        let evil = "<script>alert(1)</script>\"'`&\u{202e}\u{0}<img src=x onerror=y>";
        let valid = Valid {
            reached: Reached { level: Level::Final, refreshed: false, under: None },
            json: serde_json::Value::Null,
            text: String::new(),
            tenant: evil.into(),
            entries: evil.into(),
            anchored_at: 0,
            place: evil.into(),
            said: vec![("actor", evil.into())],
            unsaid: evil.into(),
        };
        let refusal = Refusal::new("format", evil);
        let results = [
            (evil.into(), Judgement::Valid(Box::new(valid))),
            ("a".into(), Judgement::Invalid(refusal)),
            ("b".into(), Judgement::Undecided(evil.into())),
        ];
        let page = page(&endpoints(), &results);
        for bad in ["<script", "<img", "\u{202e}", "\u{0}", "\"'"] {
            assert!(!page.contains(bad), "{bad:?}");
        }
        // In each of the nine places, in visible form.
        assert_eq!(page.matches("&lt;script&gt;alert(1)").count(), 9);
        assert_eq!(page.matches("\\u{202e}\\u{0}").count(), 9);
        assert!(page.contains("https://rpc.example") && !page.contains("s3cret"));
    }

    #[test]
    fn the_worst_file_gives_the_page_its_verdict() {
        let judged = |codes: &[u8]| {
            let results: Vec<_> = codes
                .iter()
                .map(|code| match code {
                    1 => ("f".into(), Judgement::Invalid(Refusal::new("format", "no"))),
                    _ => ("f".into(), Judgement::Undecided("no".into())),
                })
                .collect();
            page(&endpoints(), &results)
        };
        assert!(judged(&[]).contains("verdict valid"));
        assert!(judged(&[2]).contains("verdict unknown"));
        let page = judged(&[2, 1]);
        assert!(page.contains("verdict invalid") && page.contains("1 of 2 files were refused"));
    }

    #[test]
    fn every_failure_is_red() {
        let refused = |n: usize| {
            let refusal = Refusal::new("self-consistency", format_args!("entry {n}: path: no"));
            (format!("bad-{n}.json").into(), Judgement::Invalid(refusal))
        };
        let mut results: Vec<_> = (0..150).map(refused).collect();
        results.insert(70, ("unclear.json".into(), Judgement::Undecided("no".into())));
        let page = page(&endpoints(), &results);
        // Once above all else, and once in its place among the files.
        for n in 0..150 {
            let told = page.lines().filter(|line| line.contains(&format!("bad-{n}.json")));
            let told: Vec<_> = told.collect();
            assert_eq!(told.len(), 2, "{told:?}");
            for line in told {
                assert!(line.starts_with("<tr class=\"invalid\">"), "{line}");
                assert!(
                    line.contains("self-consistency") && line.contains(&format!("entry {n}: path"))
                );
            }
        }
        assert!(page.contains("tr.invalid td{color:#b3261e}"), "which is red");
        assert_eq!(page.matches("<tr class=\"unknown\">").count(), 1);
    }

    #[test]
    fn the_page_holds_all_of_itself() {
        let page = page(&endpoints(), &[("f".into(), Judgement::Undecided("no".into()))]);
        for other in ["<script", "<link", "<iframe", " src", " href", "url(", "@import", "refresh"]
        {
            assert!(!page.contains(other), "{other:?}");
        }
        // Nor would a browser load anything.
        assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'"));
    }
}
