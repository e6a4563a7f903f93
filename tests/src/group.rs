//! Control groups: a server with few threads or little memory, whatever the machine has.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

const ROOT: &str = "/sys/fs/cgroup";

/// A control group of its own for one server; removed at the end. Declare it before the server.
pub struct Group {
    path: PathBuf,
}

impl Group {
    /// At most `count` threads; `None` where no such group can be made.
    pub fn threads(count: u32) -> Option<Self> {
        Self::make("pids", &[("pids.max", count.to_string())])
    }

    /// At most `bytes` of memory, what the kernel caches for the server among it; whoever needs more is killed.
    pub fn memory(bytes: u64) -> Option<Self> {
        let (bytes, none) = (bytes.to_string(), "0".to_owned());
        let first = [("memory.limit_in_bytes", bytes.clone()), ("memory.swappiness", none.clone())];
        Self::make("memory", &first)
            .or_else(|| Self::make("memory", &[("memory.max", bytes), ("memory.swap.max", none)]))
    }

    fn make(controller: &str, limits: &[(&str, String)]) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("goproxyd-test-{}-{number}", std::process::id());
        // A hierarchy for each controller, or one for all.
        let one = Path::new(ROOT).join("cgroup.controllers").exists();
        let hierarchy = if one { PathBuf::from(ROOT) } else { Path::new(ROOT).join(controller) };
        let path = hierarchy.join(name);
        std::fs::create_dir(&path).ok()?;
        let group = Self { path };
        let set = |(file, value): &(&str, String)| std::fs::write(group.path.join(file), value).is_ok();
        limits.iter().all(set).then_some(group)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A number in one of its files.
    pub fn number(&self, file: &str) -> Option<u64> {
        std::fs::read_to_string(self.path.join(file)).ok()?.trim().parse().ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.path);
    }
}
