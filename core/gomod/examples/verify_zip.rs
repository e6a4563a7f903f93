//! Verifies a module zip from disk and tells how fast: `verify_zip FILE MODULE VERSION`.
//!
//! Three passes: without memo, hashing as the bytes arrive, and the verdict with the memo.

#![expect(clippy::print_stdout, reason = "a tool for the terminal")]

use std::error::Error;
use std::time::Instant;

use gomod::zip::{EntryDigests, PreHasher, verify};
use gomod::{ModulePath, ModuleVersion, Version};

/// What the network hands over at a time.
const CHUNK_BYTES: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let [file, module, version] = <[String; 3]>::try_from(std::env::args().skip(1).collect::<Vec<_>>())
        .map_err(|_| "usage: verify_zip FILE MODULE VERSION")?;
    let mv = ModuleVersion::new(ModulePath::parse(&module)?, Version::parse(&version)?)?;
    let bytes = std::fs::read(file)?;
    let source = bytes.as_slice();

    let start = Instant::now();
    let summary = verify(&source, &mv, &EntryDigests::default())?;
    let cold = start.elapsed();

    let start = Instant::now();
    let mut hasher = PreHasher::new();
    bytes.chunks(CHUNK_BYTES).for_each(|chunk| hasher.push(chunk));
    let memo = hasher.finish();
    let streaming = start.elapsed();

    let start = Instant::now();
    let again = verify(&source, &mv, &memo)?;
    let warm = start.elapsed();
    assert_eq!(summary, again, "the memo must not change the verdict");

    let unpacked_mb = summary.unpacked_bytes as f64 / 1e6;
    let rate = |elapsed: std::time::Duration| unpacked_mb / elapsed.as_secs_f64();
    println!("{} {} files, {} of them hashed in passing", summary.h1, summary.files, memo.len());
    println!("zip {:.1} MB, unpacked {unpacked_mb:.1} MB", bytes.len() as f64 / 1e6);
    println!("without memo {cold:?} ({:.0} MB/s unpacked)", rate(cold));
    println!("in passing   {streaming:?} ({:.0} MB/s unpacked)", rate(streaming));
    println!("with memo    {warm:?}");
    Ok(())
}
