//! When a certificate ends: the one field that is read of it here, everything else is rustls's.
//!
//! Source of the form: RFC 5280 section 4.1 (the sequence of fields) and 4.1.2.5 (the two forms of a time), in DER.

use time::{Date, Month, PrimitiveDateTime, Time};

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed: the version, left out by certificates of the first.
const VERSION: u8 = 0xa0;

/// `notAfter` in seconds since the Unix epoch; `None` for what is no certificate.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (fields, _) = expect(SEQUENCE, certificate)?;
    let fields = expect(VERSION, fields).map_or(fields, |(_, after)| after);
    let (_serial_number, fields) = expect(INTEGER, fields)?;
    let (_signature_algorithm, fields) = expect(SEQUENCE, fields)?;
    let (_issuer, fields) = expect(SEQUENCE, fields)?;
    let (validity, _) = expect(SEQUENCE, fields)?;
    let (_tag, _not_before, rest) = element(validity)?;
    let (tag, not_after, _) = element(rest)?;
    instant(tag, not_after)
}

/// The content of the element at the start of `bytes`, which must have `tag`, and what follows it.
fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag and content of the element at the start of `bytes`, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, first, rest @ ..] = bytes else { return None };
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // The number of bytes that the length takes; no certificate is near 16 MiB.
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// `YYMMDDHHMMSSZ`, which means 1950 to 2049, or `YYYYMMDDHHMMSSZ`.
fn instant(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = take(text, 2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => take(text, 4)?,
        _ => return None,
    };
    let mut rest = rest;
    let mut parts = [0_u8; 5];
    for part in &mut parts {
        let (value, after) = take(rest, 2)?;
        (*part, rest) = (u8::try_from(value).ok()?, after);
    }
    let [month, day, hour, minute, second] = parts;
    let date = Date::from_calendar_date(i32::from(year), Month::try_from(month).ok()?, day).ok()?;
    let time = Time::from_hms(hour, minute, second).ok()?;
    rest.is_empty().then(|| PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp())
}

/// A number of exactly `digits` digits, and what follows it.
fn take(text: &str, digits: usize) -> Option<(u16, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    let digits_only = number.bytes().all(|byte| byte.is_ascii_digit());
    digits_only.then(|| number.parse().ok()).flatten().map(|number| (number, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, month, day);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        // 2049 is the last year of the short form.
        for (year, month, day, seconds) in
            [(2030, 1, 1, 1_893_456_000), (2049, 12, 31, 2_524_521_600), (2050, 1, 1, 2_524_608_000)]
        {
            assert_eq!(not_after(&certificate(year, month, day)), Some(seconds), "{year}");
        }
    }

    #[test]
    fn times_that_there_are_not_are_refused() {
        assert_eq!(instant(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(instant(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        for text in [
            "700101000000",
            "7001010000Z",
            "701301000000Z",
            "700230000000Z",
            "70010100000+Z",
            "7001010000001Z",
        ] {
            assert_eq!(instant(UTC_TIME, text.as_bytes()), None, "{text}");
        }
        assert_eq!(instant(INTEGER, b"700101000000Z"), None);
    }

    #[test]
    fn a_certificate_cut_off_anywhere_before_its_end_has_none() {
        let whole = certificate(2030, 1, 1);
        for end in 0..whole.len() {
            assert_eq!(not_after(&whole[..end]), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..64), at in 0_usize..500) {
            let _ = not_after(&bytes);
            let mut damaged = certificate(2030, 1, 1);
            let end = (at + bytes.len()).min(damaged.len());
            let start = at.min(end);
            damaged.splice(start..end, bytes);
            let _ = not_after(&damaged);
        }
    }
}
