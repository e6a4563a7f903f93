//! Reading and writing small files: bounded, with the permissions that secrets need.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use common::redacted::Redacted;

use crate::failure::Failure;

/// No token comes near this many bytes.
const TOKEN_BYTES_MAX: u64 = 4 << 10;
/// Permission bits that let every user read or write a file.
const OTHERS_ACCESS: u32 = 0o006;

/// Reads a text that is expected to be small.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    read_bounded(File::open(path)?, bytes_max)
}

/// Reads a text from a file, or from standard input where the path is `-`.
pub(crate) fn read_argument(path: &Path, bytes_max: u64) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        read_bounded(io::stdin().lock(), bytes_max)
    } else {
        read_text(path, bytes_max)
    };
    text.map_err(|source| Failure::File { verb: "read", path: path.to_owned(), source })
}

fn read_bounded(input: impl io::Read, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    input.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("larger than {bytes_max} bytes")));
    }
    Ok(text)
}

/// Whether the file can be read by this process.
pub(crate) fn is_readable(path: &Path) -> bool {
    File::open(path).is_ok()
}

/// Reads a token; a file that everybody may read or write holds no secret any more.
pub(crate) fn read_token(path: &Path) -> Result<Redacted<String>, Failure> {
    let failed = |source| Failure::File { verb: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & OTHERS_ACCESS != 0 {
        return Err(Failure::usage(
            format!("{} can be read or written by every user of this machine", path.display()),
            format!("`chmod 600 {}`; if others may have read it, `goproxyctl token rotate`", path.display()),
        ));
    }
    let text = read_bounded(file, TOKEN_BYTES_MAX).map_err(failed)?;
    Ok(Redacted::new(text.trim().to_owned()))
}

/// Fails if a secret could not be written there, while nothing has been asked for yet that would be lost.
pub(crate) fn check_writable(path: &Path) -> Result<(), Failure> {
    let beside = beside(path);
    let failed = |source| Failure::File { verb: "write", path: path.to_owned(), source };
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(failed)?;
    std::fs::remove_file(&beside).map_err(failed)
}

/// Writes a secret to a file that only its owner may read. What was there is replaced as a whole.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |source| Failure::File { verb: "write", path: path.to_owned(), source };
    let beside = beside(path);
    // Left behind by one that was killed.
    let _ = std::fs::remove_file(&beside);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().map_err(failed)
}

/// Where a file is written before it takes another's place.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write_secret(&path, "hunter2").unwrap();
        write_secret(&path, "hunter3").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_token(&path).unwrap().expose(), "hunter3");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let failure = read_token(&path).unwrap_err();
        assert!(matches!(&failure, Failure::Usage { .. }) && !failure.to_string().contains("hunter"));
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        assert_eq!(read_bounded(&b"abc"[..], 3).unwrap(), "abc");
        assert!(read_bounded(&b"abcd"[..], 3).is_err());
    }
}
