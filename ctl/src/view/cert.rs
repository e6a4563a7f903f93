//! Authorities and certificates.

use proto::control::v1::{Authority, GetCertificateStatusResponse};

use super::named;
use crate::output::page::Page;
use crate::output::table::Table;
use crate::time::shown;

/// Digits of a fingerprint or a serial number that tell it from the others.
const DIGITS: usize = 16;

/// `cert status`.
pub(crate) fn status(status: &GetCertificateStatusResponse) -> Page {
    let mut table = Table::new(&["CERTIFICATE OF", "SERIAL", "ENDS", "AUTHORITY"], "no certificates");
    for certificate in &status.certificates {
        table.row(vec![
            certificate.subject.as_str().into(),
            short(&certificate.serial).into(),
            shown(certificate.expire_time.as_ref()).into(),
            short(&certificate.authority).into(),
        ]);
    }
    authorities(&status.authorities).table(table)
}

/// `cert rotate`.
pub(crate) fn authorities(authorities: &[Authority]) -> Page {
    let mut table = Table::new(&["AUTHORITY", "STATE", "BEGAN", "ENDS"], "no authorities");
    for authority in authorities {
        table.row(vec![
            short(&authority.fingerprint).into(),
            named(authority.state()).into(),
            shown(authority.begin_time.as_ref()).into(),
            shown(authority.expire_time.as_ref()).into(),
        ]);
    }
    Page::new().table(table)
}

fn short(digits: &str) -> String {
    digits.chars().take(DIGITS).collect()
}
