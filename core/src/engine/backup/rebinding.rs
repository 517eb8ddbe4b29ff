//! Rebinding, in `backup` mode: nodes that held a session because of the worker it was bound to learn that they do so no more.
//!
//! Who binds a session tells those that held it by the binding it knew. That may be another one than they know: two nodes
//! bind it at once, or the change reaches the holders by way of a node that hands it off. The node that ranks first for the
//! session holds it whatever it is bound to, so it sees every binding, and tells whoever believes in one that is over. A
//! comparison of tables would find it as well, but later, and until then a former holder answers. A node that joins may have
//! got the session from any other, so all that have it tell that one.

use crate::base::id::{NodeId, SessionKey};
use crate::engine::Engine;
use crate::engine::backup::placement::Location;
use crate::replication::placement::Holders;
use crate::session::Record;

impl Engine {
    /// A change of another node was joined to a session that was at `before`. Whoever is a holder by the binding of
    /// either, and not by the one that holds now, is told of that one.
    pub(in crate::engine) fn tell_former_holders(
        &mut self,
        key: &SessionKey,
        before: &Location,
        delta: &Record,
    ) {
        let Some(bound) = &delta.route else { return };
        let placement = self.backup.placement.as_ref().filter(|_| !key.is_reserved());
        let (Some(placement), Some(record)) = (placement, self.table.get(key)) else {
            return;
        };
        let route = record.route.as_ref().map(|route| &*route.value);
        let was_here = before.is_somewhere().then(|| before.bound_to());
        let over = was_here.into_iter().chain([Some(&*bound.value)]);
        let over: Vec<_> = over.filter(|over| *over != route).collect();
        if over.is_empty() || !record.is_alive() {
            return;
        }
        let view = placement.view();
        let (holders, to_be) = (view.holders(key, route), view.holders_to_be(key, route));
        let first = view.holders(key, None);
        let is_first = first.iter().next() == Some(&self.config.node);
        let mut former: Vec<NodeId> = Vec::new();
        for route in over {
            let by_it = [view.holders(key, route), view.holders_to_be(key, route)];
            former.extend(by_it.iter().flat_map(Holders::iter).cloned());
        }
        former.retain(|node| !holders.contains(node) && !to_be.contains(node) && *node != self.config.node);
        former.retain(|node| is_first || !view.is_ready(node));
        former.sort_unstable();
        former.dedup();
        let told = record.lifecycle_and_route();
        for node in former {
            self.push_if_room(&node, key, &told);
        }
    }
}
