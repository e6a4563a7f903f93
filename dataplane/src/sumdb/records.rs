//! Owns the format of data tiles: the texts of consecutive records.
//!
//! Pure. Source: golang.org/x/mod/sumdb, `Server.ServeHTTP` (a record is its lines and a blank line).

/// The length in bytes of the first `count` records of `data`, and the records; `None` if there are not that many.
pub(super) fn split(data: &[u8], count: usize) -> Option<(usize, Vec<&[u8]>)> {
    let mut records = Vec::with_capacity(count.min(256));
    let mut read = 0;
    while records.len() < count {
        let rest = data.get(read..)?;
        let end = memchr::memmem::find(rest, b"\n\n")?;
        records.push(rest.get(..=end)?);
        read += end + 2;
    }
    Some((read, records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_with_a_blank_line() {
        let data = b"a h1:x\na/go.mod h1:y\n\nb h1:z\n\nrest";
        assert_eq!(split(data, 0), Some((0, vec![])));
        assert_eq!(split(data, 1), Some((22, vec![&b"a h1:x\na/go.mod h1:y\n"[..]])));
        let (read, records) = split(data, 2).unwrap();
        assert_eq!((read, records[1]), (30, &b"b h1:z\n"[..]));
        assert_eq!(split(data, 3), None);
        assert_eq!(split(b"", 1), None);
    }
}
