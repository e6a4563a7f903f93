//! Reads a server's log: an unlisted WARN or ERROR fails the test.

/// Lines at WARN or ERROR that contain none of the allowed texts, and every line that tells of a panic.
pub fn unlisted(log: &str, allowed: &[String]) -> Vec<String> {
    log.lines()
        .filter(|line| {
            let panicked = line.contains("panicked at");
            let serious = panicked || matches!(level(line).as_deref(), Some("WARN" | "ERROR"));
            let listed = !panicked && allowed.iter().any(|text| line.contains(text.as_str()));
            serious && !listed
        })
        .map(str::to_owned)
        .collect()
}

/// The first line above DEBUG that has this text.
pub fn above_debug<'a>(log: &'a str, text: &str) -> Option<&'a str> {
    log.lines().find(|line| line.contains(text) && !matches!(level(line).as_deref(), Some("DEBUG" | "TRACE")))
}

/// Level of a JSON log line, or of a text one.
pub fn level(line: &str) -> Option<String> {
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(line) {
        return value.get("level")?.as_str().map(str::to_owned);
    }
    let levels = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
    let word = line.split_whitespace().find(|word| levels.contains(word))?;
    Some(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_count_unless_listed_and_panics_always() {
        let log = concat!(
            r#"{"timestamp":"t","level":"WARN","fields":{"message":"origin is slow"}}"#,
            "\n",
            r#"{"timestamp":"t","level":"INFO","fields":{"message":"ERROR in the text only"}}"#,
            "\n2024-01-01T00:00:00Z ERROR goproxyd: disk\nthread 'x' panicked at src/a.rs\n",
        );
        assert_eq!(unlisted(log, &[]).len(), 3);
        let left = unlisted(log, &["slow".to_owned(), "disk".to_owned(), "panicked".to_owned()]);
        assert_eq!(left, ["thread 'x' panicked at src/a.rs"]);
    }
}
