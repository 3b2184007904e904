//! Where accepted connections wait for a thread.
//!
//! First come, first served, but for those that have not said anything yet: whoever has sent
//! a request goes before the silent ones, however many they are, and when there is no more
//! room, the silent ones go. Knows of a connection only whether it has spoken. Looking costs a
//! system call, so each operation looks at a few, and what has spoken is not looked at again.

use std::collections::VecDeque;

/// Something that waits.
pub(crate) trait Guest {
    /// Whether it has spoken: looked at without waiting.
    fn look(&mut self) -> Look;
    /// When it came, in microseconds.
    fn since(&self) -> u64;
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Silent,
    Spoke,
    /// It has gone away without a word.
    Gone,
}

/// How many newcomers are looked at when one is chosen, and how many of the others.
const NEWEST: usize = 24;
const OTHERS: usize = 16;

/// Who has so many behind him is looked at when another one comes: however fast they come, he has had the time to speak.
const OVERTAKEN: [usize; 2] = [16, 128];

#[derive(Debug)]
pub(crate) struct Lobby<G> {
    guests: VecDeque<(G, bool)>,
    /// Where the look at the older ones goes on.
    cursor: usize,
}

impl<G: Guest> Lobby<G> {
    pub(crate) fn new() -> Lobby<G> {
        Lobby { guests: VecDeque::new(), cursor: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.guests.len()
    }

    pub(crate) fn push(&mut self, guest: G) {
        self.guests.push_back((guest, false));
        for behind in OVERTAKEN {
            let at = self.guests.len().checked_sub(behind + 1);
            if let Some((guest, spoke)) = at.and_then(|at| self.guests.get_mut(at)) {
                *spoke = *spoke || guest.look() == Look::Spoke;
            }
        }
    }

    /// The next one to be served: the first one that has spoken, as far as is known or quickly found out,
    /// else the first one. Those that went away are dropped into `gone` on the way.
    pub(crate) fn pop(&mut self, gone: &mut Vec<G>) -> Option<G> {
        let at = self.choose(gone)?;
        self.guests.remove(at).map(|(guest, _)| guest)
    }

    fn choose(&mut self, gone: &mut Vec<G>) -> Option<usize> {
        if self.spoke(0, gone)? {
            return Some(0);
        }
        if let Some(at) = self.guests.iter().position(|(_, spoke)| *spoke) {
            return Some(at);
        }
        for step in 0..NEWEST {
            let Some(at) = self.guests.len().checked_sub(step + 1).filter(|at| *at > 0) else { break };
            if self.spoke(at, gone)? {
                return Some(at);
            }
        }
        for _ in 0..OTHERS {
            self.cursor += 1;
            if self.cursor >= self.guests.len() {
                self.cursor = 0;
            }
            if self.spoke(self.cursor, gone)? {
                return Some(self.cursor);
            }
        }
        (!self.guests.is_empty()).then_some(0)
    }

    /// Whether the one in this place has spoken. One that went away makes room for its successor. `None`: there is
    /// nobody left.
    fn spoke(&mut self, at: usize, gone: &mut Vec<G>) -> Option<bool> {
        loop {
            let Some((guest, spoke)) = self.guests.get_mut(at) else {
                return (!self.guests.is_empty()).then_some(false);
            };
            if *spoke {
                return Some(true);
            }
            match guest.look() {
                Look::Silent => return Some(false),
                Look::Spoke => {
                    *spoke = true;
                    return Some(true);
                }
                Look::Gone => gone.extend(self.guests.remove(at).map(|(guest, _)| guest)),
            }
        }
    }

    /// Finds the one that has been silent for longest, if it came before `before`, and takes it out: it makes
    /// room for somebody else.
    pub(crate) fn make_room(&mut self, before: u64) -> Option<G> {
        for at in 0..self.guests.len() {
            let (guest, spoke) = &mut self.guests[at];
            if guest.since() >= before {
                return None;
            }
            if *spoke {
                continue;
            }
            match guest.look() {
                Look::Spoke => *spoke = true,
                Look::Silent | Look::Gone => return self.guests.remove(at).map(|(guest, _)| guest),
            }
        }
        None
    }

    /// Everybody, in the order of their coming.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = G> + '_ {
        self.guests.drain(..).map(|(guest, _)| guest)
    }

    /// Takes out those that have not spoken.
    pub(crate) fn take_silent(&mut self, before: u64) -> Vec<G> {
        let mut silent = Vec::new();
        let mut at = 0;
        while let Some((guest, spoke)) = self.guests.get_mut(at) {
            if guest.since() >= before {
                break;
            }
            if !*spoke && guest.look() != Look::Spoke {
                silent.extend(self.guests.remove(at).map(|(guest, _)| guest));
                continue;
            }
            *spoke = true;
            at += 1;
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    struct Fake {
        name: u64,
        look: Rc<Cell<Look>>,
        looks: Rc<Cell<usize>>,
    }

    impl Guest for Fake {
        fn look(&mut self) -> Look {
            self.looks.set(self.looks.get() + 1);
            self.look.get()
        }
        fn since(&self) -> u64 {
            self.name
        }
    }

    struct Crowd {
        lobby: Lobby<Fake>,
        looks: Rc<Cell<usize>>,
        all: Vec<Rc<Cell<Look>>>,
    }

    impl Crowd {
        fn of(size: u64, look: Look) -> Crowd {
            let mut crowd = Crowd { lobby: Lobby::new(), looks: Rc::default(), all: Vec::new() };
            (0..size).for_each(|_| crowd.join(look));
            crowd
        }

        fn join(&mut self, look: Look) {
            let (name, look) = (self.all.len() as u64, Rc::new(Cell::new(look)));
            self.all.push(look.clone());
            self.lobby.push(Fake { name, look, looks: self.looks.clone() });
        }

        fn pop(&mut self) -> Option<u64> {
            self.lobby.pop(&mut Vec::new()).map(|guest| guest.name)
        }
    }

    #[test]
    fn those_who_have_spoken_are_served_in_order_with_one_look_each() {
        let mut crowd = Crowd::of(100, Look::Spoke);
        for name in 0..100 {
            assert_eq!(crowd.pop(), Some(name));
        }
        assert_eq!(crowd.pop(), None);
        assert_eq!(crowd.looks.get(), 100);
    }

    #[test]
    fn the_newest_of_a_thousand_silent_ones_is_served_first_when_it_speaks() {
        let mut crowd = Crowd::of(1000, Look::Silent);
        crowd.all[999].set(Look::Spoke);
        let looks = crowd.looks.get();
        assert_eq!(crowd.pop(), Some(999));
        assert!(crowd.looks.get() <= looks + NEWEST + OTHERS + 2, "{}", crowd.looks.get() - looks);
    }

    #[test]
    fn one_that_speaks_while_many_silent_ones_come_is_served_first() {
        for behind in [NEWEST + 1, 100, 400] {
            let mut crowd = Crowd::of(1000, Look::Silent);
            crowd.join(Look::Spoke);
            (0..behind).for_each(|_| crowd.join(Look::Silent));
            assert_eq!(crowd.pop(), Some(1000), "{behind}");
            let looks = crowd.looks.get();
            crowd.join(Look::Silent);
            assert!(crowd.looks.get() <= looks + OVERTAKEN.len());
        }
    }

    #[test]
    fn one_that_speaks_late_is_found_within_a_few_rounds() {
        let mut crowd = Crowd::of(1000, Look::Silent);
        crowd.all[500].set(Look::Spoke);
        let rounds = (1..).find(|_| crowd.pop() == Some(500));
        assert!(rounds.is_some_and(|n| n <= 1000 / OTHERS + 1), "{rounds:?}");
    }

    #[test]
    fn without_a_word_from_anybody_the_first_one_is_served() {
        let mut crowd = Crowd::of(3, Look::Silent);
        assert_eq!((crowd.pop(), crowd.pop(), crowd.pop(), crowd.pop()), (Some(0), Some(1), Some(2), None));
    }

    #[test]
    fn who_went_away_is_not_served() {
        let mut crowd = Crowd::of(5, Look::Gone);
        crowd.all[3].set(Look::Silent);
        let mut gone = Vec::new();
        assert_eq!(crowd.lobby.pop(&mut gone).map(|guest| guest.name), Some(3));
        assert!(crowd.lobby.pop(&mut gone).is_none());
        assert_eq!(gone.len(), 4);
    }

    #[test]
    fn room_is_made_by_the_one_that_was_silent_for_longest_and_by_nobody_who_spoke() {
        let mut crowd = Crowd::of(10, Look::Silent);
        crowd.all[0].set(Look::Spoke);
        crowd.all[1].set(Look::Spoke);
        assert_eq!(crowd.lobby.make_room(8).map(|guest| guest.name), Some(2));
        let looks = crowd.looks.get();
        assert_eq!(crowd.lobby.make_room(8).map(|guest| guest.name), Some(3));
        assert_eq!(crowd.looks.get(), looks + 1, "who has spoken is not looked at again");
        assert!(crowd.lobby.make_room(4).is_none(), "too young");
        let mut all_spoke = Crowd::of(10, Look::Spoke);
        assert!(all_spoke.lobby.make_room(100).is_none());
        assert_eq!(all_spoke.lobby.len(), 10);
    }

    #[test]
    fn the_silent_ones_can_be_sent_away() {
        let mut crowd = Crowd::of(6, Look::Silent);
        crowd.all[1].set(Look::Spoke);
        crowd.all[4].set(Look::Spoke);
        assert_eq!(crowd.lobby.take_silent(5).len(), 3);
        assert_eq!(crowd.lobby.len(), 3);
    }
}
