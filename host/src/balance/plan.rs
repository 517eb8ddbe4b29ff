//! The plan of one request's attempts: first the workers a filter listed, in order, then the balancer's choice; no
//! worker twice. Making an attempt is left to `pipeline`.

/// The most attempts a plan remembers; a request is never tried more often.
pub const ATTEMPTS_MAX: usize = 16;

/// The attempts of one request.
#[derive(Debug)]
pub struct Plan {
    tried: [u32; ATTEMPTS_MAX],
    made: usize,
    next_entry: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            tried: [u32::MAX; ATTEMPTS_MAX],
            made: 0,
            next_entry: 0,
        }
    }
}

impl Plan {
    /// Whether the worker at `position` was tried.
    #[must_use]
    pub fn tried(&self, position: usize) -> bool {
        self.tried
            .iter()
            .take(self.made)
            .any(|tried| *tried as usize == position)
    }

    /// The next worker: the next of `listed` that `known` finds and that was not tried, else what `balanced` says.
    /// `None` when neither has one, or after [`ATTEMPTS_MAX`].
    pub fn next<'e>(
        &mut self,
        listed: impl Iterator<Item = &'e [u8]>,
        known: impl Fn(&[u8]) -> Option<usize>,
        balanced: impl FnOnce(&Self) -> Option<usize>,
    ) -> Option<usize> {
        let from_list = listed
            .enumerate()
            .skip(self.next_entry)
            .find_map(|(entry, address)| {
                let position = known(address).filter(|position| !self.tried(*position))?;
                Some((entry, position))
            });
        let position = match from_list {
            Some((entry, position)) => {
                self.next_entry = entry + 1;
                position
            }
            None => {
                self.next_entry = usize::MAX;
                balanced(self)?
            }
        };
        *self.tried.get_mut(self.made)? = u32::try_from(position).ok()?;
        self.made += 1;
        Some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::destination::entries;

    /// Workers a, b, c are 0, 1, 2; the balancer takes the first that was not tried.
    fn check(list: &str, expected: &[usize]) {
        let mut plan = Plan::default();
        let mut order = Vec::new();
        while let Some(position) = plan.next(
            entries(list.as_bytes()),
            |address| ["a", "b", "c"].iter().position(|name| name.as_bytes() == address),
            |plan| (0..3).find(|position| !plan.tried(*position)),
        ) {
            order.push(position);
        }
        assert_eq!(order, expected, "{list:?}");
    }

    #[test]
    fn the_list_then_the_balancer_and_nobody_twice() {
        check("", &[0, 1, 2]);
        check("b", &[1, 0, 2]);
        check("c, b", &[2, 1, 0]);
        check("unknown,c", &[2, 0, 1]);
        check("b,b,b", &[1, 0, 2]);
        check("unknown", &[0, 1, 2]);
    }
}
