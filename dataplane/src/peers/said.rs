//! What operators say of modules, as this node knows it: in marks, and in policies that refuse what it may know too old a word of.

use std::time::Duration;

use cluster::marks::Marks;
use cluster::policy::{Outdated, Policies};
use gomod::ModulePath;

use super::directory::Peers;

/// Policies at a node that has heard nothing of its cluster for longer than one of them has some module answered.
#[derive(Clone, Copy, Debug)]
pub struct Silence<'a> {
    policies: &'a Policies,
    lasts: Duration,
}

impl<'a> Silence<'a> {
    /// What refuses a module by now.
    pub fn outdated(self, module: &ModulePath) -> Option<Outdated<'a>> {
        self.policies.outdated(module, self.lasts)
    }

    /// For how long nothing was heard.
    pub const fn lasts(self) -> Duration {
        self.lasts
    }
}

impl Peers {
    /// Looks at what operators say of modules; nothing before the node has belonged to a cluster.
    pub fn marks<T>(&self, look: impl FnOnce(&Marks) -> T) -> Option<T> {
        self.remembered.load().as_ref()?.look(|view| look(view.marks()))
    }

    /// The same, and at the silence of the control plane if some module is refused for it.
    pub fn said<T>(&self, look: impl FnOnce(&Marks, Option<Silence<'_>>) -> T) -> Option<T> {
        let remembered = self.remembered.load();
        let views = remembered.as_ref()?;
        views.look(|view| {
            let lasts = view.stale_after().map(|after| (after, views.age().age()));
            let lasts = lasts.filter(|(after, lasts)| lasts > after).map(|(_, lasts)| lasts);
            look(view.marks(), lasts.map(|lasts| Silence { policies: view.policies(), lasts }))
        })
    }
}
