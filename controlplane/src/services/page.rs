//! Lists in pages: a page's token is the key of its last entry, so that entries that come and go between two pages neither repeat
//! nor hide others.

use proto::limits::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, PAGE_TOKEN_BYTES_MAX};
use proto::{ErrorCode, Fault};

/// A part of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page<T> {
    /// Its entries.
    pub(super) entries: Vec<T>,
    /// Asks for the next one; empty at the end.
    pub(super) next: String,
}

/// Cuts a page out of entries with their keys. The keys have to be in one order, whichever that is, in every call.
pub(super) fn page<K: ToString, T>(
    entries: impl IntoIterator<Item = (K, T)>,
    size: u32,
    token: &str,
) -> Result<Page<T>, Fault> {
    if token.len() > PAGE_TOKEN_BYTES_MAX {
        return Err(Fault::new(ErrorCode::InvalidArgument, "page_token is none of ours"));
    }
    let size = match size {
        0 => PAGE_SIZE_DEFAULT,
        size => size.min(PAGE_SIZE_MAX),
    } as usize;
    let mut entries = entries.into_iter().map(|(key, entry)| (key.to_string(), entry)).peekable();
    if !token.is_empty() {
        // A token whose entry is gone: there is nothing to go on from but the beginning, which would repeat.
        let mut found = false;
        while !found {
            match entries.next() {
                Some((key, _)) => found = key == token,
                None => {
                    return Err(Fault::new(ErrorCode::InvalidArgument, "page_token: that entry is gone")
                        .hint("ask for the first page again"));
                }
            }
        }
    }
    let taken: Vec<_> = entries.by_ref().take(size).collect();
    let next = match (entries.peek(), taken.last()) {
        (Some(_), Some((key, _))) => key.clone(),
        _ => String::new(),
    };
    Ok(Page { entries: taken.into_iter().map(|(_, entry)| entry).collect(), next })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: u32) -> impl Iterator<Item = (u32, u32)> {
        (0..count).map(|number| (number, number))
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let mut all = Vec::new();
        let mut token = String::new();
        loop {
            let page = page(numbers(250), 99, &token).unwrap();
            all.extend(page.entries);
            if page.next.is_empty() {
                break;
            }
            token = page.next;
        }
        assert_eq!(all, (0..250).collect::<Vec<_>>());
    }

    #[test]
    fn sizes_are_bounded_and_tokens_must_be_ours() {
        assert_eq!(page(numbers(2000), 0, "").unwrap().entries.len(), 100);
        assert_eq!(page(numbers(2000), 5000, "").unwrap().entries.len(), 1000);
        assert_eq!(page(numbers(100), 100, "").unwrap().next, "");
        assert!(page(numbers(10), 1, "77").is_err());
        assert!(page(numbers(10), 1, &"x".repeat(300)).is_err());
    }
}
