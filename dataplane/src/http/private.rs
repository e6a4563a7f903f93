//! Whether the path of a request names a private module, whatever else is wrong with it. For logs and traces, and for
//! answers to what is no request: what has been parsed is judged by its module.

use percent_encoding::percent_decode_str;

use super::router::CACHED_ONLY;
use crate::private::Private;

impl Private {
    /// Whether `path`, decoded or not, names one. Costs more than a hit should pay.
    pub(crate) fn is_named_by(&self, path: &str) -> bool {
        if self.patterns().is_empty() {
            return false;
        }
        let path = plain(&percent_decode_str(path).decode_utf8_lossy());
        let path = path.strip_prefix(CACHED_ONLY).unwrap_or(&path);
        // `sumdb/<database>/lookup/<module>@<version>`
        let lookup = path.strip_prefix("sumdb/").and_then(|path| path.split_once("/lookup/"));
        let named = lookup.map_or(path, |(_, module)| module);
        let module = named.split('@').next().unwrap_or(named);
        self.patterns().matches_text(&unescaped(module))
    }
}

/// A path without what leads nowhere: empty segments, `.`, and `..` with what is before it.
fn plain(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            named => segments.push(named),
        }
    }
    segments.join("/")
}

/// Undoes the spelling of capitals as `!` and a small letter, as far as the text has it.
fn unescaped(text: &str) -> String {
    let mut after_bang = false;
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if after_bang {
            plain.extend(letter.to_uppercase());
        } else if letter != '!' {
            plain.push(letter);
        }
        after_bang = letter == '!';
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_module_is_seen_in_every_shape_of_path() {
        let private = Private::new("corp.example.com/Team,*.internal.example.com".parse().unwrap());
        for path in [
            "/corp.example.com/!team/@v/list",
            "/corp.example.com/%21team/x/@latest",
            "/corp.example.com/!team",
            "//corp.example.com/!team/x",
            "/corp.example.com%2f!team/@v/v1.0.0.zip",
            "/cached-only/corp.example.com/!team/@v/v1.0.0.info",
            "/sumdb/sum.golang.org/lookup/corp.example.com/!team@v1.0.0",
            "/cached-only/sumdb/sum.golang.org/lookup/corp.example.com/!team/x@v1.0.0",
            "/a.internal.example.com/x/@v/nonsense",
            "/cached-only//corp.example.com/!team/x/@v/list",
            "/cached-only///corp.example.com/!team",
            "/cached-only/%2e/corp.example.com/!team/x",
            "/a.b/../corp.example.com/!team/x",
            "/sumdb/sum.golang.org/lookup//corp.example.com/!team@v1.0.0",
        ] {
            assert!(private.is_named_by(path), "{path}");
        }
        for path in [
            "/corp.example.com/!other/@v/list",
            "/corp.example.com/team/@v/list",
            "/example.com/corp.example.com/!team/@v/list",
            "/sumdb/sum.golang.org/latest",
            "/sumdb/sum.golang.org/tile/8/0/000",
            "/healthz",
            "/",
            "",
        ] {
            assert!(!private.is_named_by(path), "{path}");
        }
        assert!(!Private::new("".parse().unwrap()).is_named_by("/a.b/c/@v/list"));
    }
}
