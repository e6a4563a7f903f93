//! Developers who run the go command all day, each with an empty module cache at every turn, and compare each byte that they get
//! with what the origin has.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::go_client::GoClient;
use crate::module::Module;
use crate::origin::Origin;
use crate::process::{show, within};

/// How long it may take until commands that run have ended. A connection whose other end went without a word waits for what TCP finds out when it
/// asks after 30 s of silence, and as long again if it hears nothing then.
const GET_ON_MAX: Duration = Duration::from_mins(3);
/// Modules that one command downloads.
const AT_ONCE: usize = 5;
/// Of so many drawn, one is any module that there is; the others are of those that came last.
const OLD_OF: usize = 3;

/// The modules that there are to be used.
#[derive(Default)]
pub struct Shelf {
    modules: RwLock<Vec<Arc<Module>>>,
}

impl Shelf {
    /// Puts `count` new modules, of sizes from nothing to more than a chunk, at the origin and on the shelf.
    pub fn stock(&self, origin: &Origin, batch: &str, count: usize) -> Vec<Arc<Module>> {
        let made: Vec<_> = (0..count)
            .map(|number| {
                let bytes = [10, 20_000, 300_000, 1_200_000][number % 4];
                let path = format!("example.com/{batch}/used{number}");
                let module = Arc::new(Module::new(&path, "v1.0.0").filler(bytes));
                origin.publish(&module);
                module
            })
            .collect();
        self.modules.write().expect("a shelf").extend(made.iter().cloned());
        made
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Module>> {
        self.modules.read().expect("a shelf").clone()
    }

    /// Some of them, rather of those that came last.
    fn draw(&self, chance: &mut Chance, newest: usize) -> Vec<Arc<Module>> {
        let modules = self.modules.read().expect("a shelf");
        let recent = modules.len().saturating_sub(newest);
        let mut drawn: Vec<usize> = (0..AT_ONCE)
            .map(|_| match chance.below(OLD_OF) {
                0 => chance.below(modules.len()),
                _ => recent + chance.below(modules.len() - recent),
            })
            .collect();
        drawn.sort_unstable();
        drawn.dedup();
        drawn.into_iter().map(|number| modules[number].clone()).collect()
    }
}

/// What developers have done, and what went wrong.
pub struct Developers {
    shelf: Shelf,
    done: AtomicBool,
    begun: AtomicUsize,
    /// Those of the commands that have begun which have not ended, by their number.
    running: Mutex<BTreeSet<usize>>,
    commands: AtomicUsize,
    failures: Mutex<Vec<String>>,
    /// Commands that may run at a time: a machine for tests has few processors.
    places: Mutex<usize>,
    freed: Condvar,
    since: Instant,
}

impl Developers {
    /// Nobody works yet. At most `at_a_time` commands run at a time.
    pub fn new(at_a_time: usize) -> Self {
        Self {
            shelf: Shelf::default(),
            done: AtomicBool::new(false),
            begun: AtomicUsize::new(0),
            running: Mutex::default(),
            commands: AtomicUsize::new(0),
            failures: Mutex::default(),
            places: Mutex::new(at_a_time),
            freed: Condvar::new(),
            since: Instant::now(),
        }
    }

    /// What there is to be used.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Commands that have ended.
    pub fn commands(&self) -> usize {
        self.commands.load(Ordering::SeqCst)
    }

    /// Has `count` of them work, each with one of the `proxies` (GOPROXY), while `scene` happens; fails the test if a command failed or a byte
    /// was wrong.
    pub fn work<T>(&self, count: usize, proxies: &[String], seed: u64, scene: impl FnOnce() -> T) -> T {
        let told = std::thread::scope(|scope| {
            for number in 0..count {
                let proxy = &proxies[number % proxies.len()];
                let chance = Chance::new(seed.wrapping_add(number as u64));
                scope.spawn(move || self.develop(proxy, chance));
            }
            // Also when the scene fails, or nobody would hear of it.
            let _end = EndOfWork(self);
            scene()
        });
        let failures = self.failures.lock().expect("failures");
        assert!(
            failures.is_empty(),
            "{} of {} go commands failed:\n{}",
            failures.len(),
            self.commands(),
            failures.iter().take(10).cloned().collect::<Vec<_>>().join("\n---\n")
        );
        told
    }

    /// Waits until so many more commands have ended, all that run now among them, and for at least `time`. So no command sees both what
    /// happened before and what happens next: what was cut off is asked for once more, not twice.
    #[track_caller]
    pub fn go_on(&self, commands: usize, time: Duration) {
        let (until, begun, from) =
            (self.commands() + commands, Instant::now(), self.begun.load(Ordering::SeqCst));
        within(GET_ON_MAX, "developers get on", || {
            let oldest = self.running.lock().expect("commands").first().copied();
            (self.commands() >= until && oldest.is_none_or(|oldest| oldest >= from)).then_some(())
        });
        // What is waited for is time itself.
        std::thread::sleep(time.saturating_sub(begun.elapsed()));
    }

    fn develop(&self, proxy: &str, mut chance: Chance) {
        while !self.done.load(Ordering::SeqCst) {
            let place = self.place();
            if !self.done.load(Ordering::SeqCst) {
                self.download(proxy, &mut chance);
            }
            drop(place);
        }
    }

    fn download(&self, proxy: &str, chance: &mut Chance) {
        let client = GoClient::new(proxy, "off");
        let chosen = self.shelf.draw(chance, 2 * AT_ONCE);
        let specs: Vec<String> = chosen.iter().map(|module| module.spec()).collect();
        let number = {
            // In one step, or a command that has begun would not be seen to run.
            let mut running = self.running.lock().expect("commands");
            let number = self.begun.fetch_add(1, Ordering::SeqCst);
            running.insert(number);
            number
        };
        let told = client.download(&specs.iter().map(String::as_str).collect::<Vec<_>>());
        self.running.lock().expect("commands").remove(&number);
        self.commands.fetch_add(1, Ordering::SeqCst);
        if !told.ok {
            self.failed(&format!("{}\n{}", told.stdout, told.stderr));
            return;
        }
        for module in chosen {
            let read = |suffix: &str| {
                let file = format!("cache/download/{}/@v/{}{suffix}", module.path, module.version);
                std::fs::read(client.module_cache().join(file)).unwrap_or_default()
            };
            if read(".zip") != module.zip() || read(".mod") != module.go_mod() {
                self.failed(&format!("{} has other bytes", module.spec()));
            }
        }
    }

    fn failed(&self, why: &str) {
        let at = self.since.elapsed().as_secs_f64();
        self.failures.lock().expect("failures").push(format!("after {at:.1} s: {why}"));
    }

    fn place(&self) -> Place<'_> {
        let places = self.places.lock().expect("places");
        let mut places = self.freed.wait_while(places, |places| *places == 0).expect("places");
        *places -= 1;
        Place(self)
    }
}

struct Place<'a>(&'a Developers);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.places.lock().expect("places") += 1;
        self.0.freed.notify_one();
    }
}

struct EndOfWork<'a>(&'a Developers);

impl Drop for EndOfWork<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show(&self.0.failures.lock().expect("failures").join("\n---\n"));
        }
        self.0.done.store(true, Ordering::SeqCst);
    }
}
