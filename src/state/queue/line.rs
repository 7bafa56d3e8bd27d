//! Those who wait, in the order in which they are served.
//!
//! In: who comes, by tenant, with a number that grows. Out: whose turn it is:
//! tenants one after the other, and within a tenant who came first. Not here:
//! how many may wait (`kept`). Callers without a tenant are one tenant together.

use std::collections::{BTreeMap, HashMap};

use crate::config::scalar::TenantName;

/// Whose request it is; none for those that are nobody's.
pub(super) type Tenant = Option<TenantName>;

/// The line; every operation takes the logarithm of its length, those named otherwise the number of tenants.
#[derive(Debug)]
pub(super) struct Line<T> {
    tenants: HashMap<Tenant, Share<T>>,
    /// Tenants by their turns, the next one first.
    turns: BTreeMap<i64, Tenant>,
    len: usize,
}

/// What one tenant has in the line; never nothing.
#[derive(Debug)]
struct Share<T> {
    turn: i64,
    waiters: BTreeMap<u64, T>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Line { tenants: HashMap::new(), turns: BTreeMap::new(), len: 0 }
    }
}

impl<T> Line<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many a tenant has in the line.
    pub(super) fn held_by(&self, tenant: &Tenant) -> usize {
        self.tenants.get(tenant).map_or(0, |share| share.waiters.len())
    }

    /// How many tenants wait if this one does.
    pub(super) fn tenants_with(&self, tenant: &Tenant) -> usize {
        self.tenants.len() + usize::from(!self.tenants.contains_key(tenant))
    }

    /// At the end of a tenant's own line, and the tenant, if it is new, behind the others.
    pub(super) fn push(&mut self, tenant: &Tenant, number: u64, waiter: T) {
        let last = self.turns.last_key_value().map_or(0, |(turn, _)| *turn);
        self.insert(tenant, last + 1, (number, waiter));
    }

    /// Where it was before it was called: first of all, unless its tenant has one that came earlier.
    pub(super) fn put_back(&mut self, tenant: &Tenant, number: u64, waiter: T) {
        let first = self.turns.first_key_value().map_or(0, |(turn, _)| *turn);
        self.insert(tenant, first - 1, (number, waiter));
        self.move_to(tenant, first - 1);
    }

    fn insert(&mut self, tenant: &Tenant, turn: i64, (number, waiter): (u64, T)) {
        if !self.tenants.contains_key(tenant) {
            self.tenants.insert(tenant.clone(), Share { turn, waiters: BTreeMap::new() });
            self.turns.insert(turn, tenant.clone());
        }
        let replaced = self.tenants.get_mut(tenant).and_then(|share| share.waiters.insert(number, waiter));
        self.len += usize::from(replaced.is_none());
    }

    fn move_to(&mut self, tenant: &Tenant, turn: i64) {
        if let Some(share) = self.tenants.get_mut(tenant) {
            self.turns.remove(&share.turn);
            share.turn = turn;
            self.turns.insert(turn, tenant.clone());
        }
    }

    /// Whose turn it is leaves the line; then it is the other tenants' turn.
    pub(super) fn next(&mut self) -> Option<(Tenant, u64, T)> {
        let (_, tenant) = self.turns.first_key_value()?;
        let tenant = tenant.clone();
        let (number, waiter) = self.tenants.get_mut(&tenant)?.waiters.pop_first()?;
        self.left(&tenant);
        let last = self.turns.last_key_value().map_or(0, |(turn, _)| *turn);
        self.move_to(&tenant, last + 1);
        Some((tenant, number, waiter))
    }

    /// Takes one out, wherever it stands.
    pub(super) fn remove(&mut self, tenant: &Tenant, number: u64) -> Option<T> {
        let waiter = self.tenants.get_mut(tenant)?.waiters.remove(&number)?;
        self.left(tenant);
        Some(waiter)
    }

    /// Takes the newest of the tenant that has most, if that is more than `share`. Looks at every tenant.
    pub(super) fn evict(&mut self, share: usize) -> Option<T> {
        let greatest = self.turns.values().max_by_key(|tenant| self.held_by(tenant))?.clone();
        if self.held_by(&greatest) <= share {
            return None;
        }
        let (_, waiter) = self.tenants.get_mut(&greatest)?.waiters.pop_last()?;
        self.left(&greatest);
        Some(waiter)
    }

    /// Takes out all of which this is so. Looks at everybody.
    pub(super) fn take_if(&mut self, is_so: impl Fn(&T) -> bool) -> Vec<T> {
        let chosen = self.tenants.iter().flat_map(|(tenant, share)| {
            let chosen = share.waiters.iter().filter(|(_, waiter)| is_so(waiter));
            chosen.map(|(number, _)| (tenant.clone(), *number))
        });
        let chosen: Vec<_> = chosen.collect();
        chosen.into_iter().filter_map(|(tenant, number)| self.remove(&tenant, number)).collect()
    }

    /// How many are called before one of this tenant that comes now. Looks at every tenant.
    pub(super) fn ahead_of(&self, tenant: &Tenant) -> usize {
        let own = self.tenants.get(tenant);
        let held = own.map_or(0, |share| share.waiters.len());
        let others = self.tenants.iter().filter(|(other, _)| *other != tenant).map(|(_, other)| {
            // Who comes before in each round comes once more.
            let comes_first = own.is_none_or(|own| other.turn < own.turn);
            other.waiters.len().min(held + usize::from(comes_first))
        });
        held + others.sum::<usize>()
    }

    /// One of a tenant is gone; a tenant without any is forgotten.
    fn left(&mut self, tenant: &Tenant) {
        self.len -= 1;
        if let Some(share) = self.tenants.get(tenant)
            && share.waiters.is_empty()
        {
            self.turns.remove(&share.turn);
            self.tenants.remove(tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> Tenant {
        (!name.is_empty()).then(|| name.parse().unwrap())
    }

    fn line(waiting: &[&str]) -> Line<()> {
        let mut line = Line::default();
        for (number, name) in (0..).zip(waiting) {
            line.push(&tenant(name), number, ());
        }
        line
    }

    fn order(mut line: Line<()>) -> Vec<u64> {
        std::iter::from_fn(|| line.next()).map(|(_, number, ())| number).collect()
    }

    #[test]
    fn tenants_are_served_in_turn_and_each_in_its_own_order() {
        assert_eq!(order(line(&["a", "a", "a", "b", "", "b", ""])), [0, 3, 4, 1, 5, 6, 2]);
    }

    #[test]
    fn who_is_put_back_is_next_again() {
        let mut line = line(&["a", "a", "b"]);
        let (owner, number, ()) = line.next().unwrap();
        line.put_back(&owner, number, ());
        assert_eq!(order(line), [0, 2, 1]);
    }

    #[test]
    fn two_that_are_put_back_keep_their_order() {
        let mut line = line(&["a", "a", "b"]);
        let called: Vec<_> = std::iter::from_fn(|| line.next()).collect();
        assert_eq!(called.iter().map(|called| called.1).collect::<Vec<_>>(), [0, 2, 1]);
        for (owner, number, ()) in called {
            line.put_back(&owner, number, ());
        }
        assert_eq!(order(line).into_iter().filter(|number| *number < 2).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn the_newest_of_who_has_most_makes_room() {
        let mut line: Line<u64> = Line::default();
        for (number, name) in (0..).zip(["a", "b", "b", "b", "a"]) {
            line.push(&tenant(name), number, number);
        }
        assert_eq!(line.evict(3), None, "nobody has more than three");
        assert_eq!(line.evict(2), Some(3));
        assert_eq!(line.evict(2), None);
    }

    /// The same line, slow and obvious: tenants in their order, each with its own.
    #[derive(Default)]
    struct Slow(VecDeque<(Tenant, VecDeque<u64>)>);

    impl Slow {
        fn push(&mut self, tenant: &Tenant, number: u64) {
            match self.0.iter_mut().find(|(known, _)| known == tenant) {
                Some((_, waiting)) => waiting.push_back(number),
                None => self.0.push_back((tenant.clone(), [number].into())),
            }
        }

        fn next(&mut self) -> Option<u64> {
            let (tenant, mut waiting) = self.0.pop_front()?;
            let number = waiting.pop_front();
            if !waiting.is_empty() {
                self.0.push_back((tenant, waiting));
            }
            number
        }

        fn remove(&mut self, number: u64) {
            self.0.iter_mut().for_each(|(_, waiting)| waiting.retain(|known| *known != number));
            self.0.retain(|(_, waiting)| !waiting.is_empty());
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Come(usize),
        Leave(usize),
        Next,
    }

    const NAMES: [&str; 4] = ["", "a", "b", "c"];

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..NAMES.len()).prop_map(Step::Come),
            1 => (0..60_usize).prop_map(Step::Leave),
            2 => Just(Step::Next),
        ]
    }

    proptest! {
        #[test]
        fn it_serves_as_a_slow_line_does(steps in prop::collection::vec(step(), 0..60)) {
            let (mut line, mut slow, mut came) = (Line::default(), Slow::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Come(name) => {
                        let number = came.len() as u64;
                        let tenant = tenant(NAMES[name]);
                        let ahead = line.ahead_of(&tenant);
                        line.push(&tenant, number, ());
                        slow.push(&tenant, number);
                        came.push(tenant);
                        // What it says is how long it takes if nobody else comes.
                        let mut rest = Slow(slow.0.clone());
                        let calls = std::iter::from_fn(|| rest.next()).position(|next| next == number);
                        prop_assert_eq!(calls, Some(ahead));
                    }
                    Step::Leave(number) => {
                        if let Some(tenant) = came.get(number) {
                            line.remove(tenant, number as u64);
                            slow.remove(number as u64);
                        }
                    }
                    Step::Next => prop_assert_eq!(line.next().map(|next| next.1), slow.next()),
                }
                prop_assert_eq!(line.len(), slow.0.iter().map(|(_, waiting)| waiting.len()).sum::<usize>());
                prop_assert_eq!(line.tenants.len(), line.turns.len());
            }
        }
    }
}
