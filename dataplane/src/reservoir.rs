//! Some of very many that are seen one after the other, each as likely to be among them as any other (Vitter, "Random Sampling with a
//! Reservoir", 1985, algorithm R).

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Reservoir<T> {
    kept: Vec<T>,
    size: usize,
    seen: usize,
}

impl<T> Reservoir<T> {
    /// For at most `size` of them.
    pub(crate) const fn new(size: usize) -> Self {
        Self { kept: Vec::new(), size, seen: 0 }
    }

    pub(crate) fn see(&mut self, one: T) {
        self.seen += 1;
        if self.kept.len() < self.size {
            self.kept.push(one);
        } else if let Some(other) = self.kept.get_mut(rand::random_range(0..self.seen)) {
            // The nth takes the place of another one in `size` of n cases, which is the chance of all before it.
            *other = one;
        }
    }

    /// Those that are among them; all, in the order in which they were seen, where there were no more than that.
    pub(crate) fn into_kept(self) -> Vec<T> {
        self.kept
    }
}
