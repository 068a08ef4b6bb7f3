//! The slots in use, from the most recently used to the least: a doubly linked list in a vector,
//! so that each step takes constant time.

/// No slot. Slots are numbered below 65534.
const NONE: u16 = u16::MAX;

#[derive(Clone, Copy)]
struct Links {
    newer: u16,
    older: u16,
}

#[derive(Clone)]
pub(super) struct Lru {
    links: Vec<Links>,
    newest: u16,
    oldest: u16,
}

impl Lru {
    pub(super) fn new(slots: u16) -> Self {
        let links = vec![Links { newer: NONE, older: NONE }; usize::from(slots)];
        Self { links, newest: NONE, oldest: NONE }
    }

    /// A slot that is not in the list enters as the most recently used.
    pub(super) fn push_front(&mut self, slot: u16) {
        let newest = self.newest;
        self.links[usize::from(slot)] = Links { newer: NONE, older: newest };
        match self.links.get_mut(usize::from(newest)) {
            Some(links) => links.newer = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
    }

    /// A slot that is in the list leaves it.
    pub(super) fn remove(&mut self, slot: u16) {
        let Links { newer, older } = self.links[usize::from(slot)];
        match self.links.get_mut(usize::from(newer)) {
            Some(links) => links.older = older,
            None => self.newest = older,
        }
        match self.links.get_mut(usize::from(older)) {
            Some(links) => links.newer = newer,
            None => self.oldest = newer,
        }
    }

    pub(super) fn renew(&mut self, slot: u16) {
        if self.newest != slot {
            self.remove(slot);
            self.push_front(slot);
        }
    }

    pub(super) fn oldest_first(&self) -> impl Iterator<Item = u16> + '_ {
        let mut at = self.oldest;
        std::iter::from_fn(move || {
            let slot = at;
            at = self.links.get(usize::from(slot))?.newer;
            Some(slot)
        })
    }
}
