//! Rules for Rust files that the compiler and clippy do not have.

use super::Finding;
use super::tree::File;

/// One idea a file; what is longer holds two. Test files may be longer.
const LINES_MAX: usize = 600;

/// How far from a sleep or an allowed lint its reason may stand, in lines.
const REASON_WITHIN: usize = 3;

/// Texts that no file may hold. They are written in two parts here, so that this file does not hold them.
const FORBIDDEN: [(&str, &str, &str); 5] = [
    ("TO", "DO", "write an issue or do it"),
    ("FIX", "ME", "write an issue or do it"),
    ("db", "g!(", "debugging left behind"),
    ("unimple", "mented!(", "unfinished code"),
    ("#[ign", "ore", "a test that is not run is no test"),
];

/// What the crates under `core/` may not touch: they are functions of values.
const IMPURE: [&str; 8] =
    ["std::fs", "std::net", "std::process", "std::env", "SystemTime", "now_utc", "Instant::now", "rand::rng"];

/// Log lines that everybody sees, and spans, which leave the machine.
const SEEN: [&str; 6] = ["info!(", "warn!(", "error!(", "info_span!(", "warn_span!(", "error_span!("];

/// Fields that name a module.
const NAMING: [&str; 4] = ["module", "version", "request", "path"];

/// Lines of a log statement that are looked at.
const CALL_LINES_MAX: usize = 20;

pub(super) fn check(file: &File) -> Vec<Finding> {
    // A fuzz target is three lines; what it checks stands where it calls.
    if !is_rust(&file.path) || file.path.starts_with("fuzz/fuzz_targets/") {
        return Vec::new();
    }
    let mut found = Vec::new();
    let lines: Vec<_> = file.text.lines().collect();
    // Above its test module a file is product code.
    let product_lines = if is_test_file(&file.path) {
        0
    } else {
        lines.iter().position(|line| line.starts_with("#[cfg(test)]")).unwrap_or(lines.len())
    };
    if !file.text.starts_with("//!") {
        found.push(Finding::new(
            file,
            Some(1),
            "starts without `//!`: what it owns, what it does not, its invariant",
        ));
    }
    if !is_test_file(&file.path) && lines.len() > LINES_MAX {
        found.push(Finding::new(file, None, format!("{} lines, at most {LINES_MAX}: split it", lines.len())));
    }
    if file.path.starts_with("dataplane/src/") {
        found.extend(
            lines.iter().take(product_lines).enumerate().filter(|(at, _)| names_a_module(&lines, *at)).map(
                |(at, _)| {
                    Finding::new(
                        file,
                        Some(at + 1),
                        "a module in a span or above DEBUG: name it by `Private::shown`",
                    )
                },
            ),
        );
    }
    for (at, line) in lines.iter().enumerate() {
        let number = Some(at + 1);
        for (one, two, instead) in FORBIDDEN {
            if line.contains(&format!("{one}{two}")) {
                found.push(Finding::new(file, number, format!("`{one}{two}`: {instead}")));
            }
        }
        if allows(line) && !lines.iter().skip(at).take(REASON_WITHIN).any(|line| line.contains("reason = ")) {
            found.push(Finding::new(
                file,
                number,
                "an allowed lint without its reason; #[expect] is better still",
            ));
        }
        if at >= product_lines && !is_bed(&file.path) && sleeps(line) && !has_reason(&lines, at) {
            found.push(Finding::new(
                file,
                number,
                "a test sleeps without `// waits for: …` above: wait for the thing itself",
            ));
        }
        if at < product_lines && file.path.starts_with("core/") && file.path.contains("/src/") {
            for impure in IMPURE.iter().filter(|impure| !is_comment(line) && line.contains(**impure)) {
                found.push(Finding::new(
                    file,
                    number,
                    format!("`{impure}` in a pure crate: take it as an argument"),
                ));
            }
        }
    }
    found
}

/// Whether the macro call that begins on this line has a field that names a module, other than by what may be shown.
fn names_a_module(lines: &[&str], at: usize) -> bool {
    let Some(line) = lines.get(at).filter(|line| !is_comment(line)) else { return false };
    let Some(start) = SEEN.iter().filter_map(|call| line.find(call)).min() else { return false };
    let first = line.get(start..).unwrap_or_default();
    let call: String =
        std::iter::once(first).chain(lines.iter().skip(at + 1).copied()).take(CALL_LINES_MAX).collect();
    let call = call.split(';').next().unwrap_or_default();
    call.split(['(', ',']).map(str::trim).any(|field| {
        let (name, value) = field.split_once('=').map_or((field, ""), |(name, value)| (name.trim(), value));
        let names = NAMING.contains(&name.trim_start_matches(['%', '?']));
        names && !["shown", "REDACTED", "Empty", "BUILD"].iter().any(|fine| value.contains(fine))
    })
}

fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "benches" | "fuzz" | "examples"))
}

fn is_rust(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| extension == "rs")
}

/// The test bed holds the fakes, which are slow on purpose, and the one place that polls.
fn is_bed(path: &str) -> bool {
    path.starts_with("tests/src/")
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn allows(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("#[allow(") || line.starts_with("#![allow(")
}

fn sleeps(line: &str) -> bool {
    !is_comment(line) && (line.contains("thread::sleep(") || line.contains("time::sleep("))
}

fn has_reason(lines: &[&str], at: usize) -> bool {
    let above = lines.iter().take(at + 1).rev().take(REASON_WITHIN + 1);
    above.into_iter().any(|line| line.contains("// waits for: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        check(&file).iter().map(|finding| finding.to_string().chars().take(40).collect()).collect()
    }

    #[test]
    fn a_file_says_what_it_owns_and_stays_short() {
        assert_eq!(found("a/src/b.rs", "//! Owns b.\n").len(), 0);
        assert_eq!(found("a/src/b.rs", "fn main() {}\n").len(), 1);
        let long = format!("//! Owns b.\n{}", "\n".repeat(LINES_MAX));
        assert_eq!(found("a/src/b.rs", &long).len(), 1);
        assert_eq!(found("a/src/b/tests.rs", &long).len(), 0);
        assert_eq!(found("a/README.md", "no rust").len(), 0);
    }

    #[test]
    fn forbidden_texts_are_found_by_line() {
        for (one, two, _) in FORBIDDEN {
            let text = format!("//! x\n// {one}{two}\n");
            let found = found("a/src/b.rs", &text);
            assert!(!found.is_empty() && found[0].starts_with("a/src/b.rs:2: "), "{one}{two}: {found:?}");
        }
    }

    #[test]
    fn a_sleep_in_a_test_needs_its_reason() {
        let sleep = format!("std::thread::{}(x);\n", "sleep");
        let bare = format!("//! x\n{sleep}");
        assert_eq!(found("tests/tests/a.rs", &bare).len(), 1);
        assert_eq!(found("tests/src/a.rs", &bare).len(), 0, "the bed may");
        assert_eq!(found("a/src/b.rs", &bare).len(), 0, "product code may");
        assert_eq!(found("a/src/b.rs", &format!("//! x\n#[cfg(test)]\nmod tests {{}}\n{sleep}")).len(), 1);
        let reason = format!("//! x\n// waits for: the kernel, which tells nobody\n{sleep}");
        assert_eq!(found("tests/tests/a.rs", &reason).len(), 0);
    }

    #[test]
    fn what_everybody_sees_names_no_module_unless_it_may_be_shown() {
        let found = |line: &str| found("dataplane/src/a.rs", &format!("//! x\n{line}\n")).len();
        for seen in [
            r#"tracing::error!(%version, %error, "x");"#,
            r#"tracing::warn!(origin, version = %wanted, "x");"#,
            r#"let span = tracing::info_span!("fetch", request = %request);"#,
            "tracing::error!(\n    error, %module,\n    \"x\"\n);",
        ] {
            assert_eq!(found(seen), 1, "{seen}");
        }
        for fine in [
            r#"tracing::debug!(%version, "x");"#,
            r#"tracing::error!(version = %shown, %error, "x");"#,
            r#"tracing::error!(version = %self.shown(&a.module, a), "x");"#,
            r#"tracing::error!(%error, "a version is damaged"); let version = 1;"#,
            r#"// tracing::error!(%version, "x");"#,
        ] {
            assert_eq!(found(fine), 0, "{fine}");
        }
    }

    #[test]
    fn an_allowed_lint_needs_its_reason() {
        let allow =
            |more: &str| found("a/src/b.rs", &format!("//! x\n#[{}(dead_code{more})]\n", "allow")).len();
        assert_eq!((allow(""), allow(", reason = \"shared\"")), (1, 0));
    }

    #[test]
    fn a_pure_crate_touches_nothing() {
        let impure = "//! x\nuse std::fs;\n";
        assert_eq!(found("core/gomod/src/a.rs", impure).len(), 1);
        assert_eq!(found("core/gomod/tests/a.rs", impure).len(), 0);
        assert_eq!(found("dataplane/src/a.rs", impure).len(), 0);
        assert_eq!(
            found("core/gomod/src/a.rs", "//! x\n// unlike std::fs\n#[cfg(test)]\nuse std::fs;\n").len(),
            0
        );
    }
}
