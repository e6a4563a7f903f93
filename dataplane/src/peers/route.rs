//! Which nodes are asked for what is not held here, and in which order.
//!
//! Pure. One node fetches for a slot: the first of its replicas that can be reached. One whose disk takes no writes stands aside: it would
//! fetch the same again and again. Invariant: along `fetchers` there is no circle, since whoever is asked to fetch asks nobody else to.

use cluster::NodeName;

/// See the head of this file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Route {
    /// Asked to fetch, one after the other while they cannot be reached. With none, fetching is for this node.
    pub fetchers: Vec<NodeName>,
    /// May hold it, but are not asked to fetch.
    pub holders: Vec<NodeName>,
}

impl Route {
    /// The route of `me`: `replicas` hold the slot in the layout in force, its owner first; `before` held it in the layout that
    /// slots move from. Nodes that are not `usable` are passed over. If `me` is `aside`, all other replicas fetch before it.
    pub fn plan<'a>(
        me: &NodeName,
        replicas: impl IntoIterator<Item = &'a NodeName>,
        before: impl IntoIterator<Item = &'a NodeName>,
        aside: bool,
        mut usable: impl FnMut(&NodeName) -> bool,
    ) -> Self {
        let mut route = Self::default();
        let mut is_after_me = false;
        for name in replicas {
            if name == me {
                is_after_me = !aside;
            } else if usable(name) {
                if is_after_me { &mut route.holders } else { &mut route.fetchers }.push(name.clone());
            }
        }
        for name in before {
            let is_known = route.fetchers.contains(name) || route.holders.contains(name);
            if name != me && !is_known && usable(name) {
                route.holders.push(name.clone());
            }
        }
        route
    }

    /// Everybody, in the order in which copies are looked for.
    pub fn all(&self) -> impl Iterator<Item = &NodeName> {
        self.fetchers.iter().chain(&self.holders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(me: &str, replicas: &str, before: &str, out: &str) -> (String, String) {
        let names = |text: &str| -> Vec<NodeName> {
            text.split_whitespace().map(|name| NodeName::parse(name).unwrap()).collect()
        };
        let (out, me) = (names(out), NodeName::parse(me).unwrap());
        let aside = out.contains(&me);
        let route = Route::plan(&me, &names(replicas), &names(before), aside, |name| !out.contains(name));
        let text = |names: &[NodeName]| names.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ");
        (text(&route.fetchers), text(&route.holders))
    }

    #[test]
    fn the_first_replica_that_can_be_reached_fetches() {
        let route = |fetchers: &str, holders: &str| (fetchers.to_owned(), holders.to_owned());
        assert_eq!(plan("x", "a b c", "", ""), route("a b c", ""));
        assert_eq!(plan("a", "a b c", "", ""), route("", "b c"), "the owner itself");
        assert_eq!(plan("b", "a b c", "", ""), route("a", "c"));
        assert_eq!(plan("b", "a b c", "", "a"), route("", "c"), "takes over");
        assert_eq!(plan("x", "a b c", "", "a c"), route("b", ""));
        assert_eq!(plan("x", "a", "", "a"), route("", ""));
        assert_eq!(plan("a", "a b c", "", "a"), route("b c", ""), "stands aside");
        assert_eq!(plan("b", "a b c", "", "b a"), route("c", ""));
        assert_eq!(plan("b", "b c", "a b", ""), route("", "c a"), "the old layout's nodes may have it");
        assert_eq!(plan("a", "b c", "a b", ""), route("b c", ""));
        assert_eq!(plan("x", "b c", "a b", "a"), route("b c", ""));
    }

    #[test]
    fn no_two_nodes_ask_each_other_to_fetch() {
        let all = ["a", "b", "c", "d"];
        let fetchers = |me: &str| plan(me, "a b c", "d a", "").0;
        for (one, other) in all.iter().flat_map(|one| all.iter().map(move |other| (one, other))) {
            let asks = |me: &str, of: &str| fetchers(me).split_whitespace().any(|name| name == of);
            assert!(!(asks(one, other) && asks(other, one)), "{one} and {other}");
        }
    }
}
